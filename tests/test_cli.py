"""The command line, run as users run it: real processes, one clear line for each mistake."""

import json
import re
import subprocess
import sys

import pytest
from PIL import Image

NET = """
import torch

class Columns(torch.nn.Module):
    "Even columns against odd ones: it changes its mind at every horizontal step."
    def forward(self, x):
        return torch.stack([x[..., ::2].mean((1, 2, 3)), x[..., 1::2].mean((1, 2, 3))], 1)

def maps(x):
    return x

def fails(x):
    return x @ torch.zeros(5, 5)
"""


@pytest.fixture
def place(tmp_path):
    """A folder with a network and two labelled photographs, 8x8, one bright column each."""
    (tmp_path / "toy_net.py").write_text(NET)
    for number, column in enumerate((3, 4)):
        photo = Image.new("RGB", (8, 8))
        photo.paste((255, 255, 255), (column, 0, column + 1, 8))
        (tmp_path / "photos").mkdir(exist_ok=True)
        photo.save(tmp_path / "photos" / f"p{number}_{column % 2}.png")
    return tmp_path


def run(place, *arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "shiftable", *arguments],
        cwd=place, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


GOOD = {
    "--model": "toy_net:Columns", "--images": "photos", "--labels": r"pattern:_(\d)\.",
    "--protocol": "circular", "--shifts": "grid:2", "--size": "8", "--out": "run",
}  # fmt: skip


def sweep(place, **changes):
    options = {**GOOD, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    given = [part for name, value in options.items() if value is not None for part in (name, value)]
    return run(place, "sweep", *given)


def test_sweep_prints_stores_and_draws(place):
    done = sweep(place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"P\(top-1 change\) +75.0 % \[75.0, 75.0\]", done.stdout)
    assert re.search(r"accuracy +60.0 %", done.stdout)
    assert "Traceback" not in done.stderr
    assert "50/50" in done.stderr  # the progress bar
    assert sorted(p.name for p in (place / "run").iterdir()) == ["circular.parquet", "circular.png", "manifest.json"]  # fmt: skip
    again = run(place, "metrics", "run")
    assert again.stdout.splitlines() == done.stdout.splitlines()[:-1]


def test_metrics_for_machines(place):
    assert sweep(place, protocol="shift", border="circular").returncode == 0
    found = json.loads(run(place, "metrics", "run", "--json").stdout)
    (entry,) = found["sweeps"]
    assert entry["metrics"]["top1_change_right"]["value"] == 1.0
    assert entry["metrics"]["top1_change_up"]["value"] == 0.0
    assert entry["metrics"]["mac_pairs"]["value"] is None
    assert [row["radius"] for row in entry["worst_case_by_radius"]] == [0, 1, 2]
    assert [row["image"] for row in entry["by_image"]] == ["p0_1.png", "p1_0.png"]
    table = run(place, "metrics", "run", "--all").stdout
    assert re.search(r"P\(top-1 change\), up left +100.0 %", table)
    assert re.search(r"mean absolute change within pairs +-\n", table)


def test_a_second_evaluation_gives_the_same_bytes(place):
    options = {"model": "demo:squeezenet", "labels": None, "size": None, "shifts": "grid:1"}
    for out in ("one", "two"):
        done = sweep(place, **options, protocol="embed", out=out)
        assert done.returncode == 0, done.stderr
    one, two = (
        {path.name: path.read_bytes() for path in (place / out).iterdir()} for out in ("one", "two")
    )
    assert one == two


def test_several_protocols_and_pairs_in_one_run(place):
    done = run(
        place, "sweep", "--quiet", "--model", "toy_net:Columns", "--size", "8", "--images", "photos/p0_1.png",
        "--images", "photos/p1_0.png", "--protocol", "circular", "--protocol", "crop",
        "--image-size", "original", "--shifts", "pairs:4:1:7", "--out", "run",
    )  # fmt: skip
    assert done.returncode == 2  # an 8-pixel window cannot slide over 8 pixels
    assert not (place / "run").exists()
    done = sweep(place, shifts="pairs:4:1:7", protocol="embed", fill="255,0,0", image_size="6x4")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (place / "run").glob("*.png")] == []  # pairs have no order to draw


