"""The command line of a toy network on two small photographs, and what it leaves."""

import subprocess
import sys

NET = """
import torch

class Columns(torch.nn.Module):
    "Even columns against odd ones: it changes its mind at every horizontal step."
    def forward(self, x):
        return torch.stack([x[..., ::2].mean((1, 2, 3)), x[..., 1::2].mean((1, 2, 3))], 1)

class Rows(Columns):
    "The same on its side."
    def forward(self, x):
        return super().forward(x.mT)

def maps(x):
    return x

def fails(x):
    return x @ torch.zeros(5, 5)
"""


def process(place, *arguments):
    """Runs the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "shiftable", *arguments],
        cwd=place, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


GOOD = {
    "--model": "toy_net:Columns", "--images": "photos", "--labels": r"pattern:_(\d)\.",
    "--protocol": "circular", "--shifts": "grid:2", "--size": "8", "--out": "run",
}  # fmt: skip


def options(**changes):
    """The arguments of a good sweep, some of them changed, or left out for None."""
    named = {**GOOD, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return [
        "sweep",
        *(p for name, value in named.items() if value is not None for p in (name, value)),
    ]


def files(run):
    """All bytes of a run."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }
