"""Where the objects of a data set lie, whatever it was read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shiftable.images import Photographs

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Objects:
    """N objects in M images; (y, x) order everywhere.

    Args:
        source: what they were read from, for messages.
        images: the names of the M images.
        sizes: (M, 2) height and width of each image in pixels, >= 1.
        classes: the names of the C classes.
        image: (N,) the number of each object's image, 0..M-1.
        label: (N,) the number of its class, 0..C-1.
        boxes: (N, 4) top, left, height and width in pixels.
        centres: (N, 2) in pixels from the image's top left corner: the middle of the box, or the
            centre of mass where pixels are known.
        distances: (N,) pixels between a named pair of keypoints, NaN where either is not visible;
            empty where no pair was asked for.
        pair: the names of the two.
        skipped: what was left out, and how often.
        photographs: the images themselves, where they were read.

    Examples:
        >>> found = Objects(
        ...     "two boxes", ("a.png",), np.array([[100, 200]]), ("dog",), np.array([0, 0]),
        ...     np.array([0, 0]), np.array([[0, 0, 50, 50], [40, 90, 20, 20.0]]),
        ...     np.array([[25, 25], [50, 100.0]]))
        >>> found.relative.tolist()
        [[-0.25, -0.375], [0.0, 0.0]]
    """

    source: str
    images: tuple[str, ...]
    sizes: Integers
    classes: tuple[str, ...]
    image: Integers
    label: Integers
    boxes: Numbers
    centres: Numbers
    distances: Numbers = field(default_factory=lambda: np.zeros(0))
    pair: tuple[str, str] | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    photographs: Photographs | None = None

    def __len__(self) -> int:
        return len(self.image)

    @cached_property
    def frames(self) -> Integers:
        """(N, 2): the size of each object's image in pixels."""
        return self.sizes[self.image]

    @cached_property
    def relative(self) -> Numbers:
        """(N, 2): each centre, from -0.5 to 0.5 of the image's height and width."""
        return self.centres / self.frames - 0.5

    @property
    def pixels(self) -> Numbers:
        """(N, 2): each centre in pixels from the middle of the image."""
        return self.centres - self.frames / 2

    @cached_property
    def fractions(self) -> Numbers:
        """(N, 2): each box's height and width as a share of the image's."""
        return self.boxes[:, 2:] / self.frames

    @property
    def scale(self) -> Numbers:
        """(N,): square root of the box's area over that of the image's."""
        root: Numbers = np.sqrt(self.fractions.prod(1))
        return root

    @property
    def distance_shares(self) -> Numbers:
        """(N,): the distances as a share of the image's shorter side."""
        share: Numbers = self.distances / self.frames.min(1)[: len(self.distances)]
        return share

    @cached_property
    def reach(self) -> Numbers:
        """(N, 2, 2): the lowest and highest relative (y, x) that the centre could have.

        The box stays within the image, so a large one has little room; and half a pixel more to
        each side, since centres are known to a pixel.
        """
        before = self.boxes[:, :2] / self.frames
        after = 1 - before - self.fractions
        half = 0.5 / self.frames
        low, high = self.relative - before.clip(0) - half, self.relative + after.clip(0) + half
        return np.stack([low, high], 1)

    def of(self, names: Sequence[str]) -> "Objects":
        """Returns the objects of some classes, in the same images.

        Raises:
            ValueError: for a class that is not there.
        """
        for name in names:
            if name not in self.classes:
                known = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
                raise ValueError(f"no class '{name}' in {self.source}; it has {known}")
        return self.chosen(np.isin(self.label, [self.classes.index(name) for name in names]))

    def chosen(self, which: npt.NDArray[np.bool_] | Integers) -> "Objects":
        """Returns some of the objects, in the same images."""
        return replace(
            self,
            image=self.image[which],
            label=self.label[which],
            boxes=self.boxes[which],
            centres=self.centres[which],
            distances=self.distances[which] if len(self.distances) else self.distances,
        )

    def by_class(self) -> dict[str, "Objects"]:
        """Returns the objects of each class that has any, in the order of `classes`."""
        order = np.argsort(self.label, kind="stable")
        ends = np.cumsum(np.bincount(self.label, minlength=len(self.classes)))
        return {
            name: self.chosen(rows)
            for name, rows in zip(self.classes, np.split(order, ends[:-1]), strict=True)
            if len(rows)
        }
