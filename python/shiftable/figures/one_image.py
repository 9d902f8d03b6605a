"""One image's answers against the shift, or the size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from shiftable import metrics
from shiftable.colours import COLOURS
from shiftable.figures.style import plain, save
from shiftable.metrics import ShiftMap
from shiftable.outcome import Outcome
from shiftable.plan import Direction, Shifts


def most_unstable(outcome: Outcome) -> int:
    """The image whose class changes at most steps; of equal ones, whose probability moves most."""
    found = metrics.instability(outcome)
    return found.index(max(found))


def shift_figure(
    outcome: Outcome, path: Path, *, image: int | None = None, classes: Sequence[str] = ()
) -> None:
    """Draws one image's answers against the shift, as a PNG.

    Probability against the shift with every change of class marked (against the size, for a plan
    of sizes alone); of a grid also the (dy, dx) maps of probability and of class.

    Args:
        outcome: of a sweep over listed shifts.
        path: where to write.
        image: its number; by default the most unstable one.
        classes: names of the classes, for the legend.

    Raises:
        ValueError: for a sweep over random groups, which have no order to draw them in.
    """
    plan = outcome.sweep.plan
    if plan.group:
        raise ValueError("shift_figure: expected a grid, line or diagonal, got random groups")
    number = most_unstable(outcome) if image is None else image
    answers = metrics.shift_map(outcome, number)
    curve = _sizes_curve(outcome, number) if answers.classes.size == 1 else _one_line(answers)
    colours = _class_colours(np.concatenate([answers.classes.flatten(), curve.classes]))
    flat = min(answers.classes.shape) > 1 and (answers.classes >= 0).all()
    figure = Figure(figsize=(13, 4.8) if flat else (9, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots(
        1, 3 if flat else 1, squeeze=False, width_ratios=[1.5, 1, 1][: 3 if flat else 1]
    )[0]
    known = bool(outcome.labelled[number])
    subject = int(outcome.labels[number] if known else outcome.references[number])
    what = f"P({_name(subject, classes)}), the {'true' if known else 'reference'} class"
    _curve(axes[0], curve, colours, what)
    if flat:
        _maps(figure, axes[1], axes[2], answers, colours, what)
    _legend(figure, colours, classes)
    sized = answers.classes.size == 1
    directions: tuple[Direction, ...] = ("larger", "smaller") if sized else ()
    changed, steps = metrics.top1_change(outcome, *directions)
    title = f"{plain(outcome.names[number])}, {outcome.sweep.protocol}"
    if steps[number]:
        share = f"{changed[number] / steps[number]:.0%}"
        step = "one" if sized or plan.step == 1 else f"{plan.step:g}"  # type: ignore[attr-defined]
        title += f": the predicted class changes at {share} of the {step}-pixel steps"
    figure.suptitle(title)
    save(figure, path)


def _name(number: int, classes: Sequence[str]) -> str:
    return plain(classes[number]) if number < len(classes) else f"class {number}"


def _class_colours(classes: npt.NDArray[np.int64]) -> dict[int, str]:
    """A colour for each of the most frequent classes; all others share the last."""
    found, counts = np.unique(classes[classes >= 0], return_counts=True)
    order = found[np.argsort(-counts, kind="stable")]
    return {int(number): COLOURS[min(rank, len(COLOURS) - 1)] for rank, number in enumerate(order)}


@dataclass(frozen=True)
class _Line:
    """Answers along one line: where, the probability, the class, and the axis's name."""

    at: Shifts
    probability: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    label: str


def _curve(axes: Axes, line: _Line, colours: dict[int, str], what: str) -> None:
    """Probability along a line, with a mark wherever the class changes."""
    axes.plot(line.at, line.probability, color="#bbbbbb", linewidth=1, zorder=1)
    axes.scatter(line.at, line.probability, 30, [colours[one] for one in line.classes.tolist()])
    for after in np.flatnonzero(line.classes[1:] != line.classes[:-1]):
        middle = (line.at[after] + line.at[after + 1]) / 2
        axes.axvline(middle, color="#444444", linewidth=0.8, linestyle=":")
    axes.set(xlabel=line.label, ylabel=what, ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend(figure: Figure, colours: dict[int, str], classes: Sequence[str]) -> None:
    """What the colours mean: the predicted classes, most frequent first."""
    entries = {
        colour: _name(number, classes) if colour != COLOURS[-1] else "other classes"
        for number, colour in colours.items()
    }
    marks = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in entries]
    figure.legend(
        marks, list(entries.values()), loc="outside lower center", ncols=8, fontsize=9,
        title="predicted class (a dotted line: it changes)", title_fontsize=9, frameon=False,
    )  # fmt: skip


def _sizes_curve(outcome: Outcome, image: int) -> _Line:
    """Answers against the size, without a shift."""
    known = bool(outcome.labelled[image])
    probability = outcome.label_probability if known else outcome.reference_probability
    return _Line(
        outcome.sweep.plan.growth,
        probability[image],
        outcome.predictions[image],
        "size of the photograph's shorter side, against its own (pixels)",
    )


def _one_line(answers: ShiftMap) -> _Line:
    """Answers along one line.

    Of a grid, the row (dy) along which the class changes most often; of equal ones the one nearest
    to no shift.
    """
    rows, columns = answers.classes.shape
    if (answers.classes < 0).any():  # no grid
        at = np.arange(min(rows, columns))
        if rows == columns == (answers.classes >= 0).sum() and (answers.classes[at, at] >= 0).all():
            name = "dy = dx (pixels)"
            return _Line(answers.dy, answers.probability[at, at], answers.classes[at, at], name)
        found = answers.classes >= 0
        name = "number of the shift, row by row"
        return _Line(
            np.arange(found.sum()), answers.probability[found], answers.classes[found], name
        )
    if columns == 1:
        name = "dy (pixels)"
        return _Line(answers.dy, answers.probability[:, 0], answers.classes[:, 0], name)
    changes = (answers.classes[:, 1:] != answers.classes[:, :-1]).sum(1)
    row = int(np.lexsort((np.abs(answers.dy), -changes))[0])
    name = f"dx (pixels), at dy = {answers.dy[row]:g}"
    return _Line(answers.dx, answers.probability[row], answers.classes[row], name)


def _maps(
    figure: Figure, left: Axes, right: Axes, answers: ShiftMap, colours: dict[int, str], what: str
) -> None:
    """Heat maps over (dy, dx) of the probability and of the class."""
    half = [(values[1] - values[0]) / 2 for values in (answers.dx, answers.dy)]
    extent = (
        answers.dx[0] - half[0], answers.dx[-1] + half[0],
        answers.dy[-1] + half[1], answers.dy[0] - half[1],
    )  # fmt: skip
    heat = left.imshow(answers.probability, "viridis", vmin=0, vmax=1, extent=extent)
    figure.colorbar(heat, ax=left, shrink=0.8)
    order = list(colours)
    rank = np.searchsorted(np.sort(order), answers.classes)
    palette = ListedColormap([colours[number] for number in sorted(order)])
    bounds = BoundaryNorm(np.arange(len(order) + 1) - 0.5, len(order))
    right.imshow(rank, palette, norm=bounds, extent=extent)
    left.set_title(what, fontsize=9)
    right.set_title("predicted class", fontsize=9)
    for axes in (left, right):
        axes.set(xlabel="dx (pixels)", ylabel="dy (pixels)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
