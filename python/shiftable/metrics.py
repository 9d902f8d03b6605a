"""Metrics of shift variance: pure functions of an outcome, in one table.

Each metric is a sum over images divided by another (a pooled mean, never a mean of means): it
returns one numerator and one denominator an image. An image that cannot contribute (no label, no
such step in the plan) has the denominator 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from shiftable.outcome import Outcome

Sums = npt.NDArray[np.float64]
Terms = tuple[Sums, Sums]
Direction = Literal["up_left", "up", "up_right", "left", "right", "down_left", "down", "down_right"]

# Where the *content* moves, as (dy, dx). The paper's diagonal moves the window's corner by (1, 1),
# so the content by (-1, -1): up_left.
DIRECTIONS: dict[Direction, tuple[int, int]] = {
    "up_left": (-1, -1),
    "up": (-1, 0),
    "up_right": (-1, 1),
    "left": (0, -1),
    "right": (0, 1),
    "down_left": (1, -1),
    "down": (1, 0),
    "down_right": (1, 1),
}


def _nothing(outcome: Outcome) -> Terms:
    return np.zeros(len(outcome)), np.zeros(len(outcome))


def _over_steps(
    outcome: Outcome, values: npt.NDArray[np.generic], direction: Direction | None
) -> Terms:
    """Averages (N, S, D) values over the one-pixel steps that lie in the plan."""
    plan = outcome.sweep.plan
    if plan.kind != "listed":
        return _nothing(outcome)
    kept = slice(None) if direction is None else [plan.directions.index(DIRECTIONS[direction])]
    steps = (plan.neighbours() >= 0)[:, kept]
    total = np.where(steps, values[:, :, kept], 0).sum((1, 2), dtype=np.float64)
    return total, np.full(len(outcome), float(steps.sum()))


def _over_pairs(outcome: Outcome, values: npt.NDArray[np.generic]) -> Terms:
    """Averages (N, S, 1) values over the pairs of a random plan (both orders of each)."""
    if outcome.sweep.plan.kind != "random_pairs":
        return _nothing(outcome)
    return values.sum((1, 2), dtype=np.float64), np.full(len(outcome), float(values.shape[1]))


def _labelled(outcome: Outcome, terms: Terms) -> Terms:
    """Leaves images without a label out."""
    known = outcome.labelled
    return np.where(known, terms[0], 0), np.where(known, terms[1], 0)


def top1_change(outcome: Outcome, direction: Direction | None = None) -> Terms:
    """P(top-1 change): share of one-pixel steps that change the predicted class.

    All eight neighbours of every shift, or the steps in one direction.

    References:
        Azulay & Weiss (JMLR 2019), section 2.
    """
    after = outcome.predictions[:, outcome.sweep.plan.neighbours()]  # (N, S, D)
    return _over_steps(outcome, after != outcome.predictions[:, :, None], direction)


def mac(outcome: Outcome, direction: Direction | None = None) -> Terms:
    """Mean absolute change of the probability of the class predicted before a one-pixel step.

    References:
        Azulay & Weiss (JMLR 2019), section 2.
    """
    return _over_steps(outcome, outcome.change, direction)


def mac_label(outcome: Outcome, direction: Direction | None = None) -> Terms:
    """Mean absolute change of the true class's probability at a one-pixel step."""
    probability = outcome.label_probability
    step = np.abs(
        probability[:, outcome.sweep.plan.neighbours()].astype(np.float64)
        - probability[:, :, None].astype(np.float64)
    )
    return _labelled(outcome, _over_steps(outcome, step, direction))


def total_variation(outcome: Outcome, direction: Direction | None = None) -> Terms:
    """Mean total variation distance between the probabilities before and after a step."""
    return _over_steps(outcome, outcome.total_variation, direction)


def mac_pairs(outcome: Outcome) -> Terms:
    """Mean absolute change of the predicted class's probability within random pairs of shifts."""
    return _over_pairs(outcome, outcome.change)


def total_variation_pairs(outcome: Outcome) -> Terms:
    """Mean total variation distance within random pairs of shifts."""
    return _over_pairs(outcome, outcome.total_variation)


def _agreeing(outcome: Outcome) -> tuple[Sums, Sums]:
    """Ordered pairs of distinct shifts with the same class, and all of them, by image."""
    predictions = outcome.predictions
    count = predictions.shape[1]
    if outcome.sweep.plan.kind == "random_pairs":
        same = (predictions[:, ::2] == predictions[:, 1::2]).sum(1)
        return 2.0 * same, np.full(len(outcome), float(count))
    classes = [np.unique(row, return_counts=True)[1].astype(np.float64) for row in predictions]
    same = np.array([(n * (n - 1)).sum() for n in classes])
    return same, np.full(len(outcome), float(count * (count - 1)))


