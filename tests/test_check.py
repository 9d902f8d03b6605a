"""The gate: limits on the bounds of intervals, alone and against a baseline."""

import json
import re

import pytest
import torch
from shiftable import Sweep, evaluate, line
from shiftable.check import assert_metrics
from toys import SIDE, answers, bright_pixel

from tests.commands import options

A, B = [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]
SWEEP = Sweep("circular", line(2), (SIDE, SIDE))


def outcome_of(models, labels=None):
    """Images that each have a network of their own: consistency 1 or 12/20."""
    parts = iter(models)

    def model(windows):
        return torch.cat([next(parts)(windows[n : n + 5]) for n in range(0, len(windows), 5)])

    images = [bright_pixel()] * len(models)
    return evaluate(model, images, SWEEP, labels, batch=5 * len(models))


STEADY, SHAKY = answers({}, A), answers({(0, 0): B}, A)


def test_a_test_passes_or_names_each_limit_that_is_not_kept():
    steady = outcome_of([STEADY] * 4, labels=[0] * 4)
    assert_metrics(steady, min_consistency=1.0, max_top1_change=0.0, min_worst_case=1.0)
    shaky = outcome_of([SHAKY] * 4, labels=[0] * 4)
    with pytest.raises(AssertionError) as failed:
        assert_metrics(shaky, min_consistency=0.9, max_mac=0.1, max_top1_change=0.6)
    assert str(failed.value).splitlines() == [
        "sweep: consistency: expected at least 90.00 %, but the lower bound is 60.00 %, of "
        "60.00 % [60.00 %, 60.00 %]",
        "sweep: mean absolute change: expected at most 0.1000, but the upper bound is 0.2000, of "
        "0.2000 [0.2000, 0.2000]",
    ]


def test_it_is_the_bound_that_counts():
    mixed = outcome_of([STEADY] * 5 + [SHAKY] * 5)  # 80 %, and far less with less luck
    with pytest.raises(
        AssertionError, match=r"at least 75\.00 %, but the lower bound is 6.*80\.00 %"
    ):
        assert_metrics(mixed, min_consistency=0.75)
    assert_metrics(mixed, min_consistency=0.6)


def test_against_a_baseline_it_is_the_difference():
    better, worse = outcome_of([STEADY] * 4), outcome_of([SHAKY] * 4)
    assert_metrics(better, against=worse, min_consistency=0.3)
    with pytest.raises(AssertionError, match=r"against the baseline: expected at least \+30\.00 %"):
        assert_metrics(worse, against=better, min_consistency=0.3)
    assert_metrics(worse, against=worse, min_consistency=0.0, max_mac=0.0)


@pytest.mark.parametrize(
    ("models", "limits", "message"),
    [
        (
            [SHAKY],
            {"min_consistency": 0.1},
            "on one image, which has no interval; take more images",
        ),
        ([SHAKY] * 2, {"min_accuracy": 0.1}, "but this sweep does not have it"),
    ],
)
def test_what_is_not_known_is_not_kept(models, limits, message):
    with pytest.raises(AssertionError, match=message):
        assert_metrics(outcome_of(models), **limits)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_wobble": 1}, "unknown metric 'wobble'; known: top1_change"),
        ({"least_mac": 1}, "expected min_METRIC or max_METRIC, got 'least_mac'"),
        ({"max_top1_change": 5}, "expected a share from 0 to 1 for top1_change, got 5"),
        ({}, "expected a limit, got none"),
    ],
)
def test_rejects_limits(limits, message):
    with pytest.raises(ValueError, match=message):
        assert_metrics(outcome_of([STEADY] * 2), **limits)


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def stored(run):
    """A run of P(top-1 change) 72.2 % and accuracy 60 %, and another network's, which is its side."""
    assert run(*options()).returncode == 0
    assert run(*options(model="toy_net:Rows", out="rows")).returncode == 0
    return run


def test_exit_codes(stored):
    good = stored("check", "run", "--max-top1-change", "0.73", "--min", "accuracy=0.5")
    assert good.returncode == 0
    assert [line[:4] for line in good.stdout.splitlines()] == ["ok  ", "ok  "]
    bad = stored("check", "run", "--max-top1-change", "0.7", "--min-accuracy", "0.5")
    assert bad.returncode == 1
    assert re.search(
        r"^FAILED  circular: P\(top-1 change\): expected at most 70.00 %, but the upper bound is 72.22 %",
        bad.stdout,
        re.M,
    )
    assert re.search(r"^ok +circular: accuracy: at least 50.00 %", bad.stdout, re.M)


def test_annotations(stored):
    bad = stored("check", "run", "--max", "mac=0.0", "--github")
    (told,) = [text for text in bad.stdout.splitlines() if text.startswith("::error ")]
    assert told.startswith("::error title=shiftable mac::circular: mean absolute change: expected")
    shares = stored("check", "run", "--max-top1-change", "0.1", "--github").stdout
    assert "10.00 %25" in shares


def test_against_a_baseline(stored):
    same = stored("check", "run", "--against", "rows", "--max-top1-change", "0.01")
    assert same.returncode == 1  # the rows of a column are all alike: no change at all
    assert "against the baseline" in same.stdout
    assert stored("check", "rows", "--against", "run", "--max-top1-change", "0").returncode == 0


def test_comparison(stored):
    table = stored("compare", "run", "rows").stdout
    assert re.search(
        r"P\(top-1 change\) +72.2 % \S+ \S+ +0.0 % .* \+72.2 % \[\+72.2, \+72.2\]", table
    )
    found = json.loads(stored("compare", "run", "rows", "--json").stdout)
    entry = found["sweeps"][0]["metrics"]["accuracy"]
    assert entry["ratio"] == pytest.approx(0.6 / entry["second"]["value"])
    assert entry["difference"]["images"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "run"], "expected a limit, got none"),
        (["check", "run", "--min", "accuracy"], "expected METRIC=VALUE, got 'accuracy'"),
        (["check", "run", "--min", "speed=1"], "unknown metric 'speed'"),
        (
            ["check", "run", "--sweep", "crop", "--max-mac", "1"],
            "no sweep 'crop' in run; it has circular",
        ),
        (["check", "nowhere", "--max-mac", "1"], "nowhere is not a run"),
        (["compare", "run", "other"], "circular: plan.shifts: "),
        (
            ["check", "run", "--against", "other", "--sweep", "circular", "--max-mac", "1"],
            "cannot be compared: circular: plan",
        ),
        (
            ["check", "run", "--against", "embedded", "--max-mac", "1"],
            "has no sweep 'circular', it has embed",
        ),
        (["check", "run", "--max-top1-change", "5"], "expected a share from 0 to 1"),
    ],
)
def test_mistakes_are_one_line(stored, arguments, message):
    assert stored(*options(shifts="grid:1", out="other")).returncode == 0
    assert stored(*options(shifts="grid:1", protocol="embed", out="embedded")).returncode == 0
    done = stored(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
