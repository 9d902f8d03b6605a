"""Figures of every protocol and plan, as files that hold a picture."""

import numpy as np
import pytest
from PIL import Image
from shiftable import Sweep, evaluate, figures, grid, line, random_pairs, sizes
from shiftable.figures import Panel
from shiftable.figures.one_image import _one_line
from shiftable.intervals import Estimate
from shiftable.metrics import shift_map
from toys import SIDE, answers, bright_pixel

from tests.commands import options

A, B = [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]


def ink(path):
    """How many pixels are not white."""
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("L")) < 250).sum())


def outcome_of(plan, table, labels=(0,)):
    sweep = Sweep("circular", plan, (SIDE, SIDE))
    return evaluate(answers(table, A), [bright_pixel()] * len(labels), sweep, labels)


def test_the_row_that_is_drawn_is_where_the_class_changes():
    answers_ = shift_map(outcome_of(grid(2), {(1, 0): B, (1, 2): B}), 0)
    drawn = _one_line(answers_)
    assert drawn.label == "dx (pixels), at dy = 1"
    assert drawn.classes.tolist() == [0, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "plan", [grid(2), grid(1, spacing=0.5), line(3), line(2, "vertical"), grid(1, sizes=1)], ids=str
)
def test_every_plan_is_drawn(tmp_path, plan):
    protocol = "embed"
    outcome = evaluate(
        lambda x: x.flatten(1)[:, :6] + x.mean((1, 2, 3))[:, None],
        [bright_pixel()] * 2, Sweep(protocol, plan, (16, 16)), [1, -1],
    )  # fmt: skip
    figures.shift_figure(outcome, tmp_path / "one.png", image=1, classes=("a$b", "c"))
    assert ink(tmp_path / "one.png") > 5000
    figures.distance_figure({"two": outcome}, tmp_path / "two.png")
    assert ink(tmp_path / "two.png") > 5000


def test_sizes_alone_are_drawn_against_the_size(tmp_path):
    outcome = evaluate(
        lambda x: x.flatten(1)[:, 30:36], [bright_pixel()], Sweep("embed", sizes(3), (16, 16))
    )
    figures.shift_figure(outcome, tmp_path / "sizes.png")
    assert ink(tmp_path / "sizes.png") > 5000


def test_random_groups_have_no_order():
    with pytest.raises(ValueError, match="got random groups"):
        figures.shift_figure(outcome_of(random_pairs(2, 1), {}), "nowhere.png")


def test_several_networks_in_one_figure(tmp_path):
    steady, shaky = outcome_of(grid(2), {}), outcome_of(grid(2), {(0, 1): B})
    path = tmp_path / "both.svg"
    figures.distance_figure({"steady": steady, "shaky": shaky}, path)
    text = path.read_text()
    assert "steady" in text or "<use" in text  # as text, or as its outlines
    assert "date" not in text.lower().replace("update", "")


def test_what_cannot_be_had_is_not_drawn(tmp_path):
    nothing = Panel("y", {"one": [(1.0, Estimate(None, None, None, 0))]})
    with pytest.raises(ValueError, match="got none that can be had"):
        figures.lines_figure([nothing], "x", tmp_path / "none.png")
    known = Panel("y", {"one": [(1.0, Estimate(0.5, None, None, 1))]})
    figures.lines_figure([nothing, known], "x", tmp_path / "one.png")
    assert ink(tmp_path / "one.png") > 1000


def test_the_command(run, place):
    assert run(*options()).returncode == 0
    assert run(*options(model="toy_net:Rows", out="rows")).returncode == 0
    drawn = run("figure", "run", "rows", "--out", "both.png")
    assert drawn.returncode == 0, drawn.stderr
    assert ink(place / "both.png") > 5000
    photo = run("figure", "run", "--kind", "image", "--image", "p1_0.png", "--out", "p1.png")
    assert photo.returncode == 0, photo.stderr
    assert ink(place / "p1.png") > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.gif"], "expected a .png or .svg"),
        (["--out", "a.png", "--image", "x"], "--image is for --kind image"),
        (["--out", "a.png", "--sweep", "crop"], "no sweep 'crop' in run; it has circular"),
        (["--out", "a.png", "--kind", "image", "--image", "x"], "no image 'x' in run"),
        (["rows", "--out", "a.png", "--kind", "image"], "expected one sweep"),
        (["--out", "nowhere/a.png"], "nowhere/a.png"),
    ],
)
def test_mistakes_are_one_line(run, arguments, message):
    assert run(*options()).returncode == 0
    assert run(*options(out="rows")).returncode == 0
    done = run("figure", "run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
