"""What one step changes."""

from typing import get_args

import numpy as np

from shiftable.intervals import Terms
from shiftable.metrics.over import labelled, over_pairs, over_steps
from shiftable.outcome import Outcome
from shiftable.plan import Direction

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
SHIFTS, SIZES = DIRECTIONS[:8], DIRECTIONS[8:]


def top1_change(outcome: Outcome, *directions: Direction) -> Terms:
    """P(top-1 change): share of steps that change the predicted class.

    Steps are of one pixel, or of the plan's own `step`; to all eight neighbours of every shift, or
    in the given directions.

    References:
        Azulay & Weiss (JMLR 2019), section 2.
    """
    after = outcome.predictions[:, outcome.sweep.plan.neighbours]  # (N, S, D)
    return over_steps(outcome, after != outcome.predictions[:, :, None], directions or SHIFTS)


def mac(outcome: Outcome, *directions: Direction) -> Terms:
    """Mean absolute change of the probability of the class predicted before a step.

    References:
        Azulay & Weiss (JMLR 2019), section 2.
    """
    return over_steps(outcome, outcome.change, directions or SHIFTS)


def mac_label(outcome: Outcome, *directions: Direction) -> Terms:
    """Mean absolute change of the true class's probability at a step."""
    probability = outcome.label_probability
    step = np.abs(
        probability[:, outcome.sweep.plan.neighbours].astype(np.float64)
        - probability[:, :, None].astype(np.float64)
    )
    return labelled(outcome, over_steps(outcome, step, directions or SHIFTS))


def total_variation(outcome: Outcome, *directions: Direction) -> Terms:
    """Mean total variation distance between the probabilities before and after a step."""
    return over_steps(outcome, outcome.total_variation, directions or SHIFTS)


def mac_pairs(outcome: Outcome) -> Terms:
    """Mean absolute change of the predicted class's probability within random pairs of shifts."""
    return over_pairs(outcome, outcome.change)


def total_variation_pairs(outcome: Outcome) -> Terms:
    """Mean total variation distance within random pairs of shifts."""
    return over_pairs(outcome, outcome.total_variation)


def instability(outcome: Outcome) -> list[tuple[float, float]]:
    """For each image, at how many steps its class changes, and how far its probability moves."""
    changed = top1_change(outcome)[0] + top1_change(outcome, *SIZES)[0]
    moved = mac(outcome)[0] + mac(outcome, *SIZES)[0]
    return list(zip(changed.tolist(), moved.tolist(), strict=True))
