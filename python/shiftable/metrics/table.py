"""All metrics by name."""

from collections.abc import Callable
from dataclasses import dataclass

from shiftable.intervals import Terms
from shiftable.metrics import agreement, frames, steps, truth
from shiftable.outcome import Outcome
from shiftable.plan import Direction


def _in(metric: Callable[..., Terms], *directions: Direction) -> Callable[[Outcome], Terms]:
    """A metric over the steps in some directions only."""
    return lambda outcome: metric(outcome, *directions)


@dataclass(frozen=True)
class Metric:
    """One row of the table: a title for people, whether it is a share (0..1), and its function."""

    title: str
    share: bool
    terms: Callable[[Outcome], Terms]


METRICS: dict[str, Metric] = {
    "top1_change": Metric("P(top-1 change)", True, steps.top1_change),
    **{
        f"top1_change_{name}": Metric(
            f"P(top-1 change), {name.replace('_', ' ')}", True, _in(steps.top1_change, name)
        )
        for name in steps.DIRECTIONS
    },
    "top1_change_diagonal": Metric(
        "P(top-1 change), the paper's diagonal", True, _in(steps.top1_change, "up_left")
    ),
    "top1_change_size": Metric("P(top-1 change), size", True, _in(steps.top1_change, *steps.SIZES)),
    "mac": Metric("mean absolute change", False, steps.mac),
    "mac_diagonal": Metric(
        "mean absolute change, the paper's diagonal", False, _in(steps.mac, "up_left")
    ),
    "mac_size": Metric("mean absolute change, size", False, _in(steps.mac, *steps.SIZES)),
    "mac_label": Metric("mean absolute change, true class", False, steps.mac_label),
    "total_variation": Metric("total variation", False, steps.total_variation),
    "mac_pairs": Metric("mean absolute change within pairs", False, steps.mac_pairs),
    "total_variation_pairs": Metric(
        "total variation within pairs", False, steps.total_variation_pairs
    ),
    "consistency": Metric("consistency", True, agreement.consistency),
    "consistency_with_replacement": Metric(
        "consistency, pairs with replacement", True, agreement.consistency_with_replacement
    ),
    "consistency_given_correct": Metric(
        "consistency given correct", True, agreement.consistency_given_correct
    ),
    "consistency_given_first_correct": Metric(
        "consistency given the first correct", True, agreement.consistency_given_first_correct
    ),
    "group_consistency": Metric("consistency of whole groups", True, agreement.group_consistency),
    "group_correct": Metric("whole groups correct", True, agreement.group_correct),
    "unanimous": Metric("images of one class at all shifts", True, agreement.unanimous),
    "changed": Metric("other class than unshifted", True, truth.changed),
    "flip_rate": Metric("flip rate", True, frames.flip_rate),
    "class_changes": Metric("class changes along the line", False, frames.class_changes),
    "top5_distance": Metric("top-5 distance", False, frames.top5_distance),
    "zipf_distance": Metric("Zipf distance", False, frames.zipf_distance),
    "label_range": Metric("range of the true class's probability", False, truth.label_range),
    "label_deviation": Metric(
        "deviation of the true class's probability", False, truth.label_deviation
    ),
    "accuracy": Metric("accuracy", True, truth.accuracy),
    "accuracy_unshifted": Metric("accuracy, unshifted", True, truth.accuracy_unshifted),
    "degradation": Metric("accuracy lost by shifting", True, truth.degradation),
    "worst_case": Metric("worst-case accuracy", True, truth.worst_case),
}

# What a summary shows; accuracy stands beside agreement.consistency, which a constant answer would make 1.
HEADLINE = ("top1_change", "mac", "consistency", "accuracy", "worst_case")
# What it also shows where the plan has it.
HEADLINE_WHERE_HAD = ("top1_change_size", "mac_size", "mac_pairs", "group_consistency")
