"""Where a data set has its objects: a map, histograms, and a sweep inside and outside."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from shiftable.colours import COLOURS
from shiftable.figures.style import plain, save
from shiftable.intervals import Estimate
from shiftable.placement.objects import Numbers
from shiftable.placement.summary import COVER, Histograms, Placement
from shiftable.placement.sweeps import Joined

_UNIFORM = "#555555"


def placement_figure(
    found: Placement,
    counts: Histograms,
    path: Path,
    *,
    pair: tuple[str, str] | None = None,
    split: Joined | None = None,
    cover: float = COVER,
    title: str = "",
) -> None:
    """Draws where objects are, with what uniform places, sizes and distances would look like.

    Args:
        found: of the objects.
        counts: of the same.
        path: where to write, a PNG or an SVG.
        pair: the names of the keypoints, to draw their distances.
        split: a sweep's two sides, to draw them too.
        cover: the share of the ranges in `found`.
        title: of the figure.

    Raises:
        ValueError: for no objects.
    """
    if not found.objects:
        raise ValueError("placement_figure: expected objects to draw, got none")
    distances = pair is not None and counts.longest is not None
    widths = [1.25, 1.0, *([1.0] if distances else []), *([1.0] if split else [])]
    figure = Figure(figsize=(1.0 + 3.5 * sum(widths), 4.0), dpi=110, layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr, call-arg]
    axes = list(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0])
    _map(figure, axes[0], found, counts, cover)
    label = "size, sqrt(area of box / of image)"
    _histogram(axes[1], counts.sizes, 1.0, label, "sizes")
    if distances and pair is not None and counts.longest is not None:
        between = f"{plain(pair[0])} to {plain(pair[1])}, \nover the image's shorter side"
        _histogram(axes[2], counts.distances, counts.longest, between, "distances")
    if split is not None:
        _sides(axes[-1], split)
    if title:
        figure.suptitle(plain(title))
    save(figure, path)


def _map(figure: Figure, axes: Axes, found: Placement, counts: Histograms, cover: float) -> None:
    """Density over the frame, relative to uniform; an empty cell is white."""
    density = counts.centres / counts.centres.mean()
    shown = np.ma.masked_equal(density, 0)
    scale = LogNorm(0.1, max(10.0, density.max()), clip=True)  # what is rarer is as dark
    extent = (-0.5, 0.5, 0.5, -0.5)
    heat = axes.imshow(shown, "viridis", norm=scale, extent=extent, interpolation="nearest")
    bar = figure.colorbar(heat, ax=axes, shrink=0.8, extend="min")
    bar.set_label("density (uniform: 1)")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    y, x = found.centre
    if None not in (y.low, y.high, x.low, x.high):
        box = Rectangle(
            (x.low, y.low), x.high - x.low, y.high - y.low,  # type: ignore[operator, arg-type]
            fill=False, edgecolor=COLOURS[1], linewidth=2,
        )  # fmt: skip
        axes.add_patch(box)
    corner = (-cover / 2, -cover / 2)  # the same of uniform centres
    axes.add_patch(Rectangle(corner, cover, cover, fill=False, edgecolor=_UNIFORM, linestyle="--"))
    axes.set(xlabel="centre x (of the image's width)", ylabel="centre y (of its height)")
    axes.set_title(
        f"{found.objects:,} centres; box: central {100 * cover:g} % by axis\n(dashed: of uniform ones)",
        fontsize=10,
    )


def _histogram(axes: Axes, counts: Numbers, end: float, label: str, what: str) -> None:
    """Shares of objects by bin, and the line that uniform ones would make."""
    share = counts / max(1.0, counts.sum())
    edges = np.linspace(0, end, len(counts) + 1)
    axes.stairs(share, edges, fill=True, color=COLOURS[0])
    axes.plot([0, end], [1 / len(counts)] * 2, color=_UNIFORM, linestyle="--", label="uniform")
    axes.set(xlabel=label, ylabel=f"share of objects, in bins of {end / len(counts):.2g}")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.18 * max(share.max(), 1 / len(counts)))  # room for the legend
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend(loc="upper right", fontsize=9, frameon=False)
    axes.set_title(f"{what} of {int(counts.sum()):,} objects", fontsize=10)


def _sides(axes: Axes, split: Joined) -> None:
    """Bars of both metrics, inside and outside, with their intervals."""
    metrics = [("consistency", split.inside.consistency, split.outside.consistency)]
    metrics += [("accuracy", split.inside.accuracy, split.outside.accuracy)]
    for side, colour, hatch in ((0, COLOURS[0], ""), (1, COLOURS[3], "//")):
        for number, (_, *both) in enumerate(metrics):
            _bar(axes, number + 0.38 * (side - 0.5), both[side], colour, hatch)
    axes.set_xticks(range(len(metrics)), [name for name, *_ in metrics])
    axes.set_xlim(-0.6, len(metrics) - 0.4)
    axes.set(ylim=(0, 1.25), ylabel="share of windows, 95 % intervals")
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles: Sequence[Patch] = [
        Patch(facecolor=COLOURS[0], edgecolor="white", label="object inside the range"),
        Patch(facecolor=COLOURS[3], edgecolor="white", hatch="//", label="object outside"),
    ]
    axes.legend(handles=list(handles), loc="upper center", fontsize=9, frameon=False)
    axes.set_title(f"sweep {plain(split.sweep)}", fontsize=10)


def _bar(axes: Axes, at: float, found: Estimate, colour: str, hatch: str) -> None:
    if found.value is None:
        axes.text(at, 0.02, "-", ha="center", fontsize=12)
        return
    axes.bar(at, found.value, 0.36, color=colour, hatch=hatch, edgecolor="white")
    if found.low is not None and found.high is not None:
        reach = [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]
        axes.errorbar(at, found.value, reach, color="black", capsize=4, linewidth=1.2)
