"""The benchmarks run, compare results, and write what the schema says."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from benchmarks.speed import gpu, gpu_networks, page
from benchmarks.speed.harness import Case, Line, differs, measure, text

ROOT = Path(__file__).parent.parent
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def case(**candidates):
    image = torch.randn(2, 3, 8, 8)
    size = image.numel() * 4
    return Case("op", "test", image.shape, image.dtype, "nchw", [image], size, size, candidates)


def test_unequal_candidates_are_named():
    line = measure(case(ours=lambda x: x * 2, same=lambda x: x + x, other=lambda x: x * 3), 3)
    assert line.unequal == ["other"]
    assert "UNEQUAL: other" in text(line)
    assert set(line.ratio) == {"same", "other"}
    assert line.floor_milliseconds > 0


def test_a_nan_is_unequal():
    image = torch.randn(2, 3, 8, 8)
    assert differs(image * torch.nan, image.double(), 1e9)
    assert differs(image[:1], image.double(), 1e9)
    assert not differs(image, image.double(), 0)


def gpu_cases():
    """Those for a GPU, small and on the CPU: what is compared there computes the same here."""
    cpu = torch.device("cpu")
    yield from gpu.blur_cases(False, cpu, [(2, 8, 16, 16)])
    yield from gpu.max_cases(False, cpu, [(2, 8, 16, 16)])
    yield from gpu.window_cases(False, cpu, shifts=30, side=32)


@pytest.mark.filterwarnings("ignore")  # of the peers'
def test_candidates_for_a_gpu_agree():
    count = 0
    for case in gpu_cases():
        ours = case.candidates["shiftable"](case.inputs[0]).detach().double()
        for name, candidate in case.candidates.items():
            if "compiled" in name or case.tolerance is None:
                continue
            assert not differs(candidate(case.inputs[0]), ours, case.tolerance), (case.name, name)
            count += 1
    assert count > 300


@pytest.mark.filterwarnings("ignore")
def test_networks_for_a_gpu_differ_in_their_blurs_alone():
    networks = gpu_networks.variants()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        results = {name: network.eval()(image) for name, network in networks.items()}
    for name in ("pad + conv2d", "antialiased-cnns"):
        if name in results:
            torch.testing.assert_close(results[name], results["shiftable"], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(results["plain"], results["shiftable"], atol=1e-2)
    size = sum(parameter.numel() for parameter in networks["plain"].parameters())
    assert size == 25_557_032  # as torchvision's resnet50


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    command = [sys.executable, "-m", "benchmarks.speed", "--device", "cuda"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("--device cuda: torch sees no GPU here")


def check(stored):
    assert {"cpu", "kernels", "versions", "commit"} <= set(stored["machine"])
    assert stored["allocator"] in ("default", "tuned")
    assert stored["lines"]
    for line in stored["lines"]:
        assert set(line) == {field.name for field in fields(Line)}
        assert set(line["ratio"]) == set(line["milliseconds"]) - {"shiftable"}
        assert line["share_of_floor"] is None or line["share_of_floor"] > 0
        assert not set(line["unequal"]) - set(line["ratio"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_committed_results_follow_the_schema(path):
    check(json.loads(path.read_text()))


def test_command_writes_results(tmp_path):
    path = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.speed", "--quick", "--rounds", "2"]
    done = subprocess.run(
        [*command, "--op", "take_windows", "--tune-allocator", "--json", path],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored = json.loads(path.read_text())
    check(stored)
    assert len(done.stdout.splitlines()) == len(stored["lines"]) == 4
    assert not any(line["unequal"] for line in stored["lines"])


def test_a_run_is_taken_up_where_it_stopped(tmp_path):
    path = tmp_path / "result.json"
    command = [
        sys.executable, "-m", "benchmarks.speed", "--op", "overhead", "--rounds", "2", "--json", path,
    ]  # fmt: skip

    def run(*options):
        return subprocess.run(
            [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=300
        )

    assert len(run("--only", "without").stdout.splitlines()) == 1
    assert run("--minutes", "1e-9").stdout == ""  # no time to begin another
    assert len(run().stdout.splitlines()) == 1  # what is left
    assert run().stdout == ""
    assert len(json.loads(path.read_text())["lines"]) == 2
    assert "was measured with allocator and threads" in run("--tune-allocator").stderr


def test_the_page_is_what_the_results_say():
    """Rendered again: python -m benchmarks.speed.page."""
    assert (ROOT / "docs" / "speed.md").read_text() == page.page(page.results())


def test_the_page_tells_losses():
    line = {
        "op": "op", "name": "forward", "shape": [1], "dtype": "float32", "layout": "nchw",
        "ratio": {"slower": 2.0, "faster": 0.5, "wrong": 0.1}, "unequal": ["wrong"],
    }  # fmt: skip
    assert list(page.losses({"lines": [line]})) == [
        "| op forward, 1, float32, nchw | faster | 0.50 |"
    ]
