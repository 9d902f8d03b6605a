"""Values with their 95 % intervals, by a bootstrap over images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]
Terms = tuple[Sums, Sums]

RESAMPLES = 2000
SEED = 20190601
_AT_ONCE = (
    4_000_000  # numbers of the resampling table, which all images times all resamples are not
)


@dataclass(frozen=True)
class Estimate:
    """A value, the bounds of its 95 % interval, and how many images it rests on.

    Value and bounds are None where nothing contributes; the bounds also for a single image.
    """

    value: float | None
    low: float | None
    high: float | None
    images: int


def estimate(terms: Terms) -> Estimate:
    """Pools the terms, with a percentile bootstrap over images (95 %, 2000 resamples, seeded).

    Images are resampled, not shifts: the shifts of one image are not independent.

    Args:
        terms: (N,) numerators and denominators by image; the value is the ratio of their sums. An
            image with two zeros is left out.
    """
    return _interval([terms], lambda ratios: ratios[0])


def mean(values: Sequence[float] | Sums) -> Estimate:
    """Estimates the mean of one value an image, as `estimate` does.

    Examples:
        >>> mean([1.0, 3.0]).value
        2.0
    """
    own = np.asarray(values, np.float64)
    return estimate((own, np.ones_like(own)))


def difference(terms: Terms, others: Terms) -> Estimate:
    """Estimates one pooled value minus another, of the same images in the same order.

    Both are resampled together, image by image: what makes an image hard for both takes no part in
    the interval, which is far narrower than that of two runs on different images.

    Args:
        terms: as in `estimate`.
        others: those of the other network; an image with two zeros in both is left out.
    """
    if len(terms[0]) != len(others[0]):
        raise ValueError(
            f"difference: expected the same images, got {len(terms[0])} and {len(others[0])}"
        )
    return _interval([terms, others], lambda ratios: ratios[0] - ratios[1])


def estimate_counts(terms: Terms) -> Estimate:
    """As `estimate`, for terms of which many images have the same, such as counts of objects.

    Images of equal terms are drawn together, as many as would be drawn one by one: the same
    bootstrap, by other random numbers, that takes no longer for more images.

    Examples:
        >>> found = estimate_counts((np.repeat([0.0, 1.0], 50_000), np.ones(100_000)))
        >>> found.value, round(found.low, 3), round(found.high, 3)
        (0.5, 0.497, 0.503)
    """
    kept = (terms[0] != 0) | (terms[1] != 0)
    pairs, times = np.unique(np.stack(terms, 1)[kept], axis=0, return_counts=True)
    above, below = pairs.T
    count = int(times.sum())
    if not times @ below > 0:
        return Estimate(None, None, None, 0)
    value = float((times @ above) / (times @ below))
    if count == 1:
        return Estimate(value, None, None, 1)
    drawn = np.random.default_rng(SEED).multinomial(count, times / count, RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold no denominator
        values = (drawn @ above) / (drawn @ below)
    low, high = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
    return Estimate(value, float(low), float(high), count)


def _interval(terms: list[Terms], combined: Callable[[list[Sums]], Sums]) -> Estimate:
    """A function of pooled ratios, over the images that contribute to any of them."""
    kept = np.logical_or.reduce([(above != 0) | (below != 0) for above, below in terms])
    parts = [(above[kept], below[kept]) for above, below in terms]
    count = int(kept.sum())
    if not all(below.sum() > 0 for _, below in parts):
        return Estimate(None, None, None, 0)
    value = float(combined([above.sum() / below.sum() for above, below in parts]))
    if count == 1:
        return Estimate(value, None, None, 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold no denominator
        drawn = [
            combined([(times @ above) / (times @ below) for above, below in parts])
            for times in _resamples(count)
        ]
    values = np.concatenate(drawn)
    low, high = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
    return Estimate(value, float(low), float(high), count)


def _resamples(count: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each of `count` images is drawn: (R, count) at a time, 2000 in all."""
    draw = np.random.default_rng(SEED)
    equal = np.full(count, 1 / count)
    at_once = max(1, _AT_ONCE // count)
    for first in range(0, RESAMPLES, at_once):
        yield draw.multinomial(count, equal, min(at_once, RESAMPLES - first))
