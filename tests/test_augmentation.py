"""Translations in training: what is inside a range and what outside; the command, on made-up data."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from shiftable import Sweep, evaluate

from benchmarks.findings import augmentation, trained
from benchmarks.findings import augmentation_run as findings
from benchmarks.findings import augmentation_tables as tables
from tests.test_from_scratch import write

ROOT = Path(__file__).parent.parent
VARIANTS = findings.VARIANTS
REACH = 4


@pytest.fixture(scope="module")
def outcome():
    """Two pixels on a canvas of nine; the darker one is misjudged beyond two pixels sideways."""

    def model(canvas):
        row = canvas[:, 0].amax(1)
        wrong = ((row.argmax(1) - REACH).abs() > 2) & (row.amax(1) < 150)
        return torch.stack([~wrong, wrong], 1).float()

    images = torch.tensor([100, 200], dtype=torch.uint8).reshape(2, 1, 1, 1)
    sweep = Sweep("embed", findings.plan(REACH), (9, 9))
    return evaluate(model, images, sweep, [0, 0])


def test_the_plan_is_a_row_and_a_diagonal():
    assert findings.plan(1).shifts == ((0, -1), (0, 0), (0, 1), (-1, -1), (1, 1))


@pytest.mark.parametrize(
    ("farthest", "side", "consistency", "accuracy", "top1_change"),
    [
        (2, "inside", 1, 1, 0),
        (2, "outside", 1 / 2, 1 / 2, 0),  # the darker one is wrong at all four distances
        (2, "difference", -1 / 2, -1 / 2, 0),
        # Of the darker one's 12 offsets but the middle 4 are 3 pixels away; of its 12 steps, 4 enter.
        (3, "inside", 20 / 24, 22 / 26, 4 / 24),
        (3, "outside", 1 / 2, 1 / 2, None),  # only 4 pixels away: no step has both its ends there
        (3, "difference", 1 / 2 - 20 / 24, 1 / 2 - 22 / 26, None),
        (0, "inside", None, 1, None),
        (4, "inside", 24 / 32, 26 / 34, 4 / 32),
    ],
)
def test_inside_and_outside(outcome, farthest, side, consistency, accuracy, top1_change):
    found = findings.split(outcome, farthest)[side]
    for name, want in (
        ("consistency", consistency), ("accuracy", accuracy), ("top1_change", top1_change)
    ):  # fmt: skip
        assert found[name]["value"] == (want if want is None else pytest.approx(want)), name


def test_nothing_is_outside_of_the_whole_canvas(outcome):
    assert set(findings.split(outcome, REACH)) == {"inside"}


def test_by_distance_and_by_place(outcome):
    known = findings.by_distance(outcome)
    assert [known[str(r)]["accuracy"]["value"] for r in range(5)] == [1, 1, 1, 0.5, 0.5]
    assert [known[str(r)]["consistency"]["value"] for r in range(5)] == [None, 1, 1, 0.5, 0.5]
    line = [0.5, 0.5, 1, 1, 1, 1, 1, 0.5, 0.5]
    alike = {"consistency": line, "accuracy": line}
    assert findings.by_place(outcome) == {"horizontal": alike, "diagonal": alike}


def test_places_are_ordered_by_the_horizontal_offset():
    def model(canvas):  # right where the pixel is two to the right of the middle
        return torch.stack([canvas[:, 0, 4, 6], torch.full((len(canvas),), 0.5)], 1)

    pixel = torch.full((1, 1, 1, 1), 9, dtype=torch.uint8)
    outcome = evaluate(model, pixel, Sweep("embed", findings.plan(REACH), (9, 9)), [0])
    found = findings.by_place(outcome)
    assert found["horizontal"]["accuracy"] == [0, 0, 0, 0, 0, 0, 1, 0, 0]  # (0, 2)
    assert found["diagonal"]["accuracy"] == [0] * 9


def test_offsets_are_uniform_and_alike_whatever_the_range():
    near, far = (
        findings.offsets(5000, farthest, torch.Generator().manual_seed(0)) for farthest in (1, 4)
    )
    assert near.unique(return_counts=True)[1].tolist() == pytest.approx([10000 / 3] * 3, rel=0.05)
    assert far.unique().tolist() == list(range(-4, 5))
    assert torch.equal(near, (far.double() / 3).round().long())  # thirds of the same numbers
    assert not findings.offsets(5, 0, torch.Generator()).any()


def test_images_are_placed():
    images = torch.randint(1, 255, (2, 1, 28, 28), dtype=torch.uint8)
    placed = findings.placed(images, torch.tensor([[0, 0], [-2, 1]]), 32)
    assert torch.equal(placed[0, :, 2:30, 2:30], images[0])
    assert torch.equal(placed[1, :, 0:28, 3:31], images[1])
    assert [(one > 0).sum().item() for one in placed] == [28 * 28] * 2


def network(name, seed=0, canvas=56):
    settings = replace(findings.QUICK, canvas=canvas)
    return findings.network(VARIANTS[name], settings, seed).eval()


def test_networks_begin_alike():
    first = network("max").state_dict()
    for name in VARIANTS:
        other = network(name).state_dict()
        assert list(other) == list(first)
        assert all(
            torch.equal(other[key], first[key])
            for key in first
            if VARIANTS[name].averages or not key.startswith("17.")  # the last layer
        )
    assert not torch.equal(network("max", 1)[0].weight, first["0.weight"])


@pytest.mark.parametrize("name", VARIANTS)
def test_only_strides_and_edges_tell_an_average_where_things_are(name):
    model = network(name, canvas=96)

    def moves(background, *shift):
        image = torch.full((1, 1, 96, 96), background)
        image[..., 40:56, 40:56] = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
        change = model(image.roll(shift, (2, 3))) - model(image)
        return bool(change.detach().abs().max() > 1e-6)

    assert moves(0.0, 8, -16) == (name == "max-places")  # no edge: the padding is the background
    assert moves(0.0, 0, 1)
    assert moves(-1.0, 8, -40)  # up to the edge, which is not the background


def estimates(*bounds):
    return {str(s): {"value": m, "low": a, "high": b} for s, (a, m, b) in enumerate(bounds)}


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ([(-0.3, -0.2, -0.1), (-0.2, -0.1, -0.05)], "yes"),
        ([(-0.3, -0.2, -0.1), (-0.2, -0.1, 0.0)], "in 1 of 2 seeds"),
        ([(-0.1, 0.0, 0.1), (-0.1, 0.05, 0.2)], "**no: no difference**"),
        ([(0.1, 0.2, 0.3), (0.1, 0.2, 0.4)], "**no: the reverse**"),
        ([(0.1, 0.2, 0.3), (-0.1, 0.2, 0.4)], "in 0 of 2 seeds"),
    ],
)
def test_the_verdict_is_of_every_seeds_interval(bounds, said):
    assert tables.apart(estimates(*bounds)) == said


def test_bounds_hold_every_seeds_interval():
    known = estimates((-0.3, -0.2, -0.1), (-0.2, -0.1, 0.05))
    assert tables.paired(known) == "-15.00 [-30.00, +5.00]"
    assert tables.rose([0.01, 0.02]) == "+1.50 [+1.00, +2.00]: yes"
    assert tables.rose([0.01, -0.02]).endswith(": in 1 of 2 seeds")
    assert tables.rose([-0.01, 0.0]).endswith(": **no**")
    assert tables.changes({"0": 1.0, "1": 2.0}, {"1": 5.0, "2": 9.0}) == [3.0]


def command(*options):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.findings.augmentation", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_command_trains_measures_and_goes_on(tmp_path):
    write(tmp_path, "train", 300)
    write(tmp_path, "t10k", 40)
    kept, page = tmp_path / "found.json", tmp_path / "found.md"
    options = "--quick", "--data", tmp_path, "--json", kept, "--seeds", "1"
    first = command(*options)
    assert first.returncode == 0, first.stderr
    count = len(VARIANTS) * len(findings.QUICK.ranges)
    assert first.stdout.count(" seed 0: ") == count
    before = json.loads(kept.read_text())
    assert len(before["results"]) == count
    assert {"machine", "settings", "results"} <= set(before)
    kept.write_text(json.dumps({**before, "results": {**before["results"], "max-blur-1": {}}}))

    second = command(*options, "--figure", tmp_path / "found.png", "--page", page)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count(" seed ") == 1  # what is missing, again with the same result
    assert "max-blur-1    seed 0: " in second.stdout
    assert second.stdout.split("\n\n")[1:] == first.stdout.split("\n\n")[1:]
    assert (tmp_path / "found.png").stat().st_size > 10_000
    assert "| max-pool, places kept | 1 | test | " in page.read_text()
    assert "Missing" not in page.read_text()

    refused = command("--data", tmp_path, "--json", kept)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("is of other settings: give another file, or delete it")  # fmt: skip


def test_the_page_is_of_what_is_there_and_says_what_is_missing(outcome):
    settings = replace(findings.QUICK, canvas=36, ranges=(0, 2, 4))
    found = tables.Found(settings, {})
    assert (found.bands, found.inner) == ([(1, 2), (3, 4)], (2,))
    for farthest in settings.ranges:
        known = {"split": findings.split(outcome, farthest)}
        known["by_distance"] = findings.by_distance(outcome)
        found.results[f"max-{farthest}"] = {
            "0": {
                "test": known,
                "train": known,
                "cpu_seconds": {"training": 15.0, "measuring": 5.0},
            }
        }
    written = augmentation.page(found, "some.png", seeds=2)
    assert "takes about 6 minutes" in written  # 20 seconds of each of 18
    assert "Missing: seed 0 of max-blur-0, max-blur-2, max-blur-4, max-places-0, " in written
    assert "; seed 1 of all networks." in written
    one = "| max-pool | 2 | test | 100.00 [100.00, 100.00] | 50.00 [50.00, 50.00] | -50.00 "
    assert one in written
    assert "| max-pool | 2 | 100.00 [100.00, 100.00] | *50.00 [50.00, 50.00]* |" in written
    assert "| max-blur |" not in written


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "nowhere"), "apt-get install dataset-fashion-mnist, or --data with its files"),
        (("--seeds", "0"), "argument --seeds: expected a whole number >= 1, got 0"),
        (("--threads", "two"), "argument --threads: expected a whole number >= 1, got two"),
    ],
)
def test_what_the_user_can_mend_is_one_line(options, said):
    refused = command("--quick", *options)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith(said)
    assert "Traceback" not in refused.stderr


def test_results_are_written_with_innermost_values_on_one_line(tmp_path):
    found = {"title": "a  b", "list": [1.5, 2], "seeds": {"0": {"value": None, "by": "{\n}"}}}
    trained.write(tmp_path / "found.json", found)
    text = (tmp_path / "found.json").read_text()
    assert json.loads(text) == found
    assert '"list": [ 1.5, 2 ],' in text
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_the_document_is_of_the_stored_results():
    path = ROOT / "benchmarks" / "results" / "findings" / "augmentation.json"
    settings = findings.Settings()
    found = tables.Found(settings, trained.stored(path, settings)["results"])  # of these settings
    document = (ROOT / "docs" / "augmentation.md").read_text()
    assert augmentation.page(found, "augmentation.png", seeds=3) == document
