"""Confidence sequences cover whenever one looks, and samples stop when they are narrow enough."""

import json
from itertools import islice, permutations

import numpy as np
import pytest
from shiftable.sampling import ConfidenceSequence, shuffled

from tests.commands import options


def test_known_answers():
    zeros = ConfidenceSequence(1000)
    zeros.update(np.zeros(400))
    assert zeros.low == 0
    assert zeros.high < 0.02
    ones = ConfidenceSequence(1000)
    ones.update(np.ones(400))
    assert ones.high == 1
    assert ones.low > 0.98
    alone = ConfidenceSequence(1)
    assert (alone.low, alone.high) == (0, 1)
    alone.update([0.25])
    assert (alone.low, alone.high, alone.mean) == (0.25, 0.25, 0.25)


def test_the_whole_population_leaves_nothing_open():
    population = np.random.default_rng(0).random(777)
    sequence = ConfidenceSequence(777)
    for block in np.split(population, [5, 300, 500]):
        sequence.update(block)
    assert sequence.low == pytest.approx(population.mean(), abs=1e-12)
    assert sequence.high == pytest.approx(population.mean(), abs=1e-12)
    assert sequence.count == 777


def test_blocks_do_not_matter_and_the_interval_never_widens():
    population = np.random.default_rng(1).random(3000)
    one, many = ConfidenceSequence(5000), ConfidenceSequence(5000)
    one.update(population)
    before = (0.0, 1.0)
    for block in np.split(population, 60):
        many.update(block)
        assert before[0] <= many.low <= many.high <= before[1]
        before = many.low, many.high
    assert many.low >= one.low - 1e-12  # more looks, each as good
    assert many.high <= one.high + 1e-12
    assert many.width == pytest.approx(one.width, abs=0.01)


def capital(values, population, mean, aim, sign):
    """What bets on larger (smaller: -1) numbers than `mean` says win, by the paper's formulas."""
    total, squares, won = 0.0, 0.25, 1.0
    for known, value in enumerate(values):
        left = (population * mean - total) / (population - known)
        most = 0.75 / (left if sign > 0 else 1 - left)
        won *= 1 + sign * min(aim / 2 / (squares / (known + 1)), most) * (value - left)
        total += value
        squares += (value - (total + 0.5) / (known + 2)) ** 2
    return won


@pytest.mark.parametrize("sign", [1, -1])
def test_bets_against_the_truth_win_nothing(sign):
    """Over all orders, exactly: the sequence is valid because of this."""
    population = np.array([0.05, 0.9, 0.3, 0.02, 0.6, 0.1])
    drawn = [order[:4] for order in permutations(population)]
    won = [capital(values, 6, population.mean(), 0.5, sign) for values in drawn]
    assert np.mean(won) == pytest.approx(1)
    assert np.ptp(won) > 0.5


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("aim", [0.1, 0.2, 0.9])  # the last is capped for most numbers
def test_the_bounds_are_where_bets_win_enough(level, aim):
    """Coverage cannot tell: it stays high where the bets or what they must win are wrong."""
    values = np.random.default_rng(2).beta(0.5, 1, 120)
    sequence = ConfidenceSequence(250, level, aim)
    sequence.update(values)
    enough, step = 2 / (1 - level), 2e-4
    assert values.sum() / 250 < sequence.low < sequence.high < (values.sum() + 130) / 250
    for bound, sign in ((sequence.low, 1), (sequence.high, -1)):
        assert capital(values, 250, bound, aim, sign) >= enough * (1 - 1e-9)
        assert capital(values, 250, bound + sign * step, aim, sign) < enough


POPULATIONS = {
    "rare": lambda draw: draw.random(2000) < 0.02,
    "some": lambda draw: draw.random(2000) < 0.3,
    "most": lambda draw: draw.random(2000) < 0.9,
    "skewed": lambda draw: draw.beta(0.2, 2, 2000),
}
REPEATS = 300


def simulated(population, make, looks=20):
    """How often an interval missed the true mean at any look, and at the look that stops."""
    draw = np.random.default_rng(7)
    true = population.mean()
    ever = stopped = 0
    for _ in range(REPEATS):
        order = draw.permutation(population)
        sequence, missed, stop = make(), False, None
        for first in range(0, 600, looks):
            sequence.update(order[first : first + looks])
            out = not sequence.low - 1e-12 <= true <= sequence.high + 1e-12
            missed |= out
            if stop is None and sequence.width <= 0.1:
                stop = out
        ever += missed
        stopped += bool(stop)
    return ever / REPEATS, stopped / REPEATS


@pytest.mark.parametrize("name", POPULATIONS)
def test_coverage_by_simulation(name):
    population = POPULATIONS[name](np.random.default_rng(3)).astype(float)
    ever, stopped = simulated(population, lambda: ConfidenceSequence(2000, aim=0.1))
    slack = 3 * (0.05 * 0.95 / REPEATS) ** 0.5
    assert ever <= 0.05 + slack
    assert stopped <= 0.05 + slack


