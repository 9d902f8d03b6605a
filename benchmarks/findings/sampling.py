"""What sampling to a target saves, on simulated grids of a million (image, shift) cells.

python -m benchmarks.findings.sampling [--json PATH]

Images differ far more than shifts of one image do: each has a probability of its own, most of them
near 0 or 1. A sample is drawn as `shiftable sweep --until-width` draws it, and stops when the
interval for the grid's own value is narrow enough.
"""

import argparse
import json
import statistics
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from shiftable.sampling import ConfidenceSequence, shuffled

IMAGES, SHIFTS = 1000, 1089
MEANS, WIDTHS, SEEDS = (0.03, 0.1, 0.5, 0.9), (0.05, 0.02, 0.01), range(20)
FIRST, MOST = 256, 4096  # between two looks, as the command has it


def grid(mean: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A grid of zeros and ones, image by image."""
    draw = np.random.default_rng(int(1000 * mean))
    each = draw.beta(0.3 * mean, 0.3 * (1 - mean), (IMAGES, 1))
    return (draw.random((IMAGES, SHIFTS)) < each).astype(float).reshape(-1)


def sample(cells: np.ndarray[Any, np.dtype[np.float64]], width: float, seed: int) -> dict[str, Any]:
    """Draws until the interval is so narrow."""
    sequence = ConfidenceSequence(len(cells), aim=width)
    order, at_once = shuffled(len(cells), seed), FIRST
    while sequence.width > width:
        sequence.update(cells[np.fromiter(islice(order, at_once), np.int64)])
        at_once = min(MOST, 2 * at_once)
    covered = sequence.low <= cells.mean() <= sequence.high
    return {"drawn": sequence.count, "covered": bool(covered)}


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    print("mean   width  drawn (median)  of all   saving  covered  a fixed sample")
    for mean in MEANS:
        cells = grid(mean)
        true = float(cells.mean())
        for width in WIDTHS:
            found = [sample(cells, width, seed) for seed in SEEDS]
            drawn = statistics.median(one["drawn"] for one in found)
            covered = sum(one["covered"] for one in found)
            # The least a fixed sample would need, if its size were known beforehand.
            fixed = 4 * 1.96**2 * true * (1 - true) / width**2
            rows.append(
                {
                    "mean": true, "width": width, "drawn": drawn, "cells": len(cells),
                    "saving": len(cells) / drawn, "covered": covered, "runs": len(found),
                    "fixed": fixed,
                }
            )  # fmt: skip
            print(
                f"{true:.3f}  {width:5}  {drawn:14,.0f}  {drawn / len(cells):6.1%}  "
                f"{len(cells) / drawn:6.0f}x  {covered:4} of {len(found)}  {fixed:14,.0f}"
            )
    if given.json:
        about = {"images": IMAGES, "shifts": SHIFTS, "level": 0.95, "rows": rows}
        given.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
