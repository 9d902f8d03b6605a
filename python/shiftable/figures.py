"""Figures of an outcome; the only file that imports matplotlib."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from shiftable import metrics
from shiftable.metrics import ShiftMap
from shiftable.outcome import Outcome

# Okabe & Ito's colours, told apart by colour-blind readers too; the last is for all other classes.
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#f0e442", "#999999"
)  # fmt: skip


def most_unstable(outcome: Outcome) -> int:
    """The image whose class changes at most steps; of equal ones, whose probability moves most."""
    changed, _ = metrics.top1_change(outcome)
    moved, _ = metrics.mac(outcome)
    return int(np.lexsort((-moved, -changed))[0])


def shift_figure(
    outcome: Outcome, path: Path, *, image: int | None = None, classes: Sequence[str] = ()
) -> None:
    """Draws one image's answers against the shift, as a PNG.

    Probability against the shift with every change of class marked; of a grid also the (dy, dx)
    maps of probability and of class.

    Args:
        outcome: of a sweep over listed shifts.
        path: where to write.
        image: its number; by default the most unstable one.
        classes: names of the classes, for the legend.

    Raises:
        ValueError: for a sweep over random pairs, which have no order to draw them in.
    """
    if outcome.sweep.plan.kind != "listed":
        raise ValueError("shift_figure: expected a grid, line or diagonal, got random pairs")
    number = most_unstable(outcome) if image is None else image
    answers = metrics.shift_map(outcome, number)
    colours = _class_colours(answers.classes)
    flat = min(answers.classes.shape) > 1 and (answers.classes >= 0).all()
    figure = Figure(figsize=(13, 4.8) if flat else (9, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots(
        1, 3 if flat else 1, squeeze=False, width_ratios=[1.5, 1, 1][: 3 if flat else 1]
    )[0]
    known = bool(outcome.labelled[number])
    subject = int(outcome.labels[number] if known else outcome.references[number])
    what = f"P({_name(subject, classes)}), the {'true' if known else 'reference'} class"
    _curve(axes[0], answers, colours, what)
    if flat:
        _maps(figure, axes[1], axes[2], answers, colours, what)
    _legend(figure, colours, classes)
    changed, steps = metrics.top1_change(outcome)
    title = f"{_plain(outcome.names[number])}, {outcome.sweep.protocol}"
    if steps[number]:
        share = f"{changed[number] / steps[number]:.0%}"
        title += f": the predicted class changes at {share} of the one-pixel steps"
    figure.suptitle(title)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as a box
        figure.savefig(path, format="png")


def _name(number: int, classes: Sequence[str]) -> str:
    return _plain(classes[number]) if number < len(classes) else f"class {number}"


def _plain(text: str) -> str:
    """Text as it is: a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def _class_colours(classes: npt.NDArray[np.int64]) -> dict[int, str]:
    """A colour for each of the most frequent classes; all others share the last."""
    found, counts = np.unique(classes[classes >= 0], return_counts=True)
    order = found[np.argsort(-counts, kind="stable")]
    return {
        int(number): _COLOURS[min(rank, len(_COLOURS) - 1)] for rank, number in enumerate(order)
    }


def _curve(axes: Axes, answers: ShiftMap, colours: dict[int, str], what: str) -> None:
    """Probability along one line of the plan, with a mark wherever the class changes."""
    shifts, probability, predicted, label = _one_line(answers)
    axes.plot(shifts, probability, color="#bbbbbb", linewidth=1, zorder=1)
    axes.scatter(shifts, probability, 30, [colours[number] for number in predicted.tolist()])
    for after in np.flatnonzero(predicted[1:] != predicted[:-1]):
        middle = (shifts[after] + shifts[after + 1]) / 2
        axes.axvline(middle, color="#444444", linewidth=0.8, linestyle=":")
    axes.set(xlabel=label, ylabel=what, ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend(figure: Figure, colours: dict[int, str], classes: Sequence[str]) -> None:
    """What the colours mean: the predicted classes, most frequent first."""
    entries = {
        colour: _name(number, classes) if colour != _COLOURS[-1] else "other classes"
        for number, colour in colours.items()
    }
    marks = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in entries]
    figure.legend(
        marks, list(entries.values()), loc="outside lower center", ncols=8, fontsize=9,
        title="predicted class (a dotted line: it changes)", title_fontsize=9, frameon=False,
    )  # fmt: skip


def _one_line(
    answers: ShiftMap,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64], str]:
    """Shifts, probabilities and classes along one line, and its name.

    Of a grid, the row (dy) along which the class changes most often; of equal ones the one nearest
    to no shift.
    """
    rows, columns = answers.classes.shape
    if (answers.classes < 0).any():  # a diagonal
        at = np.arange(rows)
        return answers.dy, answers.probability[at, at], answers.classes[at, at], "dy = dx (pixels)"
    if columns == 1:
        return answers.dy, answers.probability[:, 0], answers.classes[:, 0], "dy (pixels)"
    changes = (answers.classes[:, 1:] != answers.classes[:, :-1]).sum(1)
    row = int(np.lexsort((np.abs(answers.dy), -changes))[0])
    where = f"dx (pixels), at dy = {answers.dy[row]}"
    return answers.dx, answers.probability[row], answers.classes[row], where


def _maps(
    figure: Figure, left: Axes, right: Axes, answers: ShiftMap, colours: dict[int, str], what: str
) -> None:
    """Heat maps over (dy, dx) of the probability and of the class."""
    extent = (
        answers.dx[0] - 0.5, answers.dx[-1] + 0.5, answers.dy[-1] + 0.5, answers.dy[0] - 0.5
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
