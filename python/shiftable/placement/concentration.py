"""How far the places of objects are from uniform: three numbers, each with what uniform gives."""

import math

import numpy as np

from shiftable.intervals import Estimate, estimate_counts
from shiftable.placement.objects import Numbers, Objects

GRID = 9  # cells along an axis; the middle ninth of the image is 3 x 3 of them
MOST_BITS = math.log2(GRID**2)  # of a single place: 6.34
FEWEST = 2 * GRID**2  # objects; with fewer the bias left in the information is above 0.1 bits


def information(relative: Numbers, expected: Numbers | None = None) -> float | None:
    """How many bits the places hold against uniform ones: a Kullback-Leibler divergence.

    sum of p log2(p / q) over the 9 x 9 cells of the image, where p is the share of centres in a
    cell and q what was expected there; less (m - 1) / (2 N ln 2), the first-order bias of counting
    N centres in m cells (Miller-Madow), but never below 0. Against uniform places (q = 1/81):
    uniform centres give 0 bits, those spread over the middle ninth alone log2(81 / 9) = 3.17, and
    one place for all log2(81) = 6.34.

    Args:
        relative: (N, 2) centres from -0.5 to 0.5.
        expected: (9, 9) shares to hold them against, > 0 wherever there is a centre; by default
            uniform ones.

    Returns:
        None for fewer than 162 centres, two a cell: so many uniform ones still seem to hold 0.10
        bits after the correction, and half as many 0.37.

    References:
        Miller, Note on the bias of information estimates (1955).

    Examples:
        >>> round(information(np.zeros((200, 2))), 2)
        6.34
    """
    if len(relative) < FEWEST:
        return None
    counts = cells(relative)
    share = counts / counts.sum()
    held = share > 0
    uniform = np.full_like(share, 1 / share.size)
    against = (uniform if expected is None else expected)[held]
    found = float((share[held] * np.log2(share[held] / against)).sum())
    bias = (int(held.sum()) - 1) / (2 * len(relative) * math.log(2))
    return max(0.0, found - bias)


def cells(relative: Numbers, grid: int = GRID) -> Numbers:
    """Returns (grid, grid): how many centres lie in each cell of the image."""
    row, column = np.clip(np.floor((relative + 0.5) * grid), 0, grid - 1).astype(np.int64).T
    counts = np.bincount(row * grid + column, minlength=grid**2).reshape(grid, grid)
    return counts.astype(np.float64)


def placed_anywhere(objects: Objects) -> Numbers:
    """Returns (9, 9): where the centres would be if each box lay anywhere in its image.

    Every place at which the whole box is in the image is as likely as any other. Large boxes are
    then central too: what is left over this is not for their size.
    """
    edges = np.arange(GRID + 1) / GRID - 0.5
    low, high = objects.reach[:, 0], objects.reach[:, 1]  # (N, 2)
    passed = (edges - low[..., None]) / (high - low)[..., None]  # (N, 2, 10)
    passed[..., 0], passed[..., -1] = 0, 1  # a reach of a pixel may stick out of the image by half
    share = np.diff(passed.clip(0, 1), axis=2)
    both: Numbers = np.einsum("ny,nx->yx", share[:, 0], share[:, 1]) / max(1, len(objects))
    return both


def middle_share(objects: Objects) -> Estimate:
    """The share of objects whose centre is in the middle ninth of the image.

    abs(y) <= 1/6 and abs(x) <= 1/6 of the sides: 1/9 of uniform centres, all of a central place. Its
    interval is bootstrapped over images, since objects of one image are not independent.
    """
    central = (np.abs(objects.relative) <= 1 / 6 + 1e-9).all(1)
    count = len(objects.images)
    hits = np.bincount(objects.image, central, count).astype(np.float64)
    return estimate_counts((hits, np.bincount(objects.image, minlength=count).astype(np.float64)))


def spread(relative: Numbers) -> tuple[float | None, float | None]:
    """The standard deviation of the centres along y and x over that of uniform ones, 1/sqrt(12).

    Uniform centres give 1, a single place 0, two halves at opposite edges sqrt(3). The variance is
    the unbiased one; None for a single object.
    """
    if len(relative) < 2:
        return None, None
    y, x = relative.std(0, ddof=1) * math.sqrt(12)
    return float(y), float(x)
