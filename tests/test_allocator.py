"""tune_allocator: large blocks stay in the process, or the reason why not is told."""

import platform
import subprocess
import sys

import pytest
import shiftable

FAULTS = """
import resource, torch, shiftable
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.set_num_threads(1)
faults()
untuned = faults()
assert shiftable.tune_allocator() is None
for _ in range(16):  # until the heap's first step of 512 MiB has been handed out once
    faults()
print(untuned, max(faults() for _ in range(8)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_large_tensors_are_not_mapped_afresh():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, timeout=120, check=True
    )
    untuned, tuned = map(int, done.stdout.split())
    assert tuned < 100
    assert untuned > tuned + 20  # 16384 pages of 4 KiB, or 32 of 2 MiB


def test_says_why_it_cannot(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert "another C library" in shiftable.tune_allocator()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "this is darwin" in shiftable.tune_allocator()
