"""Metrics of answers that are written down, worked out by hand."""

import numpy as np
import pytest
from shiftable import Sweep, diagonal, evaluate, grid, line, metrics, random_pairs
from shiftable.metrics import METRICS
from toys import SIDE, answers, bright_pixel

A, B = [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]
UNLABELLED = {"mac_label", "accuracy", "accuracy_unshifted", "worst_case", "consistency_given_correct"}  # fmt: skip


def outcome_of(plan, table, labels=(0,), otherwise=A):
    sweep = Sweep("circular", plan, (SIDE, SIDE))
    return evaluate(answers(table, otherwise), [bright_pixel()] * len(labels), sweep, labels)


# On a line of five shifts, -2..2, the class differs at rest only.
LINE = outcome_of(line(2), {(0, 0): B})
# On a 3x3 grid it differs at the centre only.
GRID = outcome_of(grid(1), {(0, 0): B})


@pytest.mark.parametrize(
    ("outcome", "name", "value"),
    [
        # 4 steps to the right and 4 to the left; 2 of each touch the centre.
        (LINE, "top1_change", 4 / 8),
        (LINE, "top1_change_right", 2 / 4),
        (LINE, "top1_change_up", None),
        (LINE, "top1_change_diagonal", None),
        (LINE, "mac", (2 * 0.4 + 2 * 0.4) / 8),  # class 0: 0.6 -> 0.2, class 1: 0.7 -> 0.3
        (LINE, "mac_label", 4 * 0.4 / 8),
        (LINE, "total_variation", 4 * 0.4 / 8),
        # Of 5 shifts 4 agree: 4 * 3 of 5 * 4 ordered pairs; with replacement 16 + 1 of 25.
        (LINE, "consistency", 12 / 20),
        (LINE, "consistency_with_replacement", 17 / 25),
        (LINE, "consistency_given_correct", 12 / 20),  # one of any two is always correct
        (LINE, "accuracy", 4 / 5),
        (LINE, "accuracy_unshifted", 0.0),
        (LINE, "worst_case", 0.0),
        (LINE, "mac_pairs", None),
        # A 3x3 grid has 4*3 + 8*... = 40 directed steps (12 sideways, 12 upright, 16 diagonal),
        # 8 from the centre and 8 to it.
        (GRID, "top1_change", 16 / 40),
        (GRID, "top1_change_up", 2 / 6),
        (GRID, "top1_change_up_left", 2 / 4),
        (GRID, "top1_change_diagonal", 2 / 4),
        (GRID, "mac_diagonal", 2 * 0.4 / 4),
        (GRID, "consistency", 8 * 7 / (9 * 8)),
        (GRID, "accuracy", 8 / 9),
    ],
)
def test_value_by_hand(outcome, name, value):
    got = metrics.summary(outcome)[name].value
    assert got is None if value is None else got == pytest.approx(value, abs=1e-6)


def test_the_papers_diagonal_starts_at_the_window_whose_corner_is_first():
    # The corner moves from (c, c) to (c + 1, c + 1): the content from (0, 0) to (-1, -1), and the
    # class whose probability is followed is the one predicted at (0, 0).
    plan = diagonal((-1, 0))
    outcome = outcome_of(plan, {(0, 0): [0.5, 0.4, 0.1], (-1, -1): [0.3, 0.4, 0.3]})
    assert metrics.summary(outcome)["mac_diagonal"].value == pytest.approx(0.2)
    back = metrics.estimate(metrics.mac(outcome, "down_right"))
    assert back.value == pytest.approx(0.0, abs=1e-6)  # class 1: 0.4 -> 0.4


def test_consistency_given_correct_pools_the_sums():
    # Image 0 is right everywhere but at rest (12 of 20 pairs both right, 20 either); for image 1
    # the label is class 1, right at rest only (0 both, 8 either).
    outcome = outcome_of(line(2), {(0, 0): B}, labels=(0, 1))
    value = metrics.summary(outcome)["consistency_given_correct"].value
    assert value == pytest.approx(12 / 28)


def test_worst_case_by_radius_counts_the_unshifted_image():
    outcome = outcome_of(grid(2), {(0, 2): B})
    by_radius = metrics.worst_case_by_radius(outcome)
    assert {r: (w.value, ring.value) for r, (w, ring) in by_radius.items()} == {
        0: (1, 1),
        1: (1, 1),
        2: (0, 0),
    }
    at_rest = metrics.worst_case_by_radius(outcome_of(grid(2), {(0, 0): B}))
    assert {r: (w.value, ring.value) for r, (w, ring) in at_rest.items()} == {
        0: (0, 0),
        1: (0, 1),
        2: (0, 1),
    }