def test_an_ordinary_interval_does_not_survive_looking():
    """So the simulation can tell."""

    class Ordinary:
        def __init__(self):
            self.values = []

        def update(self, values):
            self.values.extend(values)
            mean, count = np.mean(self.values), len(self.values)
            half = 1.96 * np.std(self.values) / count**0.5
            self.low, self.high, self.width = mean - half, mean + half, 2 * half

    population = POPULATIONS["some"](np.random.default_rng(3)).astype(float)
    ever, _ = simulated(population, Ordinary)
    assert ever > 0.15


def test_it_is_narrow_enough_to_be_of_use():
    population = (np.random.default_rng(5).random(1_000_000) < 0.1).astype(float)
    sequence = ConfidenceSequence(1_000_000, aim=0.02)
    while sequence.width > 0.02:
        sequence.update(population[sequence.count : sequence.count + 256])
    fixed = 1.96**2 * 4 * 0.1 * 0.9 / 0.02**2  # of an interval that may be looked at once
    assert sequence.count < 2.5 * fixed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConfidenceSequence(0), "population >= 1"),
        (lambda: ConfidenceSequence(5, level=1.0), "a level between 0 and 1"),
        (lambda: ConfidenceSequence(5, aim=0.0), "an aim between 0 and 1"),
        (lambda: ConfidenceSequence(5).update([1.1]), "numbers from 0 to 1"),
        (lambda: ConfidenceSequence(5).update([np.nan]), "numbers from 0 to 1"),
        (lambda: ConfidenceSequence(5).update(np.zeros(6)), "5 numbers at most, got 6"),
    ],
)
def test_rejects_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_shuffled_is_a_permutation_drawn_lazily():
    assert sorted(shuffled(1000, seed=3)) == list(range(1000))
    assert list(shuffled(1000, seed=3)) == list(shuffled(1000, seed=3))
    assert list(shuffled(1000, seed=3)) != list(shuffled(1000, seed=4))
    assert len(set(islice(shuffled(10**15, seed=1), 1000))) == 1000


def test_shuffled_is_uniform():
    counts = np.zeros((4, 4))
    for seed in range(4000):
        for place, number in enumerate(shuffled(4, seed)):
            counts[place, number] += 1
    assert np.abs(counts - 1000).max() < 5 * (1000 * 0.75) ** 0.5


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("top1_change", 104 / 144),  # all but the upright steps of a 5x5 grid
        ("accuracy", 0.6),
        ("consistency", (15 * 14 + 10 * 9) / (25 * 24)),
        ("changed", 10 / 24),
    ],
)
def test_sampling_to_a_width(run, place, metric, value):
    arguments = options(until_width="0.4", metric=metric, seed="1")
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads((place / "run" / f"circular.{metric}.sample.json").read_text())
    assert found["low"] <= value <= found["high"] <= found["low"] + 0.4 + 1e-9
    assert found["full"] == 50
    assert f"{metric} of the full grid on these images" in done.stdout
    # To the end, it is the grid's own value.
    assert run(*options(until_width="0.0001", metric=metric, out="all")).returncode == 0
    whole = json.loads((place / "all" / f"circular.{metric}.sample.json").read_text())
    assert whole["value"] == pytest.approx(value)
    assert whole["drawn"] == whole["cells"]
    assert whole["forwards"] <= whole["full"]  # no window is shown twice
    again = run(*arguments)
    assert "run holds a run or this sample already" in again.stderr


@pytest.mark.parametrize("metric", ["mac", "total_variation", "top1_change", "consistency"])
def test_the_whole_sample_is_the_metric(run, place, metric):
    assert run(*options(out="swept")).returncode == 0
    table = json.loads(run("metrics", "swept", "--json").stdout)
    assert run(*options(until_width="0.00001", metric=metric)).returncode == 0
    whole = json.loads((place / "run" / f"circular.{metric}.sample.json").read_text())
    assert whole["value"] == pytest.approx(table["sweeps"][0]["metrics"][metric]["value"], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "worst_case"}, "'worst_case' is not one of 'top1_change'"),
        ({"shifts": "pairs:3:2"}, "cannot sample random groups of shifts: they are a sample"),
        ({"metric": "accuracy", "labels": None}, "no image has a label"),
        ({"shifts": "grid:0"}, "the plan has no such steps"),
        ({"until_width": "2"}, "2.0 is not in the range"),
        ({"until_width": None, "metric": "mac"}, "--metric and --seed are for --until-width"),
        ({"part_images": "2"}, "--until-width stores no parts"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(run, changes, message):
    done = run(*options(**{"until_width": "0.3", **changes}))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
