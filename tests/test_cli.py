"""The command line, run as users run it: real processes, one clear line for each mistake."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from shiftable import store

from tests.commands import files, options, process


def test_sweep_prints_stores_and_draws(place):
    done = process(place, *options())
    assert done.returncode == 0, done.stderr
    # A 5x5 grid has 40 sideways, 40 upright and 64 diagonal steps; all but the upright change the
    # class: 104 of 144.
    assert re.search(r"P\(top-1 change\) +72.2 % \[72.2, 72.2\]", done.stdout), done.stdout
    assert re.search(r"accuracy +60.0 %", done.stdout)
    assert done.stderr == ""  # a progress bar is for terminals
    written = sorted(str(path.relative_to(place / "run")) for path in (place / "run").rglob("*.*"))
    assert written == [
        "circular-distance.png",
        "circular.png",
        "circular/part-00000.parquet",
        "circular/part-00001.parquet",
        "manifest.json",
    ]
    again = process(place, "metrics", "run")
    assert again.stdout.splitlines() == done.stdout.splitlines()[:-1]


@pytest.mark.parametrize("resumed", [False, True])
def test_progress_is_shown_on_a_terminal(place, resumed):
    if resumed:
        assert process(place, *options()).returncode == 0
        (place / "run" / "circular" / "part-00000.parquet").unlink()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "shiftable", *options()]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, stderr=theirs, timeout=120)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # how a terminal says that there is no more
        while part := os.read(ours, 4096):
            shown += part.decode()
    os.close(ours)
    assert done.returncode == 0
    assert "circular: 100%" in shown
    assert "50/50" in shown
    if resumed:  # what is there counts as done, from the first line on
        assert re.search(r"circular: +50%", shown)
    assert re.search(r"[\d.]+shift/s, [\d.]+ images/s", shown), shown


def test_metrics_for_machines(run):
    assert run(*options(protocol="circular")).returncode == 0
    found = json.loads(run("metrics", "run", "--json").stdout)
    (entry,) = found["sweeps"]
    assert entry["metrics"]["top1_change_right"]["value"] == 1.0
    assert entry["metrics"]["top1_change_up"]["value"] == 0.0
    assert entry["metrics"]["mac_pairs"]["value"] is None
    assert [row["distance"] for row in entry["by_distance"]] == [0, 1, 2]
    assert [row["image"] for row in entry["by_image"]] == ["p0_1.png", "p1_0.png"]
    table = run("metrics", "run", "--all").stdout
    assert re.search(r"P\(top-1 change\), up left +100.0 %", table)
    assert re.search(r"mean absolute change within pairs +-\n", table)


def test_a_second_evaluation_gives_the_same_bytes(run, place):
    changes = {"model": "demo:squeezenet", "labels": None, "size": None, "shifts": "grid:1"}
    for out in ("one", "two"):
        done = run(*options(**changes, protocol="embed", out=out))
        assert done.returncode == 0, done.stderr
    assert files(place / "one") == files(place / "two")


def test_several_protocols_in_one_run(run):
    done = run(*options(shifts="line:-1:0"), "--protocol", "embed", "--protocol", "crop")
    assert done.returncode == 0, done.stderr
    assert re.search(r"protocol +circular +embed +crop\n", done.stdout)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shifts", "protocol", "rows"),
    [
        ("grid:0", "circular", 1),
        ("sizes:-1:1", "embed", 3),
        ("grid:1,spacing=0.5,sizes=0:1", "embed", 50),
        ("line:vertical:2,step=2", "embed", 5),
        ("diagonal:-1:0", "embed", 2),
        ("groups:2:3:1,at_rest,seed=4", "circular", 6),
        ("pairs:2:1.5,spacing=0.5", "circular", 4),
    ],
)
def test_every_kind_of_plan_from_the_command_line(run, place, shifts, protocol, rows):
    done = run(
        *options(
            shifts=shifts, protocol=protocol, image_size=None if protocol == "circular" else "4"
        )
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"shifts +{rows}\n", done.stdout)
    assert run("metrics", "run", "--all").returncode == 0
    found = json.loads(run("metrics", "run", "--json").stdout)
    assert found["sweeps"][0]["shifts"] == rows


def test_fills_and_interpolations(run):
    for number, changes in enumerate(
        (
            {"protocol": "embed", "fill": "inpaint"},
            {"protocol": "embed", "fill": "mean"},
            {"protocol": "shift", "border": "reflect"},
            {"shifts": "line:1,spacing=0.25", "interpolation": "fourier"},
            {"shifts": "line:1,spacing=0.25", "interpolation": "lanczos3", "protocol": "embed"},
        )
    ):
        done = run(*options(**{"shifts": "line:1", **changes, "out": f"run-{number}"}))
        assert done.returncode == 0, done.stderr


def test_random_pairs_are_not_drawn(run, place):
    done = run(*options(shifts="pairs:4:1:7", protocol="embed", fill="255,0,0", image_size="6x4"))
    assert done.returncode == 0, done.stderr
    assert not list((place / "run").glob("*.png"))


FAILS_ONCE = """
import pathlib, torch