def test_random_pairs_use_their_own_metrics():
    outcome = outcome_of(random_pairs(50, 1, seed=2), {(0, 0): B})
    shifts = outcome.sweep.plan.shifts_for(0)
    at_rest = (shifts == 0).all(1)
    apart = (at_rest[::2] != at_rest[1::2]).mean()
    assert 0 < apart < 1
    found = metrics.summary(outcome)
    assert found["consistency"].value == pytest.approx(1 - apart)
    assert found["mac_pairs"].value == pytest.approx(0.4 * apart, abs=1e-6)
    assert found["total_variation_pairs"].value == pytest.approx(0.4 * apart, abs=1e-6)
    for name in ("top1_change", "mac", "total_variation", "consistency_with_replacement"):
        assert found[name].value is None


def test_matches_the_loop_that_draws_pairs():
    """The exact expected value, against an estimate from draws with replacement."""
    outcome = outcome_of(grid(2), {(0, 0): B, (1, 1): B, (2, 0): B})
    predicted = outcome.predictions[0]
    draw = np.random.default_rng(0).integers(0, 25, (200_000, 2))
    drawn = (predicted[draw[:, 0]] == predicted[draw[:, 1]]).mean()
    value = metrics.summary(outcome)["consistency_with_replacement"].value
    assert value == pytest.approx(drawn, abs=0.005)


@pytest.mark.parametrize("name", METRICS)
def test_constant_answers_are_shift_invariant(name):
    outcome = outcome_of(grid(1), {}, labels=(0, 0))
    value = metrics.summary(outcome)[name].value
    if name.endswith("_pairs"):
        assert value is None
    else:
        steady = name.startswith(("top1_change", "mac", "total_variation"))
        assert value == pytest.approx(0 if steady else 1, abs=1e-7)


@pytest.mark.parametrize("name", METRICS)
def test_images_without_a_label_are_left_out(name):
    some = metrics.summary(outcome_of(grid(1), {(0, 1): B}, labels=(0, -1)))[name]
    none = metrics.summary(outcome_of(grid(1), {(0, 1): B}, labels=(-1, -1)))[name]
    if name.endswith("_pairs"):
        assert (some.images, none.images) == (0, 0)
    elif name in UNLABELLED:
        assert (some.images, none.images) == (1, 0)
        assert none.value is None
    else:
        assert (some.images, none.images) == (2, 2)


def test_interval_is_over_images():
    above, below = np.array([0.0] * 50 + [1.0] * 50), np.ones(100)
    found = metrics.estimate((above, below))
    assert found.value == 0.5
    # Normal approximation: 1.96 * sqrt(0.25 / 100) = 0.098.
    assert found.low == pytest.approx(0.402, abs=0.015)
    assert found.high == pytest.approx(0.598, abs=0.015)
    assert found == metrics.estimate((above, below))
    # Ten times as many shifts of the same images say no more about images.
    more = metrics.estimate((10 * above, 10 * below))
    assert (more.low, more.high) == (found.low, found.high)


def test_one_image_has_no_interval():
    found = metrics.estimate((np.array([1.0]), np.array([2.0])))
    assert (found.value, found.low, found.high) == (0.5, None, None)


def test_shift_map_lays_out_answers():
    outcome = outcome_of(grid(2), {(0, 0): A, (2, -1): B}, labels=(1,))
    found = metrics.shift_map(outcome, 0)
    assert found.classes.shape == (5, 5)
    assert np.argwhere(found.classes == 1).tolist() == [[4, 1]]  # dy = 2, dx = -1
    assert found.probability[4, 1] == pytest.approx(0.7)
    assert found.changed == pytest.approx(1 / 25)
    assert found.first_change == 2
    steady = metrics.shift_map(outcome_of(diagonal(1), {}, labels=(-1,)), 0)
    assert steady.first_change is None
    assert (steady.classes < 0).sum() == 6
    assert np.isnan(steady.probability).sum() == 6
    assert steady.probability[1, 1] == pytest.approx(0.6)  # of the reference class


def test_by_image_gives_each_its_own():
    outcome = outcome_of(line(2), {(0, 0): B}, labels=(0, -1))
    found = metrics.by_image(outcome)
    assert found["0"]["accuracy"] == pytest.approx(0.8)
    assert found["1"]["accuracy"] is None
    assert found["1"]["top1_change"] == pytest.approx(0.5)
