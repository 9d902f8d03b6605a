"""The kernels of every processor: chosen by name, equal in their results, local in their symbols."""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shiftable import _C

CODE = """
import hashlib, torch
from shiftable import filters
from shiftable.functional import blur_downsample, max_blur_downsample, polyphase_norms, take_windows
torch.manual_seed(0)
for size in (7, 33, 64):
    for layout in (torch.contiguous_format, torch.channels_last):
        image = torch.randn(2, 20, size, size).to(memory_format=layout).requires_grad_()
        results = [blur_downsample(image, filters.binomial(taps), stride)
                   for taps in (2, 3, 4, 5, 8) for stride in (1, 2, 3)]
        results.append(max_blur_downsample(image, 3, filters.binomial(4), max_pad=1))
        results.append(take_windows(image, torch.tensor([[0.5, -3.25]]), (size, size), scale=0.3))
        scale = torch.linspace(-1, 1, 20, requires_grad=True)
        folded = blur_downsample(image, filters.binomial(3), prologue_scale=scale,
                                 prologue_bias=scale, prologue_relu=True)
        results += [torch.autograd.grad(result.sum(), image)[0] for result in results]
        results += [polyphase_norms(image, filters.binomial(3), 3, norm=norm) for norm in ("l1", "l2", "linf")]
        results += [folded, *torch.autograd.grad(folded.square().sum(), (image, scale))]
        for result in results:
            print(hashlib.sha256(result.detach().contiguous().numpy().tobytes()).hexdigest())
"""


def run(variant):
    return subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "SHIFTABLE_CPU": variant},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_avx_variants_agree_bit_for_bit():
    if not {"avx2", "avx512"} <= set(_C.cpu_variants()):
        pytest.skip(f"this processor runs {_C.cpu_variants()}")
    two, five = run("avx2"), run("avx512")
    assert two.returncode == five.returncode == 0, two.stderr + five.stderr
    assert len(two.stdout.split()) == 3 * 2 * (2 * 17 + 3 + 3)
    assert two.stdout == five.stdout


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_every_variant_matches_the_reference(variant):
    """The operators' own tests, in float32, for the variants that are not chosen here."""
    if variant not in _C.cpu_variants() or variant == _C.cpu_variant():
        pytest.skip("tested anyway, or cannot run here")
    tests = [Path(__file__).parent / f"test_{name}.py" for name in (
        "blur_downsample", "max_blur_downsample", "polyphase", "take_windows", "prologue")]  # fmt: skip
    wanted = "(matches_reference or equals_the_steps or many_windows) and float32 and not cuda"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", wanted, *tests],
        env={**os.environ, "SHIFTABLE_CPU": variant},
        capture_output=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_variant_is_chosen_by_name(variant):
    code = "import torch; from shiftable import _C; print(_C.cpu_variant())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SHIFTABLE_CPU": variant},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if variant in _C.cpu_variants():
        assert done.stdout.strip() == variant
    else:
        assert "can run" in done.stderr


def test_unknown_variant_is_refused():
    assert "unknown processor 'sse9'; known: baseline, avx2, avx512" in run("sse9").stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="one variant only")
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
@pytest.mark.parametrize("variant", ["avx2", "avx512"])
def test_a_variant_shares_no_code(variant):
    """A weak symbol could be taken from here by the linker, for processors that cannot run it."""
    build = Path(__file__).parent.parent / "build"
    objects = list(build.rglob(f"kernels_{variant}.dir/*/cpu.cpp.o"))
    if not objects:
        pytest.skip("not built in this folder")
    for path in objects:
        listed = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True)
        shared = [line for line in listed.stdout.splitlines() if f" {'W'} " in line[:20]]
        assert not shared, f"{path.parent.name}: {shared}"


@pytest.fixture(scope="module")
def hashes(tmp_path_factory):
    """Compiles tests/kernels/hashes.cpp and returns what it prints; skips without the tools."""
    folder = tmp_path_factory.mktemp("kernels")
    root = Path(__file__).parent

    def printed(compiler, *flags, runner=()):
        for tool in (compiler, *runner[:1]):
            if shutil.which(tool) is None:
                pytest.skip(f"needs {tool}")
        sources = [root / "kernels" / "hashes.cpp", *(root.parent / "csrc").glob("*/[pcav]*.cpp")]
        program = folder / f"hashes-{compiler}"
        build = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-static", "-Wno-psabi",
                 "-DSHIFTABLE_VARIANT=baseline", f"-I{root.parent / 'csrc'}", *flags,
                 *sources, "-o", program]  # fmt: skip
        subprocess.run(build, check=True, timeout=900)
        done = subprocess.run([*runner, program], capture_output=True, text=True, timeout=600)
        return done.stdout.splitlines()

    return printed


def test_arm64_agrees_bit_for_bit(hashes):
    """Under emulation, with a processor of x86-64 that fuses multiply and add as arm64 does."""
    arm64 = hashes("aarch64-linux-gnu-g++", runner=("qemu-aarch64-static",))
    if "avx2" not in _C.cpu_variants():
        pytest.skip("this processor does not fuse")
    assert arm64 == hashes("g++", "-march=x86-64-v3")
    assert len(arm64) == 4 * 2 * (3 * 7 * 4 + 1)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="flags of x86-64")
def test_no_kernel_leaves_its_memory(tmp_path):
    """Random shapes under the address and undefined-behaviour sanitizers, for the processor at hand."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    root = Path(__file__).parent.parent
    march = {"baseline": "x86-64", "avx2": "x86-64-v3", "avx512": "x86-64-v4"}[_C.cpu_variant()]
    flags = [
        "-std=c++17", "-O1", "-ffp-contract=off", "-Wno-psabi", f"-march={march}",
        "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
        "-DSHIFTABLE_VARIANT=baseline", f"-I{root / 'csrc'}",
    ]  # fmt: skip
    sources = [root / "tests" / "kernels" / "shapes.cpp", *(root / "csrc").glob("*/[pcav]*.cpp")]
    objects = [tmp_path / f"{number}.o" for number in range(len(sources))]

    def compiled(source, target):
        return subprocess.run(["g++", *flags, "-c", source, "-o", target], timeout=900).returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        assert set(pool.map(compiled, sources, objects)) == {0}
    program = tmp_path / "shapes"
    linked = subprocess.run(
        ["g++", *flags, *objects, "-o", program], capture_output=True, text=True
    )
    if "libasan" in linked.stderr or "libubsan" in linked.stderr:
        pytest.skip("needs the sanitizers' libraries")
    assert linked.returncode == 0, linked.stderr
    done = subprocess.run([program, "5000"], capture_output=True, text=True, timeout=600)
    assert done.stdout == "5000 rounds\n", done.stderr[:3000]
