"""What is said of the objects of a class, or of all."""

from dataclasses import dataclass

import numpy as np

from shiftable.intervals import Estimate
from shiftable.placement.concentration import (
    GRID,
    cells,
    information,
    middle_share,
    placed_anywhere,
    spread,
)
from shiftable.placement.objects import Numbers, Objects

COVER = 0.95
_FINE = 27  # cells along an axis of the map that is drawn
_BINS = 25  # of the histograms


@dataclass(frozen=True)
class Range:
    """The median of some numbers, and the range of their central share; None where there are none."""

    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Placement:
    """Where objects are, how large, and how concentrated; pairs are (y, x).

    Args:
        objects: how many.
        images: how many have any.
        centre: from -0.5 to 0.5 of the image's height and width.
        centre_pixels: pixels from the image's middle.
        size: square root of the box's area over that of the image's.
        sides: the box's height and width over the image's.
        distance: pixels between the two keypoints, of the objects with both.
        distance_share: the same over the image's shorter side.
        distances: how many objects have both keypoints.
        bits: `information` against uniform places.
        bits_beyond_size: the same against `placed_anywhere`.
        middle: `middle_share`.
        middle_by_size: what it would be by `placed_anywhere`.
        spread: `spread`, along y and x.
    """

    objects: int
    images: int
    centre: tuple[Range, Range]
    centre_pixels: tuple[Range, Range]
    size: Range
    sides: tuple[Range, Range]
    distance: Range
    distance_share: Range
    distances: int
    bits: float | None
    bits_beyond_size: float | None
    middle: Estimate
    middle_by_size: float | None
    spread: tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Histograms:
    """Counts for a figure.

    Args:
        centres: (27, 27) by cells of the image, rows from the top.
        sizes: (25,) by size, from 0 to 1.
        distances: (25,) by distance as a share of the shorter side, from 0 to `longest`.
        longest: the longest distance, as such a share; None where there is none.
    """

    centres: Numbers
    sizes: Numbers
    distances: Numbers
    longest: float | None


def central(values: Numbers, cover: float = COVER) -> Range:
    """Returns the median, and the quantiles that leave as much out on either side.

    Args:
        values: (N,), NaN where unknown.
        cover: the share between the quantiles, > 0 and <= 1.

    Examples:
        >>> central(np.arange(101.0), 0.5)
        Range(median=50.0, low=25.0, high=75.0)
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Range(None, None, None)
    median, low, high = np.quantile(known, [0.5, (1 - cover) / 2, (1 + cover) / 2]).tolist()
    return Range(median, low, high)


def describe(objects: Objects, cover: float = COVER) -> Placement:
    """Describes where objects are.

    Args:
        objects: of one class or of several.
        cover: the share of the ranges, > 0 and <= 1.

    Raises:
        ValueError: for a share that is none.

    References:
        Azulay & Weiss (JMLR 2019), the section on photographers' bias.
    """
    if not 0 < cover <= 1:
        raise ValueError(f"expected a share to cover, > 0 and <= 1, got {cover}")

    def by_axis(values: Numbers) -> tuple[Range, Range]:
        return central(values[:, 0], cover), central(values[:, 1], cover)

    anywhere, third = placed_anywhere(objects), slice(GRID // 3, 2 * GRID // 3)
    return Placement(
        objects=len(objects),
        images=len(np.unique(objects.image)),
        centre=by_axis(objects.relative),
        centre_pixels=by_axis(objects.pixels),
        size=central(objects.scale, cover),
        sides=by_axis(objects.fractions),
        distance=central(objects.distances, cover),
        distance_share=central(objects.distance_shares, cover),
        distances=int((~np.isnan(objects.distances)).sum()),
        bits=information(objects.relative),
        bits_beyond_size=information(objects.relative, anywhere),
        middle=middle_share(objects),
        middle_by_size=float(anywhere[third, third].sum()) if len(objects) else None,
        spread=spread(objects.relative),
    )


def histograms(objects: Objects) -> Histograms:
    """Counts centres, sizes and distances for a figure."""
    shares = objects.distance_shares[~np.isnan(objects.distances)]
    longest = float(shares.max()) if len(shares) else None
    return Histograms(
        cells(objects.relative, _FINE),
        np.histogram(objects.scale, _BINS, (0, 1))[0].astype(np.float64),
        np.histogram(shares, _BINS, (0, longest or 1))[0].astype(np.float64),
        longest,
    )
