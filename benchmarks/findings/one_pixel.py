"""Azulay & Weiss's experiment: how often one diagonal pixel changes a network's mind, by size.

python -m benchmarks.findings.one_pixel [--json PATH] [--figure PATH] [--page PATH]

Their protocols and sizes (JMLR 2019, section 2, and their published script), on other networks and
photographs:

* sizes up to 1: a square part of the photograph, of that share of its area, is shown at 234 pixels
  through a window of 224 whose corner goes from (0, 0) to (8, 8): eight pairs one pixel apart;
* sizes above 1: the photograph, at 224 / size pixels, is on a canvas of 224, and goes from four
  pixels up and left of the middle to four pixels down and right: eight pairs.

P(top-1 change), and the mean absolute change of the probability of the class predicted before the
step. Where theirs differs: their parts also change the aspect at random, ours keep it; their black
is the mean colour, since it is put in after the normalisation: both are shown here.
"""

import argparse
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from shiftable import evaluate, figures, metrics, models
from shiftable.allocator import tune_allocator
from shiftable.images import FilePhotographs, load
from shiftable.intervals import Estimate, Terms, estimate
from shiftable.models import Network
from shiftable.plan import diagonal
from shiftable.sweep import Sweep
from torch import Tensor

NETWORKS = {
    "demo:efficientnet-lite0": "EfficientNet-Lite0", "demo:squeezenet": "SqueezeNet 1.1"
}  # fmt: skip
SIZES = (0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 1.9)
PARTS = 4  # of each photograph, at sizes below 1


class Parts(Sequence[Tensor]):
    """Square parts of photographs, each of a share of the area, at a seeded random place."""

    def __init__(self, photographs: FilePhotographs, share: float, side: int, count: int) -> None:
        self._photographs, self._share, self._side = photographs, share, side
        self._count = count

    def __len__(self) -> int:
        return len(self._photographs) * self._count

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]
        which, part = divmod(number, self._count)
        photo = Image.fromarray(self._photographs[which].permute(1, 2, 0).numpy())
        side = min(*photo.size, round(math.sqrt(self._share * photo.width * photo.height)))
        draw = random.Random(f"{which}:{part}:{self._share}")
        left = int(draw.random() * (photo.width - side + 1))
        top = int(draw.random() * (photo.height - side + 1))
        box = (left, top, left + side, top + side)
        shown = photo.resize((self._side, self._side), Image.Resampling.BICUBIC, box=box)
        return torch.from_numpy(np.array(shown)).permute(2, 0, 1)


def measure(
    network: Network, photographs: FilePhotographs, size: float, fill: str
) -> dict[str, Any]:
    """Both metrics at one size; intervals are over photographs, whose parts go together."""
    side = network.size[0]
    if size <= 1.1:
        count = PARTS if size < 1 else 1
        shown = Parts(photographs, size, side + 10, count)
        sweep = Sweep("crop", diagonal((-3, 5)), network.size)
        onward = "up_left"  # the corner goes down and right, so the content up and left
    else:
        count = 1
        shown = Parts(photographs, 1.0, int(side / size), 1)
        colour = network.mean_colour if fill == "mean" else (0.0,)
        sweep = Sweep("embed", diagonal((-4, 4)), network.size, fill=colour)
        onward = "down_right"
    outcome = evaluate(network.model, shown, sweep, scale=network.scale, bias=network.bias)

    def by_photograph(terms: Terms) -> Terms:
        above, below = (term.reshape(-1, count).sum(1) for term in terms)
        return above, below

    return {
        "size": size,
        "top1_change": estimate(by_photograph(metrics.top1_change(outcome, onward))),
        "mac": estimate(by_photograph(metrics.mac(outcome, onward))),
        "pairs": int(metrics.mac(outcome, onward)[1].sum()),
    }


