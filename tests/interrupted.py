"""A sweep to be interrupted: `python tests/interrupted.py RUN [stall]`.

Its network takes a while, so that there is time to kill it. With `stall`, the second part's write
stops halfway, says so by a file beside the run, and waits to be killed.
"""

import sys
import time
from pathlib import Path

import torch
from shiftable import store
from shiftable.cli import main

OPTIONS = [
    "sweep", "--model", "interrupted:net", "--images", "photos", "--protocol", "circular",
    "--protocol", "embed", "--shifts", "grid:2", "--size", "16", "--batch", "16", "--threads", "1",
    "--part-images", "2", "--no-figures",
]  # fmt: skip


class Net(torch.nn.Module):
    """Random weights, which give every pixel a say."""

    def __init__(self):
        super().__init__()
        make = torch.Generator().manual_seed(1)
        self.weights = torch.nn.Parameter(torch.randn(16 * 16 * 3, 7, generator=make) / 16)

    def forward(self, x):
        time.sleep(0.01)
        return x.flatten(1) @ self.weights


net = Net


def stall_in_write():
    """Makes the second write stop halfway."""
    write, written = store.pq.write_table, []

    def half(table, path, **how):
        write(table, path, **how)
        written.append(path)
        if len(written) == 2:
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            Path("stalled").touch()
            time.sleep(600)

    store.pq.write_table = half


if __name__ == "__main__":
    run, *rest = sys.argv[1:]
    if rest == ["stall"]:
        stall_in_write()
    sys.exit(main([*OPTIONS, "--out", run]))
