"""Along a line of shifts, as in a video: a plan's shifts are its frames, its step the difficulty."""

from collections.abc import Callable

import numpy as np

from shiftable.intervals import Sums, Terms
from shiftable.metrics.over import nothing
from shiftable.outcome import Outcome
from shiftable.plan import Integers, ListedPlan

# Of each direction and its opposite, the one in which plans go on.
_ONWARD = ("right", "down", "down_right", "down_left", "larger")


def _onward(outcome: Outcome) -> int | None:
    """Along a line, the number of the direction of larger shifts, or sizes."""
    plan = outcome.sweep.plan
    used = np.flatnonzero((plan.neighbours >= 0).any(0))
    if not isinstance(plan, ListedPlan) or len(used) != 2:
        return None
    return next(int(number) for number in used if plan.directions[number] in _ONWARD)


def _along(outcome: Outcome, values: Callable[[Integers, Integers], Sums]) -> Terms:
    """Averages over the steps along a line, onward only: values of (rows before, rows after)."""
    way = _onward(outcome)
    if way is None:
        return nothing(outcome)
    after = outcome.sweep.plan.neighbours[:, way]
    before = np.flatnonzero(after >= 0)
    total = values(before, after[before])
    return total, np.full(len(outcome), float(len(before)))


def flip_rate(outcome: Outcome) -> Terms:
    """P(the class flips from one frame to the next) along a line; the plan's step is the difficulty.

    Frames are lossless windows, so values differ from those on ImageNet-P's own videos.

    References:
        Hendrycks & Dietterich (ICLR 2019), section 4.
    """
    predicted = outcome.predictions
    return _along(
        outcome, lambda s, t: (predicted[:, s] != predicted[:, t]).sum(1, dtype=np.float64)
    )


def class_changes(outcome: Outcome) -> Terms:
    """How many times the class changes along a line, a mean over images."""
    flips, steps = flip_rate(outcome)
    return flips, np.minimum(steps, 1)


def top5_distance(outcome: Outcome) -> Terms:
    """How far the five most probable classes move in rank from one frame to the next.

    The sum over the five of the change of rank, where all ranks below the fifth are one.

    References:
        Hendrycks & Dietterich (ICLR 2019), section 4: T5D, unstandardised.
    """

    def moved(before: Integers, after: Integers) -> Sums:
        then, now = outcome.top[:, before, :, None], outcome.top[:, after, None, :]
        same = then == now  # (N, steps, rank before, rank after)
        ranks = np.where(same.any(3), same.argmax(3), same.shape[3])
        total: Sums = np.abs(ranks - np.arange(same.shape[2])).sum((1, 2), dtype=np.float64)
        return total

    return _along(outcome, moved)


def zipf_distance(outcome: Outcome) -> Terms:
    """How far all classes move in rank from one frame to the next, weighted by 1 / rank.

    References:
        Hendrycks & Dietterich (ICLR 2019), section 4.
    """
    way = _onward(outcome)
    if way is None:
        return nothing(outcome)
    return _along(outcome, lambda s, t: outcome.zipf[:, s, way].sum(1, dtype=np.float64))