def consistency(outcome: Outcome) -> Terms:
    """P(two different shifts of an image get the same class).

    Every pair of distinct shifts of a listed plan; the drawn pairs of a random one.

    References:
        Zhang (ICML 2019), section 4.1, with two faults mended: pairs differ, and are all taken.
    """
    return _agreeing(outcome)


def consistency_with_replacement(outcome: Outcome) -> Terms:
    """P(two independent draws of a shift get the same class): a shift may meet itself.

    The expected value of what the antialiased-cnns package estimates, there over the offsets 0..31
    of a 224 crop in a 256 image: `grid((-15, 16))`. Listed plans only.
    """
    if outcome.sweep.plan.kind == "random_pairs":
        return _nothing(outcome)
    same, pairs = _agreeing(outcome)
    count = float(outcome.predictions.shape[1])
    return same + count, pairs + count


def consistency_given_correct(outcome: Outcome) -> Terms:
    """P(both correct | either correct) over the pairs of `consistency`, pooled over images."""
    correct = outcome.correct
    both: Sums
    either: Sums
    if outcome.sweep.plan.kind == "random_pairs":
        first, second = correct[:, ::2], correct[:, 1::2]
        both = (first & second).sum(1, dtype=np.float64)
        either = (first | second).sum(1, dtype=np.float64)
    else:
        count = correct.shape[1]
        right = correct.sum(1, dtype=np.float64)
        both = right * (right - 1)
        either = count * (count - 1) - (count - right) * (count - right - 1)
    return _labelled(outcome, (both, either))


def accuracy(outcome: Outcome) -> Terms:
    """P(correct) over all shifts."""
    correct = outcome.correct
    return _labelled(
        outcome,
        (correct.sum(1, dtype=np.float64), np.full(len(outcome), float(correct.shape[1]))),
    )


def accuracy_unshifted(outcome: Outcome) -> Terms:
    """P(correct) without a shift; only for plans that hold the shift (0, 0)."""
    plan = outcome.sweep.plan
    if (0, 0) not in plan.shifts:
        return _nothing(outcome)
    right = outcome.correct[:, plan.origin].astype(np.float64)
    return _labelled(outcome, (right, np.ones(len(outcome))))


def distances(outcome: Outcome) -> npt.NDArray[np.int64]:
    """Returns (N, S): each shift's Chebyshev distance from (0, 0), max(|dy|, |dx|)."""
    plan = outcome.sweep.plan
    shifts = np.stack([plan.shifts_for(number) for number in range(len(outcome))])
    return np.max(np.abs(shifts), axis=2)  # type: ignore[no-any-return]


def worst_case(outcome: Outcome, radius: int | None = None, ring: bool = False) -> Terms:
    """P(correct at every shift), by default at every shift of the plan.

    Args:
        outcome: of the sweep.
        radius: only shifts with max(|dy|, |dx|) <= radius, the unshifted image among them.
        ring: only shifts with max(|dy|, |dx|) == radius.
    """
    distance = distances(outcome)
    if radius is None:
        kept = np.ones_like(distance, bool)
    else:
        kept = distance == radius if ring else distance <= radius
    # Of images with any such shift (all of them, but for random pairs): is none wrong?
    some = kept.any(axis=1)
    wrong = (kept & ~outcome.correct).any(axis=1)
    return _labelled(outcome, (np.where(some & ~wrong, 1.0, 0.0), np.where(some, 1.0, 0.0)))


@dataclass(frozen=True)
class Metric:
    """One row of the table: a title for people, whether it is a share (0..1), and its function."""

    title: str
    share: bool
    terms: Callable[[Outcome], Terms]


METRICS: dict[str, Metric] = {
    "top1_change": Metric("P(top-1 change)", True, top1_change),
    **{
        f"top1_change_{name}": Metric(
            f"P(top-1 change), {name.replace('_', ' ')}", True, partial(top1_change, direction=name)
        )
        for name in DIRECTIONS
    },
    "top1_change_diagonal": Metric(
        "P(top-1 change), the paper's diagonal", True, partial(top1_change, direction="up_left")
    ),
    "mac": Metric("mean absolute change", False, mac),
    "mac_diagonal": Metric(
        "mean absolute change, the paper's diagonal", False, partial(mac, direction="up_left")
    ),
    "mac_label": Metric("mean absolute change, true class", False, mac_label),
    "total_variation": Metric("total variation", False, total_variation),
    "mac_pairs": Metric("mean absolute change within pairs", False, mac_pairs),
    "total_variation_pairs": Metric("total variation within pairs", False, total_variation_pairs),
    "consistency": Metric("consistency", True, consistency),
    "consistency_with_replacement": Metric(
        "consistency, pairs with replacement", True, consistency_with_replacement
    ),
    "consistency_given_correct": Metric(
        "consistency given correct", True, consistency_given_correct
    ),
    "accuracy": Metric("accuracy", True, accuracy),
    "accuracy_unshifted": Metric("accuracy, unshifted", True, accuracy_unshifted),
    "worst_case": Metric("worst-case accuracy", True, worst_case),
}

