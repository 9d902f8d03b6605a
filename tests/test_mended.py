"""`shiftable strides` and `shiftable antialias`, and the files that they leave."""

import json
from importlib import import_module

import pytest
import torch
from shiftable import mended, models, strided_operations

NET = """
import torch
from torch import nn

def net():
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 4),
    )

def smooth():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
MODEL = ("--model", "strided_net:net", "--size", "32")


@pytest.fixture
def at(run, place):
    """Runs the command where the networks and two photographs are."""
    (place / "strided_net.py").write_text(NET)
    return run


def test_strides_are_listed(at):
    done = at("strides", *MODEL, "--images", "photos")
    assert done.returncode == 0, done.stderr
    head, first, second = (line.split() for line in done.stdout.splitlines())
    assert head == ["operation", "kind", "stride", "map", "channels", "blurred", "aliases"]
    assert first[:7] == ["0", "convolution", "2", "32", "->", "16", "3"]
    assert second[:8] == ["2", "max", "pool", "2", "16", "->", "8", "6"]
    assert first[-1].endswith("%")
    told = json.loads(at("strides", *MODEL, "--images", "photos", "--json").stdout)
    assert [o["kind"] for o in told] == ["convolution", "max pool"]
    assert f"{told[0]['aliasing_share']:.1%}" == first[-1]


def test_a_dry_run_writes_nothing(at, place):
    before = sorted(place.rglob("*.pt"))
    done = at("antialias", *MODEL, "--dry-run", "--exclude", "2")
    assert done.returncode == 0, done.stderr
    assert "0          convolution  2       32 -> 16  blurred by 3 taps after 1" in done.stdout
    assert "left: not asked for" in done.stdout
    assert "1 changed, 1 left" in done.stdout
    assert sorted(place.rglob("*.pt")) == before


def test_a_mended_file_is_a_model(at, place):
    settings = ("--filter-size", "5", "--border", "circular", "--include", "[02]")
    done = at("antialias", *MODEL, *settings, "--out", "out/mended.pt")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (place / "out").iterdir()] == ["mended.pt"]
    network = models.load(str(place / "out/mended.pt"))
    original = models.load("strided_net:net", size=(32, 32))
    assert network.size == (32, 32)
    assert network.model[2].antialias.border == "circular"
    assert network.model[2].antialias.lengths == (5, 5)
    for key, value in original.model.state_dict().items():
        assert torch.equal(network.model.state_dict()[key], value)
    shown = torch.rand(1, 3, 32, 32)
    assert all(operation.blurred for operation in strided_operations(network.model, shown))
    swept = at(
        "sweep", "--model", "out/mended.pt", "--images", "photos", "--protocol", "circular",
        "--shifts", "grid:1", "--out", "runs/mended",
    )  # fmt: skip
    assert swept.returncode == 0, swept.stderr


def test_a_recovered_file_has_other_weights_and_its_checkpoint_is_gone(at, place):
    options = ("--images", "photos", "--recover", "3", "--batch", "1", "--learning-rate", "0.01")
    done = at("antialias", *MODEL, *options, "--out", "recovered.pt", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("stored in recovered.pt\n")
    assert "recovered in 3 steps: distillation" in done.stdout
    stored = mended.read(place / "recovered.pt")
    assert stored.model == "strided_net:net"
    assert stored.recipe["steps"] == 3
    original = models.load("strided_net:net", size=(32, 32)).model.state_dict()
    assert not torch.equal(stored.state["0.weight"], original["0.weight"])
    network = models.load(str(place / "recovered.pt"))
    assert torch.equal(network.model[0].weight, stored.state["0.weight"])
    assert not list(place.glob("*.recovery"))


def test_a_stopped_command_goes_on(at, place, monkeypatch):
    recover = import_module("shiftable.recover")  # a function of that name hides it
    options = ("--images", "photos", "--recover", "5", "--batch", "1", "--learning-rate", "0.01")
    assert at("antialias", *MODEL, *options, "--out", "whole.pt").returncode == 0

    def stop(path, *arguments):
        write(path, *arguments)
        raise KeyboardInterrupt

    write = recover._write
    monkeypatch.setattr(recover, "_write", stop)
    monkeypatch.setattr("shiftable.cli.convert._EVERY", 2)
    done = at("antialias", *MODEL, *options, "--out", "parts.pt")
    assert (done.returncode, done.stderr.strip()) == (130, "shiftable: stopped")
    assert (place / "parts.pt.recovery").exists()
    monkeypatch.setattr(recover, "_write", write)
    assert at("antialias", *MODEL, *options, "--out", "parts.pt").returncode == 0
    a, b = (mended.read(place / name).state for name in ("whole.pt", "parts.pt"))
    assert all(torch.equal(value, b[key]) for key, value in a.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "a.onnx"), "expected --out with a name that ends in .pt or .pth, got a.onnx"),
        ((), "expected --out FILE, or --dry-run"),
        (("--out", "a.pt", "--dry-run"), "expected --out FILE, or --dry-run"),
        (("--out", "a.pt", "--recover", "5"), "--recover STEPS and --images go together"),
        (("--out", "a.pt", "--images", "photos"), "--recover STEPS and --images go together"),
        (("--out", "there.pt"), "there.pt exists: give a new name, or take it away"),
        (("--out", "a.pt", "--include", "stem"), "'stem' matches no operation"),
        (("--out", "a.pt", "--filter", "gauss"), "'gauss' is not one of"),
        (("--out", "a.pt", "--device", "cuda:77"), "cannot run on 'cuda:77'"),
        (("--dry-run", "--images", "photos", "--recover", "5"), "--dry-run changes nothing"),
    ],
)
def test_bad_options_are_one_line(at, place, options, message):
    (place / "there.pt").write_text("")
    done = at("antialias", *MODEL, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (place / "a.pt").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("strided_net:smooth", "nothing was changed, so nothing is written"),
        ("toy_net:maps", "expected a torch.nn.Module, got function"),
    ],
)
def test_networks_without_anything_to_mend(at, model, message):
    done = at("antialias", "--model", model, "--size", "8", "--out", "a.pt")
    assert done.returncode == 2
    assert message in done.stderr


def test_files_that_are_not_whole(at, place):
    assert at("antialias", *MODEL, "--out", "mended.pt").returncode == 0
    path = place / "mended.pt"
    with pytest.raises(ValueError, match="knows its own weights, size and preprocessing"):
        models.load(str(path), size=(8, 8))
    stored = torch.load(path, weights_only=True)
    torch.save({**stored, "state": {}}, path)
    with pytest.raises(ValueError, match=r"mended.pt does not fit strided_net:net: .*Missing key"):
        models.load(str(path))
    torch.save({**stored, "later": 1}, path)
    with pytest.raises(ValueError, match=r"cannot read .*mended.pt as a mended network"):
        models.load(str(path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"cannot read .*mended.pt as a TorchScript file or a mended network"
    ):
        models.load(str(path))
