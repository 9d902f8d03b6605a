"""Averages over the steps, pairs and images of an outcome: what every metric is made of.

Each metric is a sum over images divided by another (a pooled mean, never a mean of means): it
returns one numerator and one denominator an image. An image that cannot contribute (no label, no
such step in the plan) has two zeros.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shiftable.intervals import Terms
from shiftable.outcome import Outcome
from shiftable.plan import Direction


def nothing(outcome: Outcome) -> Terms:
    """What a metric returns that the plan does not have."""
    return np.zeros(len(outcome)), np.zeros(len(outcome))


def over_steps(
    outcome: Outcome, values: npt.NDArray[np.generic], directions: Sequence[Direction]
) -> Terms:
    """Averages (N, S, D) values over the steps in some directions that lie in the plan."""
    plan = outcome.sweep.plan
    kept = [number for number, name in enumerate(plan.directions) if name in directions]
    if not kept:
        return nothing(outcome)
    steps = (plan.neighbours >= 0)[:, kept]
    total = np.where(steps, values[:, :, kept], 0).sum((1, 2), dtype=np.float64)
    return total, np.full(len(outcome), float(steps.sum()))


def over_pairs(outcome: Outcome, values: npt.NDArray[np.generic]) -> Terms:
    """Averages (N, S, 1) values over the pairs of a plan in pairs (both orders of each)."""
    if outcome.sweep.plan.group != 2:
        return nothing(outcome)
    return values.sum((1, 2), dtype=np.float64), np.full(len(outcome), float(values.shape[1]))


def each(outcome: Outcome, values: npt.NDArray[np.generic]) -> Terms:
    """One value an image, averaged over images."""
    return values.astype(np.float64), np.ones(len(outcome))


def grouped(outcome: Outcome, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """(N, S) as (N, groups, members)."""
    return values.reshape(len(outcome), -1, outcome.sweep.plan.group)


def labelled(outcome: Outcome, terms: Terms) -> Terms:
    """Leaves images without a label out."""
    known = outcome.labelled
    return np.where(known, terms[0], 0), np.where(known, terms[1], 0)