# What a summary shows; accuracy stands beside consistency, which a constant answer would make 1.
HEADLINE = ("top1_change", "mac", "consistency", "accuracy", "worst_case")

RESAMPLES = 2000
SEED = 20190601


@dataclass(frozen=True)
class Estimate:
    """A metric's value, the bounds of its 95 % interval, and how many images it rests on.

    Value and bounds are None where nothing contributes; the bounds also for a single image.
    """

    value: float | None
    low: float | None
    high: float | None
    images: int


def estimate(terms: Terms) -> Estimate:
    """Pools the terms, with a percentile bootstrap over images (95 %, 2000 resamples, seeded).

    Images are resampled, not shifts: the shifts of one image are not independent.
    """
    above, below = (term[terms[1] > 0] for term in terms)
    count = len(below)
    if count == 0:
        return Estimate(None, None, None, 0)
    value = float(above.sum() / below.sum())
    if count == 1:
        return Estimate(value, None, None, 1)
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.quantile((drawn @ above) / (drawn @ below), [0.025, 0.975])
    return Estimate(value, float(low), float(high), count)


def summary(outcome: Outcome) -> dict[str, Estimate]:
    """Estimates every metric of the table.

    Examples:
        >>> import torch
        >>> from shiftable import Sweep, evaluate, line, metrics
        >>> image = torch.zeros(1, 8, 8)
        >>> image[:, :, 4] = 1
        >>> even_odd = lambda x: torch.stack([x[..., ::2].sum((1, 2, 3)),
        ...                                   x[..., 1::2].sum((1, 2, 3))], 1)
        >>> outcome = evaluate(even_odd, [image], Sweep("circular", line(2), (8, 8)))
        >>> metrics.summary(outcome)["top1_change"].value
        1.0
    """
    return {name: estimate(metric.terms(outcome)) for name, metric in METRICS.items()}


def by_image(outcome: Outcome) -> dict[str, dict[str, float | None]]:
    """Returns each image's own value of the headline metrics, by its name."""
    terms = {name: METRICS[name].terms(outcome) for name in HEADLINE}
    return {
        image: {
            name: float(above[number] / below[number]) if below[number] > 0 else None
            for name, (above, below) in terms.items()
        }
        for number, image in enumerate(outcome.names)
    }


def worst_case_by_radius(outcome: Outcome) -> dict[int, tuple[Estimate, Estimate]]:
    """Estimates, by Chebyshev radius r: P(correct at every shift <= r), and on the ring r alone.

    The unshifted image (r = 0) counts among the shifts <= r.
    """
    return {
        int(radius): (
            estimate(worst_case(outcome, int(radius))),
            estimate(worst_case(outcome, int(radius), ring=True)),
        )
        for radius in np.unique(distances(outcome))
    }


@dataclass(frozen=True, eq=False)
class ShiftMap:
    """One image's answers laid out over dy (rows) and dx (columns).

    Args:
        dy: (Y,) vertical shifts in pixels.
        dx: (X,) horizontal shifts in pixels.
        classes: (Y, X) predicted classes, -1 where the plan has no such shift.
        probability: (Y, X) of the true class, or of the reference class where that is unknown; NaN
            where the plan has no such shift.
        margin: (Y, X) probability of the best class minus that of the second.
        changed: share of the shifts whose class is not the reference class.
        first_change: the smallest Chebyshev distance at which the class is not the reference
            class, None if there is none.
    """

    dy: npt.NDArray[np.int64]
    dx: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    changed: float
    first_change: int | None


def shift_map(outcome: Outcome, image: int) -> ShiftMap:
    """Lays the answers for image number `image` out over (dy, dx)."""
    shifts = outcome.sweep.plan.shifts_for(image)
    dy, row = np.unique(shifts[:, 0], return_inverse=True)
    dx, column = np.unique(shifts[:, 1], return_inverse=True)
    predicted = outcome.predictions[image]
    known = bool(outcome.labelled[image])
    probability = (outcome.label_probability if known else outcome.reference_probability)[image]

    def laid_out(values: npt.NDArray[np.generic], empty: float) -> npt.NDArray[np.generic]:
        canvas = np.full((len(dy), len(dx)), empty, values.dtype)
        canvas[row, column] = values
        return canvas

    moved = predicted != outcome.references[image]
    distance = np.abs(shifts).max(1)
    return ShiftMap(
        dy,
        dx,
        laid_out(predicted, -1),  # type: ignore[arg-type]
        laid_out(probability, np.nan),  # type: ignore[arg-type]
        laid_out(outcome.margin[image], np.nan),  # type: ignore[arg-type]
        float(moved.mean()),
        int(distance[moved].min()) if moved.any() else None,
    )
