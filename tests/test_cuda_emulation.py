"""The CUDA kernels, compiled for the processor at hand and compared with the CPU's, bit for bit.

What the CPU's kernels give is compared with tests/reference.py by the operators' own tests.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shiftable import _C

from tests.cuda_code import CodeUnavailableError, kernels_built

ROOT = Path(__file__).parent.parent
FLAGS = [
    "-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-psabi",
    "-Wno-unknown-pragmas", "-Wno-maybe-uninitialized", "-Wno-unused-function",
    "-DSHIFTABLE_CUDA_EMULATION", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'cuda_emulation'}",
]  # fmt: skip
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def built(folder, *flags):
    """Compiles the kernels and tests/cuda_emulation/shapes.cpp; returns the program, or skips."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    if (
        _C.cpu_variant() == "baseline"
        and "avx2" not in _C.cpu_variants()
        and os.uname().machine == "x86_64"
    ):
        pytest.skip("needs a processor that fuses multiply and add, as GPUs do")
    library = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}" / "libkernels.a"
    if not library.exists():
        pytest.skip("not built in this folder")
    machine = ["-DSHIFTABLE_X86_VARIANTS", "-mfma"] if os.uname().machine == "x86_64" else []
    program = ROOT / "tests" / "cuda_emulation" / "shapes.cpp"
    sources = [*sorted((ROOT / "csrc").glob("*/cuda*.cu")), program]
    objects = [folder / f"{number}.o" for number in range(len(sources))]

    def compiled(source, target):
        # bfloat16's kernels are float16's, of another type: looked at once for memory they leave.
        wanted = [flag for flag in flags if flag not in SANITIZERS or "bfloat16" not in source.name]
        command = ["g++", *FLAGS, *machine, *wanted, "-x", "c++", "-c", source, "-o", target]
        return subprocess.run(command, timeout=900, capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(compiled, sources, objects):
            assert done.returncode == 0, done.stderr[:3000]
    # The library's own CUDA kernels are not linked in: what they define is there already.
    command = ["g++", *flags, *objects, library, "-o", folder / "shapes"]
    linked = subprocess.run(command, capture_output=True, text=True)
    if "libasan" in linked.stderr or "libubsan" in linked.stderr:
        pytest.skip("needs the sanitizers' libraries")
    assert linked.returncode == 0, linked.stderr[:3000]
    return folder / "shapes"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return built(tmp_path_factory.mktemp("plain"), "-O1")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    return built(tmp_path_factory.mktemp("sanitized"), "-O1", *SANITIZERS)


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]
    return done.stdout


@pytest.fixture(scope="module")
def printed(plain):
    return run(plain, "100", "forward")


def test_kernels_agree_with_the_cpu(printed):
    assert printed.startswith("100 rounds")


@pytest.mark.parametrize("order", ["reversed", "random"])
def test_the_order_of_threads_does_not_matter(plain, order):
    assert run(plain, "100", order).startswith("100 rounds")


def test_no_kernel_leaves_its_memory(sanitized):
    assert run(sanitized, "40", "random").startswith("40 rounds")


def test_tensors_of_more_than_2_31_numbers(plain):
    assert run(plain, "far").startswith("far")


def test_every_kernel_was_run(printed):
    """As many kernels run under emulation as nvcc has compiled."""
    try:
        count = len(kernels_built())
    except CodeUnavailableError as reason:
        pytest.skip(str(reason))
    assert printed.split()[-2] == str(count)
