"""Metrics against something, for one network or several, each with the band of its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from shiftable import metrics
from shiftable.colours import COLOURS
from shiftable.figures.style import MARKERS, plain, save
from shiftable.metrics import Estimate, Outcomes

Points = Sequence[tuple[float, Estimate]]


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        ylabel: of the values.
        series: by the name that the legend gives each: where, and what was found there.
        share: whether the values are shares, shown in per cent.
        whole: whether the places are whole numbers.
        title: above them.
    """

    ylabel: str
    series: Mapping[str, Points]
    share: bool = True
    whole: bool = True
    title: str = ""


def lines_figure(
    panels: Sequence[Panel], xlabel: str, path: Path, *, title: str = "", columns: int = 4
) -> None:
    """Draws values with their 95 % intervals against something.

    Args:
        panels: side by side, of the same networks.
        xlabel: what the places are, with its unit.
        path: where to write, a PNG or an SVG.
        title: of the figure.
        columns: panels side by side, at most; more go below.

    Raises:
        ValueError: if there is nothing to draw.
    """
    shown = [panel for panel in panels if any(_known(points) for points in panel.series.values())]
    if not shown:
        raise ValueError("lines_figure: expected a value, got none that can be had")
    across = min(columns, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(1.5 + 4.5 * across, 0.7 + 3.7 * down), dpi=110, layout="constrained")
    every = list(dict.fromkeys(name for panel in shown for name in panel.series))
    every_axes = figure.subplots(down, across, squeeze=False, sharex=True).flat
    for axes, panel in zip_longest(every_axes, shown):
        if panel is None:
            axes.set_axis_off()
            continue
        for name, points in panel.series.items():
            _draw(axes, points, name, every.index(name))
        axes.set(xlabel=xlabel, ylabel=panel.ylabel)
        axes.set_title(panel.title, fontsize=10)
        axes.set_ylim(0, axes.dataLim.y1 * 1.06 or 1)  # no marker is cut
        axes.tick_params(labelbottom=True)
        axes.grid(alpha=0.25)
        if panel.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if panel.whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(plain(title + (": " if title else "") + "95 % intervals over images"))
    save(figure, path)


def _known(points: Points) -> list[tuple[float, float, float, float]]:
    return [
        (
            at,
            found.value,
            found.value if found.low is None else found.low,
            found.value if found.high is None else found.high,
        )
        for at, found in points
        if found.value is not None
    ]


def _draw(axes: Axes, points: Points, name: str, number: int) -> None:
    known = np.array(_known(points)).reshape(-1, 4)
    colour = COLOURS[number % len(COLOURS)]
    marker = MARKERS[number % len(MARKERS)]
    axes.plot(
        known[:, 0], known[:, 1], marker=marker, markersize=4, color=colour, label=plain(name)
    )
    axes.fill_between(known[:, 0], known[:, 2], known[:, 3], color=colour, alpha=0.18, linewidth=0)


def distance_figure(sweeps: Mapping[str, Outcomes], path: Path, *, title: str = "") -> None:
    """Draws change of class and worst-case accuracy against the shift's distance.

    Args:
        sweeps: outcomes by the name that the legend gives them, of one sweep or of several.
        path: where to write, a PNG or an SVG.
        title: of the figure.

    Raises:
        ValueError: if no sweep has the unshifted image or labels.
    """
    found = {name: metrics.by_distance(outcomes) for name, outcomes in sweeps.items()}
    if not any(radius for own in found.values() for radius in own):
        raise ValueError("distance_figure: expected shifts, got none but (0, 0)")
    panels = [
        Panel(
            "P(another class than unshifted)",
            {name: [(r, at.changed) for r, at in own.items() if r] for name, own in found.items()},
        ),
        Panel(
            "P(correct at every shift so near)",
            {name: [(r, at.within) for r, at in own.items()] for name, own in found.items()},
        ),
    ]
    lines_figure(panels, "distance of the shift, max(|dy|, |dx|) (pixels)", path, title=title)
