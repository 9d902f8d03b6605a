"""Training from scratch: variants differ in their down-sampling alone; the command, on made-up data."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.findings import from_scratch

ROOT = Path(__file__).parent.parent
VARIANTS = from_scratch.VARIANTS


def network(name, seed=0):
    return from_scratch.network(VARIANTS[name], (8, 16, 16, 16), seed).eval()


def test_variants_begin_alike():
    first = network("plain").state_dict()
    for name in VARIANTS:
        other = network(name).state_dict()
        assert list(other) == list(first)
        assert all(torch.equal(other[key], first[key]) for key in first)
    assert not torch.equal(network("plain", 1)[-1].weight, first["8.weight"])


@pytest.mark.parametrize("name", VARIANTS)
def test_maps_are_halved_and_only_phases_that_follow_the_image_make_it_shift_invariant(name):
    model = network(name)
    image = torch.rand(4, 1, 24, 24)
    maps = model[:-3](image)
    assert maps.shape == (4, 16, 3, 3)

    def moves(*shift):
        change = model(image.roll(shift, (2, 3))) - model(image)
        return bool(change.detach().abs().max() > 1e-5)

    assert moves(8, 16) == (name == "plain-zeros")  # the network's whole stride
    assert moves(1, 3) == (name != "aps")


def write(place, part, count):
    """Images of a brightness by class; one file compressed, the other not, as both are read."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, count).astype(np.uint8)
    images = (draw.random((count, 28, 28)) * 25 * (1 + labels[:, None, None])).astype(np.uint8)
    head = struct.pack(">BBBBiii", 0, 0, 8, 3, *images.shape)
    packed = gzip.compress(head + images.tobytes())
    (place / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)
    raw = struct.pack(">BBBBi", 0, 0, 8, 1, count) + labels.tobytes()
    (place / f"{part}-labels-idx1-ubyte").write_bytes(raw)
    return images, labels


def command(*options):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.findings.from_scratch", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_files_are_read(tmp_path):
    images, labels = write(tmp_path, "train", 5)
    data = from_scratch.read(tmp_path, "train")
    assert np.array_equal(data.images[:, 0], images)
    assert np.array_equal(data.labels, labels)
    assert np.array_equal(data.middle[:, 0], images[:, 2:26, 2:26])
    placed = data.placed(torch.tensor([3, 3, 3, 3]), torch.Generator().manual_seed(0))
    places = [images[3, y : y + 24, x : x + 24] for y in range(5) for x in range(5)]
    assert all(any(np.array_equal(one, place) for place in places) for one in placed[:, 0])
    assert not torch.equal(placed[0], placed[1])


def test_the_command_trains_measures_and_goes_on(tmp_path):
    write(tmp_path, "train", 300)
    write(tmp_path, "t10k", 70)
    kept = tmp_path / "found.json"
    outputs = "--figure", tmp_path / "found.png", "--page", tmp_path / "found.md"
    options = "--quick", "--data", tmp_path, "--json", kept
    first = command(*options, "--seeds", "1")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count(" seed 0: ") == len(VARIANTS)
    before = json.loads(kept.read_text())
    del before["results"]["plain"]["0"]
    kept.write_text(json.dumps(before))

    second = command(*options, *outputs, "--seeds", "1")
    assert second.stdout.count(" seed ") == 1  # what is missing, again with the same result
    assert "plain        seed 0: " in second.stdout
    assert second.stdout.split("\n\n")[1:] == first.stdout.split("\n\n")[1:]
    found = json.loads(kept.read_text())
    assert {"machine", "settings", "results"} <= set(found)
    assert set(found["results"]) == set(VARIANTS)
    assert found["results"]["aps"]["0"]["circular"]["consistency"]["value"] == 1
    assert (tmp_path / "found.png").stat().st_size > 10_000
    assert "| adaptive polyphase | " in (tmp_path / "found.md").read_text()

    refused = command("--data", tmp_path, "--json", kept)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("is of other settings: give another file, or delete it")  # fmt: skip


def test_without_the_data_it_names_the_package(tmp_path):
    refused = command("--quick", "--data", tmp_path)
    assert refused.returncode == 2
    assert "apt-get install dataset-fashion-mnist" in refused.stderr.splitlines()[-1]