def net(x):
    if x.shape[0] < 8 and not pathlib.Path("mended").exists():  # the batch that ends a part
        raise RuntimeError("not today")
    return torch.stack([x[..., ::2].mean((1, 2, 3)), x[..., 1::2].mean((1, 2, 3))], 1)
"""


def test_a_stopped_run_goes_on(run, place):
    (place / "once.py").write_text(FAILS_ONCE)
    arguments = options(model="once:net", batch="8", shifts="line:1", labels=None, image_size="8")
    # Two images of three shifts: crop and embed are one batch of 3 each a part. Circular is stored
    # by a network that does not fail, and then the failing one goes on from there.
    (place / "mended").touch()
    whole = run(*arguments, "--protocol", "shift")
    assert whole.returncode == 0, whole.stderr
    one = files(place / "run")
    (place / "run" / "shift" / "part-00001.parquet").unlink()
    (place / "run" / "shift" / "part-00000.parquet.partial").write_text("torn")
    (place / "mended").unlink()
    stopped = run(*arguments, "--protocol", "shift")
    assert stopped.returncode == 2
    assert "not today" in stopped.stderr
    assert (
        "1 of 2 parts are missing; run the same sweep command again" in run("metrics", "run").stderr
    )
    (place / "mended").touch()
    again = run(*arguments, "--protocol", "shift")
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole.stdout
    assert files(place / "run") == one


def test_a_damaged_image_is_found_before_or_on_the_way(run, place):
    torn = (place / "photos" / "p0_1.png").read_bytes()[:60]  # its header is whole
    (place / "photos" / "z_1.png").write_bytes(torn)
    refused = run(*options(), "--verify")
    assert refused.stderr.startswith("shiftable: cannot read photos/z_1.png as an image")
    assert not (place / "run").exists()
    stopped = run(*options())
    assert stopped.stderr == refused.stderr
    assert len(list((place / "run" / "circular").iterdir())) == 2  # the parts before it


def test_out_of_memory_stops_a_run_resumably(run, place):
    (place / "large.py").write_text(
        "import pathlib, torch\n"
        "calls = []\n"
        "def net(x):\n"
        "    calls.append(x)\n"
        "    if len(calls) == 2:\n"
        "        raise torch.OutOfMemoryError('CUDA out of memory')\n"
        "    return torch.zeros(len(x), 2)\n"
    )
    arguments = options(model="large:net", labels=None, batch="25")
    stopped = run(*arguments)
    assert stopped.returncode == 2
    assert "out of memory on a batch (25, 3, 8, 8), with which this run was begun" in stopped.stderr
    assert len(list((place / "run" / "circular").iterdir())) == 1
    assert run(*arguments).returncode == 0


def test_lower_precision_says_what_it_changes(run, place):
    done = run(*options(precision="bf16"))
    assert done.returncode == 0, done.stderr
    told = r"\[in bf16: another class than in float32 for \d+ of a sample of 50 windows, \d"
    assert re.search(told, done.stdout)
    found = json.loads((place / "run" / "manifest.json").read_text())["lower_precision"]
    assert found["windows"] == 50
    assert run(*options(precision="bf16")).stdout == done.stdout  # not tried again


def test_a_complete_run_is_not_run_again(run, place):
    arguments = options(model="once:net", labels=None)
    (place / "once.py").write_text(FAILS_ONCE)
    (place / "mended").touch()
    first = run(*arguments)
    (place / "mended").unlink()
    assert run(*arguments).stdout == first.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shifts": "grid:1"},
            "holds a run of another plan: [0-9a-f]{16} there, [0-9a-f]{16} here",
        ),
        ({"labels": None}, "another plan.*identity"),
        (
            {"model": "toy_net:Rows"},
            "another model: .*name: toy_net:Columns there, toy_net:Rows here",
        ),
        ({"mean": "0.5"}, "another model: .*bias"),
        ({"batch": "3"}, "was begun otherwise .settings.batch: 50 there, 3 here"),
        ({"precision": "bf16"}, "was begun otherwise .*precision"),
        ({"threads": "1"}, "threads"),
        ({"part_images": "2"}, "another plan: .*part_images"),
    ],
)
def test_a_run_is_never_mixed_with_another(run, place, changes, message):
    assert run(*options(threads="2")).returncode == 0
    before = files(place / "run")
    refused = run(*options(**{"threads": "2", **changes}))
    assert refused.returncode == 2
    assert re.search(message, refused.stderr), refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert files(place / "run") == before


def test_another_code_is_another_network(run, place):
    (place / "mine.py").write_text("def net(x): return x.flatten(1)[:, :3]\n")
    arguments = options(model="mine:net", labels=None)
    assert run(*arguments).returncode == 0
    (place / "run" / "circular" / "part-00000.parquet").unlink()
    (place / "mine.py").write_text("def net(x): return -x.flatten(1)[:, :3]\n")
    assert "another model: " in run(*arguments).stderr


def test_one_folder_is_no_class(run):
    assert "expected a folder for each class" in run(*options(labels="folders")).stderr


def test_two_processes_do_not_write_to_one_run(run, place):
    assert run(*options()).returncode == 0
    writing = place / "run" / "circular" / "part-00000.parquet.partial"
    (place / "run" / "circular" / "part-00000.parquet").unlink()
    writing.write_text("another process is at it")
    with store.lock(place / "run"):
        refused = run(*options())
    assert refused.returncode == 2
    assert "another process is writing to run; wait for it" in refused.stderr
    assert writing.exists()
    assert run(*options()).returncode == 0
    assert not writing.exists()


def test_dollars_in_names_are_no_formulas(run, place):
    (place / "photos" / "p1_0.png").rename(place / "photos" / "p$1$^_0.png")
    assert run(*options()).returncode == 0


def test_memory_format_is_for_networks_that_view(run, place):
    (place / "viewed.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x).view(len(x), -1)\n"
    )
    refused = run(*options(model="viewed:Net", labels=None, memory_format="channels_last"))
    assert "view size is not compatible" in refused.stderr
    assert run(*options(model="viewed:Net", labels=None)).returncode == 0  # auto finds it out
    manifest = json.loads((place / "run" / "manifest.json").read_text())
    assert manifest["settings"]["memory_format"] == "contiguous"


def test_a_run_says_what_was_shown(run, place):
    for out, size in (("one", "4"), ("two", "6")):
        assert (
            run(*options(protocol="embed", shifts="grid:1", image_size=size, out=out)).returncode
            == 0
        )
    shown = [
        json.loads((place / out / "manifest.json").read_text())["sweeps"][0]["images"]
        for out in ("one", "two")
    ]
    assert [entry["size"] for entry in shown] == [[4, 4], [6, 6]]
    assert shown[0]["count"] == 2
    assert shown[0]["identity"] != shown[1]["identity"]
    pixels = [
        json.loads(run("metrics", out, "--json").stdout)["sweeps"][0]["pixels"]
        for out in ("one", "two")
    ]
    assert pixels[0] != pixels[1]


def prepare_broken_image(place):
    (place / "photos" / "z_1.png").write_bytes((place / "photos" / "p0_1.png").read_bytes()[:10])


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
        (prepare_existing_run, {}, "run exists and is no run; name a new folder"),
        (None, {"images": "nowhere"}, "no image or folder at nowhere"),
        (None, {"model": "toy_net:maps"}, r"expected logits \(25, K\) with K >= 2 .* got \(25, 3, 8, 8\)"),
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
        (None, {"shifts": "grid:x"}, "got 'x' for a number"),
        (None, {"shifts": "grid:3:1"}, r"expected a radius >= 0 or \(first, last\)"),
        (None, {"size": "8x8x8"}, "expected a size such as 224"),
        (None, {"mean": "a,b"}, "expected numbers with commas"),
        (None, {"mean": "0.1,0.2"}, r"expected one value or three \(R, G, B\)"),
        (None, {"fill": "puce"}, "expected numbers with commas"),
        (None, {"fill": "1,2", "protocol": "embed", "shifts": "grid:1"}, "fill"),
        (None, {"fill": "white"}, "--fill is of embed and of a constant border, got circular"),
        (None, {"border": "reflect"}, "--border is of the shift protocol, got circular"),
        (None, {"interpolation": "cubic"}, "whole shifts need no interpolation"),
        (None, {"shifts": "sizes:1"}, "circular needs an image of exactly the window's size"),
        (None, {"shifts": "grid:1,spacing=x"}, "got 'x' for a number"),
        (None, {"shifts": "grid:1,at_rest"}, "expected grid:R"),
        (None, {"shifts": "pairs:1"}, "expected grid:R"),
        (None, {"precision": "fp16"}, "fp16 is for GPUs, got a CPU; take bf16"),
        (None, {"border": "wrap"}, "'wrap' is not one of"),
        (None, {"batch": "0"}, "expected auto or a number >= 1"),
        (None, {"labels": r"pattern:(\d+)-"}, "no class number in"),
        (None, {"device": "abacus"}, "cannot run on 'abacus'"),
        (None, {"weights": "a.pth"}, "expected weights only with timm: or torchvision:"),
        (None, {"device": "meta"}, "cannot run on 'meta'"),
        (None, {"out": "toy_net.py/run"}, "cannot make the folder toy_net.py/run"),
        (None, {"shifts": "grid:20000"}, "expected at most 1000000 shifts"),
        (None, {"shifts": "pairs:1000000000:2"}, "at most 1000000 in all"),
        (None, {"fill": "999", "protocol": "embed"}, "expected raw pixel values from 0 to 255"),
        (None, {"out": None}, "Missing option '--out'"),
        (None, {"colour": "red"}, "No such option '--colour'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run, place, prepare, changes, message):
    if prepare is not None:
        prepare(place)
    before = snapshot(place)
    done = run(*options(**changes))
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert re.search(message, last), done.stderr
    assert last.startswith("shiftable: ")
    assert "Traceback" not in done.stderr
    assert done.stderr.strip("\n").splitlines() == [last]
    assert done.stdout == ""
    assert snapshot(place) == before


def snapshot(place):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(place.rglob("*"))
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metrics", "nowhere"], "nowhere is not a run"),
        (["metrics"], "Missing argument 'RUN'"),
        (["swep"], "No such command 'swep'"),
    ],
)
def test_other_mistakes_are_one_line(run, arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr


def test_mistakes_in_a_process_of_its_own(place):
    done = process(place, *options(images="nowhere"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "shiftable: no image or folder at nowhere\n"


def test_help_names_every_way_in(run):
    assert run().returncode == 2
    assert "sweep" in run("--help").stdout
    assert "demo:NAME" in run("sweep", "-h").stdout
    assert "0.1.0" in run("--version").stdout
