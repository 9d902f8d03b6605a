"""The mean of a finite population, from a sample without replacement looked at any time."""

import math
import random
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_POINTS = 8001  # of the grid of possible means
_AT_ONCE = 1_000_000  # numbers of the table of draws times points
_MOST_BET = 0.75  # of the capital, on one draw

Floats = npt.NDArray[np.float64]


class ConfidenceSequence:
    """An interval for a finite population's mean, valid at all times at once.

    Numbers in [0, 1] are drawn without replacement in random order. The interval covers the mean of
    the whole population with the given probability however often one looks, so that one may stop
    as soon as it is narrow enough.

    For each possible mean two bets are held against it, one that the numbers are larger and one
    that they are smaller. Where it is the true mean no bet wins much: a capital of 2 / (1 - level)
    is reached with probability (1 - level) / 2 at most. What is so refuted is outside the interval.

    Args:
        population: how many numbers there are, >= 1.
        level: the coverage, in (0, 1).
        aim: the width at which one means to stop, in (0, 1): bets are made to get there soonest.
            The interval is valid at every width.

    Raises:
        ValueError: for another population, level or aim.

    References:
        Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting (JRSS-B
        2023), section 5; and Confidence sequences for sampling without replacement (NeurIPS 2020).

    Examples:
        >>> sequence = ConfidenceSequence(1000)
        >>> sequence.update([0.0] * 100)
        >>> 0 == sequence.low < sequence.high < 0.06
        True
    """

    def __init__(self, population: int, level: float = 0.95, aim: float = 0.05) -> None:
        if population < 1:
            raise ValueError(f"expected a population >= 1, got {population}")
        if not 0 < level < 1:
            raise ValueError(f"expected a level between 0 and 1, got {level}")
        if not 0 < aim < 1:
            raise ValueError(f"expected an aim between 0 and 1, got {aim}")
        self._population = population
        self._aim = aim
        self._refuted = math.log(2 / (1 - level))  # at this log capital
        self._points: Floats = np.linspace(0, 1, _POINTS)
        # Log capital of the bets that the numbers are larger, and smaller, than each point says.
        self._larger: Floats = np.zeros(_POINTS)
        self._smaller: Floats = np.zeros(_POINTS)
        self._sum = 0.0
        self._squares = 0.25  # of deviations from the running mean, from one made-up number
        self.count = 0
        self.low, self.high = 0.0, 1.0

    @property
    def mean(self) -> float:
        """Of the numbers drawn so far; NaN before the first."""
        return self._sum / self.count if self.count else math.nan

    @property
    def width(self) -> float:
        """Of the interval."""
        return self.high - self.low

    def update(self, values: npt.ArrayLike) -> None:
        """Takes the next numbers, in the order in which they were drawn.

        Args:
            values: (n,) numbers in [0, 1].

        Raises:
            ValueError: for other numbers, or more than the population has.
        """
        drawn = np.asarray(values, np.float64).reshape(-1)
        if not ((drawn >= 0) & (drawn <= 1)).all():
            raise ValueError("expected numbers from 0 to 1, got others")
        if self.count + len(drawn) > self._population:
            raise ValueError(
                f"expected {self._population} numbers at most, got {self.count + len(drawn)}"
            )
        done = 0
        while done < len(drawn):
            part = drawn[done : done + max(1, _AT_ONCE // len(self._points))]
            self._bet(part)
            self._narrow()
            done += len(part)

    def _bet(self, values: Floats) -> None:
        """Bets on each number, from what was known before it."""
        count = self.count + np.arange(len(values))  # numbers known before each
        sums = self._sum + np.concatenate([[0.0], np.cumsum(values)[:-1]])
        # The mean and spread of those, with one made-up number of 1/2 among them.
        means = (sums + values + 0.5) / (count + 2)
        squares = self._squares + np.cumsum((values - means) ** 2)
        spread = np.concatenate([[self._squares], squares[:-1]]) / (count + 1)
        # A mean so far away is refuted soonest by bets of distance / variance (Kelly's).
        size = (self._aim / 2 / spread)[:, None]
        # What the mean of all that is left would be, for each point and each number.
        left = (self._population * self._points - sums[:, None]) / (self._population - count)[
            :, None
        ]
        left = np.clip(left, 1e-12, 1 - 1e-12)  # what is impossible is excluded by `_narrow`
        edge = values[:, None] - left
        # At most so much that no draw can ruin it. Each factor falls (rises) with the point: where
        # the bet is capped it is 1 - c + c * x / left. So the refuted points lie below (above).
        self._larger += np.log1p(np.minimum(size, _MOST_BET / left) * edge).sum(0)
        self._smaller += np.log1p(-np.minimum(size, _MOST_BET / (1 - left)) * edge).sum(0)
        self.count += len(values)
        self._sum += float(values.sum())
        self._squares = float(squares[-1])

    def _narrow(self) -> None:
        below = self._points[self._larger >= self._refuted]
        above = self._points[self._smaller >= self._refuted]
        unseen = self._population - self.count
        least, most = self._sum / self._population, (self._sum + unseen) / self._population
        self.low = max([self.low, least, *below[-1:].tolist()])
        self.high = min([self.high, most, *above[:1].tolist()])
        if self.low > self.high:  # they contradict one another, as they may with 1 - level
            self.low, self.high = max(self.high, least), min(self.low, most)
        # Points already refuted need no more bets, but for the nearest on either side.
        first = max(0, int(np.searchsorted(self._points, self.low)) - 1)
        last = int(np.searchsorted(self._points, self.high, "right")) + 1
        self._points, self._larger, self._smaller = (
            values[first:last] for values in (self._points, self._larger, self._smaller)
        )


def shuffled(population: int, seed: int) -> Iterator[int]:
    """Yields 0..population-1 in a uniformly random order, without holding all of them.

    Args:
        population: how many there are.
        seed: any integer; the same one gives the same order everywhere.

    Examples:
        >>> sorted(shuffled(5, seed=1))
        [0, 1, 2, 3, 4]
    """
    # Fisher and Yates' shuffle, of which only the places that differ from their number are kept.
    draw = random.Random(seed)  # whose random() alone Python promises to repeat
    moved: dict[int, int] = {}
    for left in range(population, 0, -1):
        place = int(draw.random() * left)
        yield moved.get(place, place)
        last = moved.pop(left - 1, left - 1)
        if place != left - 1:
            moved[place] = last
