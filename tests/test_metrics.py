"""Metrics of answers that are written down, worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from shiftable import (
    Sweep,
    by_image,
    diagonal,
    evaluate,
    grid,
    line,
    listed,
    metrics,
    random_groups,
    random_pairs,
    sizes,
)
from shiftable.intervals import difference, estimate
from shiftable.metrics import METRICS
from shiftable.outcome import PER_SHIFT
from toys import SIDE, answers, bright_pixel

A, B = [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]
LABELS_ONLY = {
    "mac_label", "accuracy", "accuracy_unshifted", "degradation", "worst_case", "group_correct",
    "consistency_given_correct", "consistency_given_first_correct", "label_range",
    "label_deviation",
}  # fmt: skip
LINES_ONLY = {"flip_rate", "class_changes", "top5_distance", "zipf_distance"}


def outcome_of(plan, table, labels=(0,), otherwise=A):
    sweep = Sweep("circular", plan, (SIDE, SIDE))
    return evaluate(answers(table, otherwise), [bright_pixel()] * len(labels), sweep, labels)


def sized_outcome():
    """A 3x3 image on a 9x9 canvas: its answer is B where its side is 4, else A."""

    def model(windows):
        side = (windows > 0.5).flatten(1).sum(1).sqrt().round()
        return torch.where((side == 4)[:, None], torch.tensor(B), torch.tensor(A)).log()

    sweep = Sweep("embed", sizes((0, 2)), (SIDE, SIDE))
    return evaluate(model, [torch.ones(1, 3, 3)], sweep, [0])


# On a line of five shifts, -2..2, the class differs at rest only.
LINE = outcome_of(line(2), {(0, 0): B})
# Three shifts in a row: rest, right of rest, and again, in a group that is right but for one.
GROUPS = outcome_of(
    by_image([[(0, 0), (0, 1), (0, 2), (0, 0), (0, 1), (0, 1)]], group=3), {(0, 2): B}
)
SIZES = sized_outcome()
# Along a line of five the ranks go 0123, 0123, 1023, 1203, 1203.
VIDEO = outcome_of(
    line(2),
    {(0, 0): [0.3, 0.4, 0.2, 0.1], (0, 1): [0.2, 0.4, 0.3, 0.1], (0, 2): [0.2, 0.4, 0.3, 0.1]},
    otherwise=[0.4, 0.3, 0.2, 0.1],
)
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
        (LINE, "consistency_given_first_correct", 12 / 16),
        (LINE, "unanimous", 0.0),
        (LINE, "changed", 4 / 4),
        (LINE, "label_range", 0.4),  # class 0: .6 .6 .2 .6 .6
        (LINE, "label_deviation", 0.16),  # mean .52; (4 * .08^2 + .32^2) / 5 = .0256
        (LINE, "degradation", None),  # wrong unshifted: nothing that could be lost
        (LINE, "flip_rate", 2 / 4),
        (LINE, "class_changes", 2.0),
        (LINE, "group_consistency", None),
        (LINE, "top1_change_size", None),
        (VIDEO, "flip_rate", 1 / 4),
        (VIDEO, "class_changes", 1.0),
        # The top five are all four: 0; then 0 and 1 change places, |1-0| + |0-1| = 2; then those
        # at ranks 1 and 2 do, again 2; then 0.
        (VIDEO, "top5_distance", 4 / 4),
        # |1 - 1/2| / 1 + |1/2 - 1| / 2 = 3/4; |1/2 - 1/3| / 2 + |1/3 - 1/2| / 3 = 5/36.
        (VIDEO, "zipf_distance", (3 / 4 + 5 / 36) / 4),
        # Groups (rest, 1, 2: same, same, other) and (rest, 1, 1: all the same).
        (GROUPS, "group_consistency", 1 / 2),
        (GROUPS, "group_correct", 1 / 2),
        (GROUPS, "consistency", (2 + 6) / 12),
        (GROUPS, "consistency_given_correct", (2 + 6) / 12),
        (GROUPS, "consistency_given_first_correct", 8 / (2 * 2 + 3 * 2)),
        (GROUPS, "changed", 1 / 4),
        (GROUPS, "top1_change", None),
        (GROUPS, "mac_pairs", None),
        (GROUPS, "accuracy", 5 / 6),
        (SIZES, "top1_change", None),
        (SIZES, "top1_change_size", 4 / 4),
        (SIZES, "top1_change_larger", 2 / 2),
        (SIZES, "mac_size", 0.4),
        (SIZES, "accuracy", 2 / 3),
        (GRID, "flip_rate", None),
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
    back = estimate(metrics.mac(outcome, "down_right"))
    assert back.value == pytest.approx(0.0, abs=1e-6)  # class 1: 0.4 -> 0.4


def test_consistency_given_correct_pools_the_sums():
    # Image 0 is right everywhere but at rest (12 of 20 pairs both right, 20 either); for image 1
    # the label is class 1, right at rest only (0 both, 8 either).
    outcome = outcome_of(line(2), {(0, 0): B}, labels=(0, 1))
    value = metrics.summary(outcome)["consistency_given_correct"].value
    assert value == pytest.approx(12 / 28)


def test_degradation_is_pooled():
    outcome = outcome_of(line(2), {(0, 0): A}, labels=(0,))
    assert metrics.summary(outcome)["degradation"].value == pytest.approx(0)
    table = {(0, 0): B}
    both = outcome_of(line(2), table, labels=(1, 1, 0))
    value = metrics.summary(both)["degradation"].value
    # Two are right at rest only and lose all; the third is right elsewhere only and gains all.
    assert value == pytest.approx((1 + 1 - 1) / 2)


def test_by_distance_counts_the_unshifted_image_within():
    outcome = outcome_of(grid(2), {(0, 2): B})
    found = metrics.by_distance(outcome)
    assert {r: (at.within.value, at.ring.value, at.changed.value) for r, at in found.items()} == {
        0: (1, 1, None),
        1: (1, 1, 0),
        2: (0, 0, 1 / 16),
    }
    at_rest = metrics.by_distance(outcome_of(grid(2), {(0, 0): B}))
    assert {r: (at.within.value, at.ring.value, at.changed.value) for r, at in at_rest.items()} == {
        0: (0, 0, None),
        1: (0, 1, 1),
        2: (0, 1, 1),
    }


def test_distances_between_pixels_count_as_the_next_whole_one():
    found = metrics.by_distance(outcome_of(line(1, spacing=0.25), {}))
    assert list(found) == [0, 1]


def test_images_in_parts_give_the_same_numbers():
    sweep = Sweep("circular", random_groups(2, 3, 2), (SIDE, SIDE))
    model, images = answers({(0, 0): B, (1, 1): B}, A), [bright_pixel()] * 5
    whole = evaluate(model, images, sweep, [0, 1, -1, 0, 1])
    parts = list(split(whole, slice(0, 2), slice(2, 5)))
    assert metrics.summary(iter(parts)) == metrics.summary(whole)
    assert metrics.by_distance(iter(parts)) == metrics.by_distance(whole)
    assert metrics.by_image(iter(parts)) == metrics.by_image(whole)


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


PLANS = {
    "grid": grid(1), "line": line(1), "pairs": random_pairs(3, 1), "size": grid(1, sizes=1)
}  # fmt: skip


def steady(name):
    return not any(word in name for word in ("correct", "consistency", "accuracy", "worst", "unan"))


@pytest.mark.parametrize("name", METRICS)
def test_constant_answers_are_shift_invariant(name):
    """And every metric has a value for one of these plans."""
    values = set()
    for plan in PLANS.values():
        sweep = Sweep("embed", plan, (SIDE, SIDE))
        outcome = evaluate(
            lambda x: torch.tensor([A] * len(x)).log(), [torch.ones(1, 3, 3)], sweep, [0]
        )
        values.add(metrics.summary(outcome)[name].value)
    values.discard(None)
    assert values
    for value in values:
        assert value == pytest.approx(0 if steady(name) else 1, abs=1e-7)


@pytest.mark.parametrize("name", METRICS)
def test_images_without_a_label_are_left_out(name):
    for plan in (grid(1), line(1), random_pairs(9, 1)):
        some = metrics.summary(outcome_of(plan, {(0, 1): B}, labels=(0, -1)))[name]
        none = metrics.summary(outcome_of(plan, {(0, 1): B}, labels=(-1, -1)))[name]
        both = metrics.summary(outcome_of(plan, {(0, 1): B}, labels=(0, 0)))[name]
        if name in LABELS_ONLY:
            assert (some.images, none.images) == (min(1, both.images), 0)
            assert none.value is None
        else:
            assert some.images == none.images == both.images


def split(outcome, *parts):
    """The outcome of some images after another."""
    for part in parts:
        rows = {name: getattr(outcome, name)[part] for name in ("labels", *PER_SHIFT)}
        names = outcome.names[part]
        yield dataclasses.replace(outcome, names=names, first=part.start or 0, **rows)


def test_variance_ratio_by_hand():
    weights = torch.randn(SIDE * SIDE, 3, generator=torch.Generator().manual_seed(0))
    images = torch.rand(6, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    sweep = Sweep("circular", line(2), (SIDE, SIDE))
    outcome = evaluate(lambda x: x.flatten(1) @ weights, images, sweep)
    confidence = outcome.probability.astype(np.float64)
    wanted = confidence.std(1).mean() / confidence.std(0).mean()
    found = metrics.variance_ratio(outcome)
    assert found.value == pytest.approx(wanted, rel=1e-9)
    assert found.low < wanted < found.high
    assert found.images == 6
    assert metrics.variance_ratio(split(outcome, slice(0, 4), slice(4, 6))) == found
    # Invariant: no deviation over shifts, some over images. And none of either: 1.
    mean = evaluate(lambda x: torch.cat([x.mean((2, 3)), 0 * x.mean((2, 3))], 1), images, sweep)
    assert metrics.variance_ratio(mean).value == pytest.approx(0, abs=1e-5)
    assert metrics.variance_ratio(outcome_of(line(2), {}, labels=(0, 0))).value == 1
    assert metrics.variance_ratio(outcome_of(random_pairs(2, 1), {})).value is None
    assert metrics.variance_ratio(outcome_of(line(2), {})).value is None  # of one image
    # Of two images, a resample may be of none; it says nothing.
    two = metrics.variance_ratio(next(split(outcome, slice(0, 2))))
    assert two.high < 100


def test_lines_in_any_order_and_with_gaps():
    gaps = outcome_of(listed([(0, 0), (0, 3), (0, 4)]), {(0, 4): B})
    assert metrics.summary(gaps)["flip_rate"].value == 1
    table = {(0, -1): [0.5, 0.3, 0.2], (0, 1): [0.2, 0.3, 0.5]}
    orders = [
        metrics.summary(outcome_of(listed(shifts), table))["zipf_distance"].value
        for shifts in ([(0, -1), (0, 0), (0, 1)], [(0, 0), (0, 1), (0, -1)])
    ]
    assert orders[0] == pytest.approx(orders[1])


def test_interval_is_over_images():
    above, below = np.array([0.0] * 50 + [1.0] * 50), np.ones(100)
    found = estimate((above, below))
    assert found.value == 0.5
    # Normal approximation: 1.96 * sqrt(0.25 / 100) = 0.098.
    assert found.low == pytest.approx(0.402, abs=0.015)
    assert found.high == pytest.approx(0.598, abs=0.015)
    assert found == estimate((above, below))
    # Ten times as many shifts of the same images say no more about images.
    more = estimate((10 * above, 10 * below))
    assert (more.low, more.high) == (found.low, found.high)


def test_a_difference_is_of_the_same_images():
    # Image by image the second network is .1 worse: the difference is sure, though the values,
    # which go from 0 to 1, are not.
    hard = np.linspace(0, 0.9, 50)
    ones = np.ones(50)
    found = difference((hard + 0.1, ones), (hard, ones))
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    alone = estimate((hard, ones))
    assert alone.high - alone.low > 0.1
    opposite = difference((hard, ones), (hard[::-1].copy(), ones))
    assert opposite.value == pytest.approx(0)
    assert opposite.high - opposite.low > 1.5 * (alone.high - alone.low)


def test_a_difference_is_of_the_two_values():
    """Also where one network is never right on an image, which is (0, 0) for some metrics."""
    first = [[1, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]]
    second = [[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 0]]
    found = []
    for right in (first, second):
        made = iter(right)
        outcome = evaluate(
            lambda x, made=made: torch.tensor([[1.0 - ok, ok] for _ in range(len(x) // 3) for ok in next(made)]),
            [bright_pixel()] * 4, Sweep("circular", line(1), (SIDE, SIDE)), [1] * 4, batch=12,
        )  # fmt: skip
        found.append(metrics.terms(outcome, ["consistency_given_correct"]))
    one, two = (terms["consistency_given_correct"] for terms in found)
    wanted = estimate(one).value - estimate(two).value
    assert (estimate(one).value, estimate(two).value) == pytest.approx((0.6, 2 / 3))
    assert difference(one, two).value == pytest.approx(wanted)


def test_a_difference_leaves_out_what_both_lack():
    lacking = np.array([1.0, 0, 1])
    found = difference((lacking, lacking), (np.zeros(3), lacking))
    assert (found.value, found.images) == (1.0, 2)
    assert difference((np.zeros(2), np.zeros(2)), (np.zeros(2), np.ones(2))).value is None
    with pytest.raises(ValueError, match="the same images, got 2 and 3"):
        difference((np.zeros(2), np.ones(2)), (np.zeros(3), np.ones(3)))


def test_many_images_are_resampled_in_pieces():
    above = np.random.default_rng(0).random(30_000)
    found = estimate((above, np.ones(30_000)))  # in pieces of 133 resamples
    spread = 1.96 * above.std() / 30_000**0.5
    assert found.high - found.low == pytest.approx(2 * spread, rel=0.1)


def test_one_image_has_no_interval():
    found = estimate((np.array([1.0]), np.array([2.0])))
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