def main() -> None:
    """Measures, draws, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--from", dest="stored", type=Path, help="JSON to draw again.")
    given = parser.parse_args()
    found = measured() if given.stored is None else read(given.stored)
    count = len(load("demo:all-photographs"))
    if given.json:
        text = json.dumps({"photographs": count, "series": _plain(found)}, indent=1)
        given.json.write_text(text + "\n")
    if given.figure:
        draw(found, given.figure)
    if given.page and given.figure:
        given.page.write_text(page(found, count, given.figure.name))


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What an earlier run measured."""
    return {
        series: [
            {**row, **{name: Estimate(**row[name]) for name in ("top1_change", "mac")}}
            for row in rows
        ]
        for series, rows in json.loads(path.read_text())["series"].items()
    }


def measured() -> dict[str, list[dict[str, Any]]]:
    """Measures all networks at all sizes."""
    tune_allocator()
    photographs = load("demo:all-photographs")
    assert isinstance(photographs, FilePhotographs)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, title in NETWORKS.items():
        network = models.load(name)
        for fill in ("black", "mean"):
            sizes = SIZES if fill == "black" else [size for size in SIZES if size > 1.1]
            for size in sizes:
                row = measure(network, photographs, size, fill)
                series = title if size <= 1.1 else f"{title}, on {fill}"
                found.setdefault(series, []).append(row)
                print(
                    f"{series:30} size {size}: {_cell(row, True)}  {_cell(row, False)}", flush=True
                )
    return found


def _cell(row: dict[str, Any], share: bool) -> str:
    value: Estimate = row["top1_change" if share else "mac"]
    assert value.value is not None
    assert value.low is not None
    assert value.high is not None
    if share:
        return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _plain(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        series: [
            {
                "size": row["size"],
                "pairs": row["pairs"],
                **{name: vars(row[name]) for name in ("top1_change", "mac")},
            }
            for row in rows
        ]
        for series, rows in found.items()
    }


def draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """P(top-1 change) and MAC against the size; above 1, on black."""
    shown = {title: found[title] + found[f"{title}, on black"] for title in NETWORKS.values()}
    panels = [
        figures.Panel(
            label,
            {series: [(row["size"], row[name]) for row in rows] for series, rows in shown.items()},
            share=name == "top1_change",
            whole=False,
        )
        for name, label in (
            ("top1_change", "P(top-1 change), one diagonal pixel"),
            ("mac", "mean absolute change of the probability"),
        )
    ]
    title = f"{len(load('demo:all-photographs'))} photographs, above size 1 on black"
    figures.lines_figure(
        panels, "size: area shown, up to 1; then canvas / photograph", path,
        title=title,
    )  # fmt: skip


def page(found: dict[str, list[dict[str, Any]]], photographs: int, figure: str) -> str:
    """The page of docs."""
    lines = [
        "# One pixel",
        "",
        "Azulay & Weiss (JMLR 2019) moved a window, or a photograph on a black canvas, by one",
        "diagonal pixel and counted how often a network's class changes. Their protocols and sizes, on",
        f"two small networks and {photographs} photographs that install as packages:",
        "",
        "```sh",
        "python -m benchmarks.findings.one_pixel --json benchmarks/results/findings/one_pixel.json \\",
        "  --figure docs/one_pixel.png --page docs/one_pixel.md",
        "```",
        "",
        f"![P(top-1 change) and mean absolute change against the size]({figure})",
        "",
        "| network | size | P(top-1 change) | mean absolute change | pairs |",
        "|---|---|---|---|---|",
        *[
            f"| {series} | {row['size']} | {_cell(row, True)} | {_cell(row, False)} | {row['pairs']} |"
            for series, rows in found.items()
            for row in rows
        ],
        "",
        "Sizes up to 1: a square of that share of the photograph's area slides by one pixel (real pixels",
        f"enter and leave; {PARTS} squares a photograph below 1). Sizes above 1: the photograph at 1 / size of",
        "the canvas moves over black, or over the colour that the network sees as 0, which is what the",
        "paper's script shows as black. Intervals are over photographs (95 %, bootstrapped).",
        "",
        "Where this differs from the paper's script: parts keep their aspect (theirs change it at random",
        "between 3/4 and 4/3), and places are seeded. Their networks (VGG16: crop 6.2 %, black 18 %; ResNet50:",
        "6.1 % and 20 %; DenseNet121: 6.8 % and 19 %; PyTorch, their table 1) are larger, and trained otherwise.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
