"""Against the true class, and against the unshifted image."""

import numpy as np
import numpy.typing as npt

from shiftable.intervals import Terms
from shiftable.metrics.over import each, labelled, nothing
from shiftable.outcome import Outcome
from shiftable.plan import Integers


def accuracy(outcome: Outcome) -> Terms:
    """P(correct) over all shifts."""
    correct = outcome.correct
    return labelled(
        outcome,
        (correct.sum(1, dtype=np.float64), np.full(len(outcome), float(correct.shape[1]))),
    )


def accuracy_unshifted(outcome: Outcome) -> Terms:
    """P(correct) without a shift; only for plans that hold the unshifted image."""
    plan = outcome.sweep.plan
    if not plan.has_origin:
        return nothing(outcome)
    return labelled(outcome, each(outcome, outcome.correct[:, plan.origin]))


def degradation(outcome: Outcome) -> Terms:
    """Share of the unshifted accuracy that is lost by shifting: 1 - shifted / unshifted accuracy.

    Over the other shifts, as published; only for plans that hold the unshifted image.

    References:
        Michaeli et al., Alias-free convnets (CVPR 2023), section 4.
    """
    plan = outcome.sweep.plan
    if not plan.has_origin:
        return nothing(outcome)
    others = _moved(outcome)
    count = others.sum(1, dtype=np.float64)
    right = (outcome.correct & others).sum(1, dtype=np.float64)
    share = np.divide(right, count, out=np.zeros_like(right), where=count > 0)
    unshifted = np.where(count > 0, outcome.correct[:, plan.origin], 0).astype(np.float64)
    # Every labelled image counts, also one that is wrong unshifted: the sums are pooled.
    return labelled(outcome, (unshifted - share, unshifted))


def label_range(outcome: Outcome) -> Terms:
    """Mean over images of the true class's largest minus smallest probability: the wobble."""
    return labelled(outcome, each(outcome, np.ptp(outcome.label_probability, axis=1)))


def label_deviation(outcome: Outcome) -> Terms:
    """Mean over images of the standard deviation of the true class's probability over shifts."""
    return labelled(
        outcome, each(outcome, outcome.label_probability.astype(np.float64).std(axis=1))
    )


def changed(outcome: Outcome, radius: int | None = None) -> Terms:
    """P(a shifted image gets another class than the unshifted one), over the other shifts.

    Only for plans that hold the unshifted image.

    Args:
        outcome: of the sweep.
        radius: only shifts of this distance: radius - 1 < max(|dy|, |dx|) <= radius.
    """
    plan = outcome.sweep.plan
    if not plan.has_origin:
        return nothing(outcome)
    moved = outcome.predictions != outcome.references[:, None]
    others = _moved(outcome)
    if radius is not None:
        others &= rings(outcome) == radius
    return (moved & others).sum(1, dtype=np.float64), others.sum(1, dtype=np.float64)


def _shifts(outcome: Outcome) -> npt.NDArray[np.float64]:
    """(N, S, 2): the shifts of each image."""
    each = [outcome.shifts_for(number) for number in range(len(outcome))]
    return np.stack(each).astype(np.float64)


def _moved(outcome: Outcome) -> npt.NDArray[np.bool_]:
    """(N, S): whether a shift is another than none; groups may hold more than one of none."""
    moved: npt.NDArray[np.bool_] = (_shifts(outcome) != 0).any(2)
    moved |= outcome.sweep.plan.growth != 0
    return moved


def rings(outcome: Outcome) -> Integers:
    """Returns (N, S): each shift's Chebyshev distance from (0, 0), max(|dy|, |dx|), rounded up."""
    distance: Integers = np.ceil(np.abs(_shifts(outcome)).max(2)).astype(np.int64)
    return distance


def radii(outcome: Outcome) -> list[int]:
    """The distances that shifts of the plan may have."""
    if outcome.sweep.plan.group:
        return list(range(int(np.ceil(np.abs(outcome.sweep.plan.reach).max())) + 1))
    return np.unique(rings(outcome)).tolist()  # type: ignore[no-any-return]


def worst_case(outcome: Outcome, radius: int | None = None, ring: bool = False) -> Terms:
    """P(correct at every shift), by default at every shift of the plan.

    Args:
        outcome: of the sweep.
        radius: only shifts with max(|dy|, |dx|) <= radius, the unshifted image among them.
        ring: only shifts with radius - 1 < max(|dy|, |dx|) <= radius.
    """
    if radius is None:
        kept = np.ones_like(outcome.correct)
    else:
        distance = rings(outcome)
        kept = distance == radius if ring else distance <= radius
    # Of images with any such shift (all of them, but for random groups): is none wrong?
    some = kept.any(axis=1)
    wrong = (kept & ~outcome.correct).any(axis=1)
    return labelled(outcome, (np.where(some & ~wrong, 1.0, 0.0), np.where(some, 1.0, 0.0)))
