"""Whether a network is steadier where a data set puts its objects: placement and a stored sweep."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shiftable.canvas import grown
from shiftable.images import DatasetPhotographs
from shiftable.intervals import Estimate, Terms, difference, estimate
from shiftable.outcome import Outcome
from shiftable.placement.objects import Numbers, Objects
from shiftable.placement.summary import COVER, central
from shiftable.store import StoredSweep

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Side:
    """What a network does at the (image, shift) whose object lies inside the range, or outside.

    Args:
        windows: how many (image, shift).
        consistency: P(the class of the unshifted image), over the other shifts.
        accuracy: P(correct), over all shifts of the images with a label.
    """

    windows: int
    consistency: Estimate
    accuracy: Estimate


@dataclass(frozen=True)
class Joined:
    """A sweep, split by where each window shows the object.

    Args:
        sweep: its name.
        cover: the share of centres that the range holds along each axis.
        y: the range along y, from -0.5 to 0.5 of the window's height.
        x: likewise along x.
        own: how many images are judged by the object of their own annotation; 0 where all are by
            the middle of the photograph, since none is annotated.
        images: how many images there are.
        unseen: how many (image, shift) are left out, since the object's centre is not in the
            window, or the image, unlike others, is not annotated.
        inside: the object's centre is in the range along both axes.
        outside: it is not.
        consistency: inside minus outside, of the same images.
        accuracy: likewise.
    """

    sweep: str
    cover: float
    y: tuple[float, float]
    x: tuple[float, float]
    own: int
    images: int
    unseen: int
    inside: Side
    outside: Side
    consistency: Estimate
    accuracy: Estimate


def joined(objects: Objects, stored: StoredSweep, cover: float = COVER) -> Joined:
    """Splits a stored sweep by whether the object lies where the data has objects.

    The range is the central share of the data's relative centres along each axis, taken as places
    in the network's window. An image's object is its largest; an image with the name of an annotated one
    is judged by it. Where no image has, each is judged by the middle of its photograph. What is in
    numbers (a dataset's items) is the same only where all of the dataset is.

    Args:
        objects: the data whose range is held against the sweep, of any number of images.
        stored: a complete sweep; read a part at a time.
        cover: the share of centres in the range, > 0 and <= 1.

    Raises:
        ValueError: for no objects, a share that is none, or parts that are missing or damaged.
    """
    if not 0 < cover <= 1:
        raise ValueError(f"expected a share to cover, > 0 and <= 1, got {cover}")
    if not len(objects):
        raise ValueError(f"no objects in {objects.source}, so there is no range to hold against")
    ranges = [central(objects.relative[:, axis], cover) for axis in (0, 1)]
    low, high = np.array([[float(r.low or 0), float(r.high or 0)] for r in ranges]).T
    size = stored.entry["images"]["size"]
    fitted = None if size is None else (int(size[0]), int(size[1]))
    own = _largest(objects) if _same_images(objects, stored) else {}
    # Whether any image is annotated is known at the end, so both are counted on the way.
    by_own, by_middle = _Tally(low, high), _Tally(low, high)
    for outcome in stored.outcomes():
        for number, name in enumerate(outcome.names):
            frame = None if name not in own else objects.sizes[objects.image[own[name]]]
            shown = fitted or (
                stored.sweep.size if frame is None else (int(frame[0]), int(frame[1]))
            )
            middle = np.array(shown) / 2
            by_middle.add(outcome, number, middle, shown)
            if frame is None:
                by_own.leave(outcome)
                continue
            by_own.own += 1
            # Fitted, a photograph's larger part is kept around its middle: see `images`.
            factor = max(np.array(shown) / frame)
            centre = (objects.centres[own[name]] - frame / 2) * factor + middle
            by_own.add(outcome, number, centre, shown)
    return (by_own if by_own.own else by_middle).joined(stored.name, cover)


def _largest(objects: Objects) -> dict[str, int]:
    """By the name of each image that has any, the number of its largest object."""
    order = np.argsort(objects.boxes[:, 2] * objects.boxes[:, 3], kind="stable").tolist()
    return {objects.images[objects.image[number]]: number for number in order}


def _same_images(objects: Objects, stored: StoredSweep) -> bool:
    """Whether equal names are equal images: a file's name is its own, item 7 is any dataset's."""
    photographs = objects.photographs
    if not isinstance(photographs, DatasetPhotographs):
        return True
    size = stored.entry["images"]["size"]
    fitted = replace(photographs, size=None if size is None else (size[0], size[1]))
    return fitted.identity() == str(stored.entry["images"]["identity"])


class _Tally:
    """Sums by image, inside and outside."""

    def __init__(self, low: Numbers, high: Numbers) -> None:
        self._low, self._high = low, high
        self.own = self._unseen = 0
        self._windows = np.zeros(2, np.int64)
        self._rows: list[npt.NDArray[np.float64]] = []

    def leave(self, outcome: Outcome) -> None:
        """Counts an image of which nothing is known."""
        self._rows.append(np.zeros((2, 2, 2)))
        self._unseen += outcome.predictions.shape[1]

    def add(self, outcome: Outcome, number: int, centre: Numbers, size: tuple[int, int]) -> None:
        """Counts the windows of an image of `size` whose object's centre is at `centre`, in pixels."""
        shifts = outcome.shifts_for(number).astype(np.float64)
        plan, window = outcome.sweep.plan, np.array(outcome.sweep.size)
        place = _places(outcome, shifts, centre, size)
        seen = ((place >= 0) & (place < window)).all(1) & bool(
            ((centre >= 0) & (centre < size)).all()
        )
        relative = place / window - 0.5
        inside = ((relative >= self._low - 1e-9) & (relative <= self._high + 1e-9)).all(1)
        moved = (shifts != 0).any(1) | (plan.growth != 0)
        compared = moved & plan.has_origin
        same = outcome.predictions[number] == outcome.references[number]
        labelled = bool(outcome.labelled[number])
        sides = (seen & inside, seen & ~inside)
        self._rows.append(
            np.array([
                [_counts(same, side & compared), _counts(outcome.correct[number], side & labelled)]
                for side in sides
            ])
        )  # fmt: skip
        self._windows += [side.sum() for side in sides]
        self._unseen += int((~seen).sum())

    def joined(self, name: str, cover: float) -> Joined:
        """Estimates both sides, and their difference."""
        rows = np.array(self._rows)  # (image, side, metric, above and below)
        terms: list[list[Terms]] = [
            [(rows[:, side, metric, 0], rows[:, side, metric, 1]) for metric in (0, 1)]
            for side in (0, 1)
        ]
        inside, outside = (
            Side(int(count), *map(estimate, of))
            for count, of in zip(self._windows, terms, strict=True)
        )
        low, high = self._low.tolist(), self._high.tolist()
        return Joined(
            name, cover, (low[0], high[0]), (low[1], high[1]), self.own, len(rows), self._unseen,
            inside, outside, *(difference(*both) for both in zip(*terms, strict=True)),
        )  # fmt: skip


def _counts(values: Bools, of: Bools) -> tuple[int, int]:
    return int((values & of).sum()), int(of.sum())


def _places(outcome: Outcome, shifts: Numbers, centre: Numbers, size: tuple[int, int]) -> Numbers:
    """(S, 2): where a point of the image is in each window, in pixels."""
    sweep = outcome.sweep
    scale = np.ones((len(shifts), 2))
    for growth in np.unique(sweep.plan.growth):
        if growth:
            scale[sweep.plan.growth == growth] = np.array(grown(size, int(growth))) / size
    anchor = (np.array(size) - sweep.size) // 2
    place: Numbers = centre * scale - anchor + shifts
    return place % sweep.size if sweep.protocol == "circular" else place