def prepare_broken_image(place):
    (place / "photos" / "z_1.png").write_bytes((place / "photos" / "p0_1.png").read_bytes()[:60])


def prepare_empty_folder(place):
    (place / "empty").mkdir()


def prepare_existing_run(place):
    (place / "run").mkdir()
    (place / "run" / "precious").write_text("kept")


@pytest.mark.parametrize(
    ("prepare", "changes", "message"),
    [
        (prepare_broken_image, {}, "cannot read photos/z_1.png as an image"),
        (prepare_empty_folder, {"images": "empty"}, "no images in empty"),
        (prepare_existing_run, {}, "run exists; name a new folder"),
        (None, {"images": "nowhere"}, "no image or folder at nowhere"),
        (None, {"model": "toy_net:maps"}, r"expected logits \(8, K\) with K >= 2 .* got \(8, 3, 8, 8\)"),
        (None, {"model": "toy_net:fails"}, "the network failed on a batch"),
        (None, {"model": "toy_net:missing"}, "cannot find 'missing' in module 'toy_net'"),
        (None, {"model": "resnet50"}, "unknown model 'resnet50'; expected demo:NAME, timm:NAME"),
        (None, {"model": "demo:resnet"}, "known: efficientnet-lite0, squeezenet"),
        (None, {"size": None}, "expected the input size of 'toy_net:Columns', got none"),
        (None, {"protocol": "rotate"}, "'rotate' is not one of 'crop', 'embed', 'circular', 'shift'"),
        (None, {"protocol": "crop", "shifts": "grid:30"}, "take smaller shifts or larger images"),
        (None, {"protocol": "embed", "shifts": "grid:30"}, "take smaller shifts or smaller images"),
        (None, {"image_size": "9"}, "expected an image of the window's size, got a 9x9 image"),
        (None, {"shifts": "spiral:3"}, "expected grid:R, .*; got 'spiral:3'"),
        (None, {"shifts": "grid:x"}, "got 'grid:x'"),
        (None, {"shifts": "grid:3:1"}, r"expected a radius >= 0 or \(first, last\)"),
        (None, {"size": "8x8x8"}, "expected a size such as 224"),
        (None, {"mean": "a,b"}, "expected numbers with commas"),
        (None, {"mean": "0.1,0.2"}, r"expected one value or three \(R, G, B\)"),
        (None, {"fill": "puce"}, "expected numbers with commas"),
        (None, {"fill": "1,2", "protocol": "embed"}, "fill"),
        (None, {"border": "wrap"}, "'wrap' is not one of"),
        (None, {"batch": "0"}, "0 is not in the range"),
        (None, {"labels": r"pattern:(\d+)-"}, "no class number in"),
        (None, {"device": "abacus"}, "cannot run on 'abacus'"),
        (None, {"weights": "a.pth"}, "expected weights only with timm: or torchvision:"),
        (None, {"out": None}, "Missing option '--out'"),
        (None, {"colour": "red"}, "No such option '--colour'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(place, prepare, changes, message):
    if prepare is not None:
        prepare(place)
    before = snapshot(place)
    done = sweep(place, **changes)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert re.search(message, last), done.stderr
    assert last.startswith("shiftable: ")
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "window" not in line] == [last]
    assert done.stdout == ""
    assert snapshot(place) == before


def snapshot(place):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(place.rglob("*"))
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(("arguments", "message"), [
    (["metrics", "nowhere"], "nowhere is not a run"),
    (["metrics"], "Missing argument 'RUN'"),
    (["swep"], "No such command 'swep'"),
])  # fmt: skip
def test_other_mistakes_are_one_line(place, arguments, message):
    done = run(place, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr


def test_help_names_every_way_in(place):
    assert run(place).returncode == 2
    assert "sweep" in run(place, "--help").stdout
    assert "demo:NAME" in run(place, "sweep", "-h").stdout
    assert "0.1.0" in run(place, "--version").stdout
