"""What the runs answered for the photographs that change most, laid out in cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shiftable import metrics
from shiftable.outcome import Outcome
from shiftable.plan import Integers, Plan
from shiftable.store import Run, StoredSweep
from shiftable.sweep import Sweep


@dataclass(frozen=True)
class Series:
    """One sweep of one run: a column of every table, a line of every chart.

    Args:
        title: the run's, told apart from those of the other runs.
        run: the run.
        name: of the sweep.
    """

    title: str
    run: Run
    name: str

    @property
    def label(self) -> str:
        """What to call it among all."""
        return f"{self.title}, {self.name}"

    @property
    def stored(self) -> StoredSweep:
        """The sweep."""
        return self.run.sweeps[self.name]

    @property
    def sweep(self) -> Sweep:
        """What was shown."""
        return self.stored.sweep

    @property
    def mapped(self) -> bool:
        """Whether its shifts have an order to lay them out in, and are several."""
        plan = self.sweep.plan
        return not plan.group and len(plan) > 1


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the shifts of a plan lie on the page.

    Args:
        rows: (Y, X) numbers of shifts in the plan.
        across: what changes along a row, with its unit.
        down: what changes along a column; empty where there is one row.
    """

    rows: Integers
    across: str
    down: str = ""


def layout(plan: Plan) -> Layout:
    """Lays a listed plan out: a grid over (dy, dx), a strip for everything else.

    A plan of shifts and sizes is laid out at the image's own size.

    Examples:
        >>> from shiftable import diagonal, grid
        >>> layout(grid(1)).rows.tolist(), layout(diagonal(1)).across
        ([[0, 1, 2], [3, 4, 5], [6, 7, 8]], 'dy = dx (pixels)')
    """
    at = np.flatnonzero(plan.growth == plan.growth[plan.origin])
    if len(at) == 1:
        every = np.arange(len(plan))[None]
        return Layout(every, "size of the shorter side, against its own (pixels)")
    dy, dx = plan.shifts_for(0)[at].T
    down, across = np.unique(dy), np.unique(dx)
    order = at[np.lexsort((dx, dy))]
    if len(down) * len(across) == len(at):
        if len(across) == 1:
            return Layout(order[None], "dy (pixels)")
        if len(down) == 1:
            return Layout(order[None], "dx (pixels)")
        return Layout(order.reshape(len(down), -1), "dx (pixels)", "dy (pixels)")
    return Layout(at[None], "dy = dx (pixels)" if (dy == dx).all() else "number of the shift")


@dataclass(frozen=True, eq=False)
class Answers:
    """One photograph's answers in one series, in the order of its layout's cells.

    Args:
        classes: (cells,) predicted classes.
        probability: (cells,) of the predicted class.
        subject_probability: (cells,) of the true class, or of the reference class where that is
            unknown.
        subject: that class.
        changes: share of the steps of the plan at which the class changes.
    """

    classes: Integers
    probability: npt.NDArray[np.float32]
    subject_probability: npt.NDArray[np.float32]
    subject: int
    changes: float


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph, and what was answered for it.

    Args:
        name: of the photograph.
        number: its number in the sweeps that it is of.
        label: its true class, -1 where unknown.
        answers: by the number of the series.
    """

    name: str
    number: int
    label: int
    answers: dict[int, Answers] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """What one pass over the series found.

    Args:
        labels: of each series, the true classes of its images.
        changes: of each series, the share of the steps at which each image's class changes; empty
            where there is no map.
        unstable: name and number of the most unstable photographs, most unstable first, each with
            the series that are of it.
    """

    labels: list[tuple[int, ...]]
    changes: list[list[float]]
    unstable: list[tuple[str, int, tuple[int, ...]]]


def scan(series: Sequence[Series], count: int | None) -> Scan:
    """Finds the photographs whose class changes at most steps, a mean over the series.

    Photographs of two runs are the same where the runs have the same names in the same order.

    Args:
        series: complete.
        count: how many photographs; None for all.
    """
    labels: list[tuple[int, ...]] = []
    changes: list[list[float]] = []
    sets: dict[tuple[str, ...], list[tuple[int, list[tuple[float, float]]]]] = {}
    for number, one in enumerate(series):
        names: list[str] = []
        classes: list[int] = []
        found: list[tuple[float, float]] = []
        for outcome in one.stored.outcomes():
            names += outcome.names
            classes += outcome.labels.tolist()
            if one.mapped:
                steps = _steps(outcome)
                found += [
                    (changed / max(1, of), moved / max(1, of))
                    for (changed, moved), of in zip(
                        metrics.instability(outcome), steps, strict=True
                    )
                ]
        labels.append(tuple(classes))
        changes.append([changed for changed, _ in found])
        if one.mapped:
            sets.setdefault(tuple(names), []).append((number, found))
    ranked = []
    for every, own in sets.items():
        numbers = tuple(number for number, _ in own)
        means = np.mean([found for _, found in own], axis=0)
        ranked += [
            (tuple(mean), (name, at, numbers))
            for at, (name, mean) in enumerate(zip(every, means.tolist(), strict=True))
        ]
    ranked.sort(key=lambda one: one[0], reverse=True)  # stable: of equal ones, the first
    return Scan(labels, changes, [subject for _, subject in ranked[:count]])


def _steps(outcome: Outcome) -> list[float]:
    """How many steps each image takes, of its place and of its size."""
    below = metrics.top1_change(outcome)[1] + metrics.top1_change(outcome, "larger", "smaller")[1]
    return below.tolist()  # type: ignore[no-any-return]


def collect(series: Sequence[Series], found: Scan) -> list[Photograph]:
    """Reads the answers for the photographs of a scan, in its order; runs of a sweep side by side."""
    photographs = [
        Photograph(name, number, found.labels[of[0]][number]) for name, number, of in found.unstable
    ]
    sweeps = list(dict.fromkeys(one.name for one in series))
    for number in sorted(range(len(series)), key=lambda at: sweeps.index(series[at].name)):
        one = series[number]
        wanted = {
            photograph.number: photograph
            for photograph, (_, _, of) in zip(photographs, found.unstable, strict=True)
            if number in of
        }
        if not wanted:
            continue
        cells = layout(one.sweep.plan).rows.reshape(-1)
        for outcome in one.stored.outcomes():
            for at in range(len(outcome)):
                if photograph := wanted.get(outcome.first + at):
                    share = found.changes[number][photograph.number]
                    photograph.answers[number] = _answers(outcome, at, cells, share)
    return photographs


def _answers(outcome: Outcome, at: int, cells: Integers, changes: float) -> Answers:
    known = bool(outcome.labelled[at])
    subject = outcome.label_probability if known else outcome.reference_probability
    return Answers(
        outcome.predictions[at, cells],
        outcome.probability[at, cells],
        subject[at, cells],
        int(outcome.labels[at] if known else outcome.references[at]),
        changes,
    )


def class_table(photograph: Photograph) -> list[int]:
    """The classes of a photograph: predicted ones, most frequent first, then the others named."""
    predicted = np.concatenate([one.classes for one in photograph.answers.values()])
    found, counts = np.unique(predicted, return_counts=True)
    order = found[np.argsort(-counts, kind="stable")].tolist()
    named = [photograph.label, *(one.subject for one in photograph.answers.values())]
    return list(dict.fromkeys([*order, *(number for number in named if number >= 0)]))


def name_of(number: int, classes: Sequence[str] | Mapping[int, str]) -> str:
    """The name of a class, or its number."""
    try:
        return classes[number]
    except (IndexError, KeyError):
        return f"class {number}"
