"""Whether shifts of an image get the same class, near or far from one another."""

import numpy as np

from shiftable.intervals import Sums, Terms
from shiftable.metrics.over import each, grouped, labelled, nothing
from shiftable.outcome import Outcome


def _agreeing(outcome: Outcome) -> tuple[Sums, Sums]:
    """Ordered pairs of distinct shifts with the same class, and all of them, by image."""
    predictions = outcome.predictions
    count = predictions.shape[1]
    if outcome.sweep.plan.group:
        groups = grouped(outcome, predictions)
        same = (groups[..., :, None] == groups[..., None, :]).sum((1, 2, 3)) - count
        pairs = float(count * (groups.shape[2] - 1))
        return same.astype(np.float64), np.full(len(outcome), pairs)
    classes = [np.unique(row, return_counts=True)[1].astype(np.float64) for row in predictions]
    same = np.array([(n * (n - 1)).sum() for n in classes])
    return same, np.full(len(outcome), float(count * (count - 1)))


def consistency(outcome: Outcome) -> Terms:
    """P(two different shifts of an image get the same class).

    Every pair of distinct shifts of a listed plan; those of a group where there are groups.

    References:
        Zhang (ICML 2019), section 4.1, with two faults mended: pairs differ, and are all taken.
    """
    return _agreeing(outcome)


def consistency_with_replacement(outcome: Outcome) -> Terms:
    """P(two independent draws of a shift get the same class): a shift may meet itself.

    The expected value of what the antialiased-cnns package estimates, there over the offsets 0..31
    of a 224 crop in a 256 image: `grid((-15, 16))`. Listed plans only.
    """
    if outcome.sweep.plan.group:
        return nothing(outcome)
    same, pairs = _agreeing(outcome)
    count = float(outcome.predictions.shape[1])
    return same + count, pairs + count


def _correct_pairs(outcome: Outcome) -> tuple[Sums, Sums, Sums]:
    """Ordered pairs of `consistency` by image: both correct, either correct, the first correct."""
    correct = outcome.correct.astype(np.float64)
    members = outcome.sweep.plan.group or correct.shape[1]
    right = correct.reshape(len(outcome), -1, members).sum(2)
    wrong = members - right
    both = (right * (right - 1)).sum(1)
    either = (members * (members - 1) - wrong * (wrong - 1)).sum(1)
    return both, either, (right * (members - 1)).sum(1)


def consistency_given_correct(outcome: Outcome) -> Terms:
    """P(both correct | either correct) over the pairs of `consistency`, pooled over images."""
    both, either, _ = _correct_pairs(outcome)
    return labelled(outcome, (both, either))


def consistency_given_first_correct(outcome: Outcome) -> Terms:
    """P(both correct | the first correct) over the pairs of `consistency`, pooled over images."""
    both, _, first = _correct_pairs(outcome)
    return labelled(outcome, (both, first))


def group_consistency(outcome: Outcome) -> Terms:
    """P(all shifts of a group get the same class): k-sample consistency.

    Where the first of three is the unshifted image, the stability of Saha & Gokhale (2024).

    References:
        Rojas-Gomez et al., Learnable polyphase sampling (NeurIPS 2022), section 5.
    """
    if not outcome.sweep.plan.group:
        return nothing(outcome)
    groups = grouped(outcome, outcome.predictions)
    same = (groups == groups[..., :1]).all(2)
    return same.sum(1, dtype=np.float64), np.full(len(outcome), float(same.shape[1]))


def group_correct(outcome: Outcome) -> Terms:
    """P(all shifts of a group get the true class)."""
    if not outcome.sweep.plan.group:
        return nothing(outcome)
    right = grouped(outcome, outcome.correct).all(2)
    return labelled(
        outcome, (right.sum(1, dtype=np.float64), np.full(len(outcome), float(right.shape[1])))
    )


def unanimous(outcome: Outcome) -> Terms:
    """Share of images that get one and the same class at every shift; needs no label."""
    predictions = outcome.predictions
    return each(outcome, (predictions == predictions[:, :1]).all(1))
