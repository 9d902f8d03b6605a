"""Which shifts every image is seen at, in what order, and which of them are compared.

A plan is one of three: the same listed shifts for every image, random groups of shifts drawn for
each image from a seed, or given groups of shifts by image.
"""

import math
import operator
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

Direction = Literal[
    "up_left", "up", "up_right", "left", "right", "down_left", "down", "down_right",
    "larger", "smaller",
]  # fmt: skip

# Where the content goes in one step: (dy, dx) in steps, and pixels added to its shorter side.
# The paper's diagonal moves the window's corner by (1, 1), so the content by (-1, -1): up_left.
DIRECTIONS: dict[Direction, tuple[int, int, int]] = {
    "up_left": (-1, -1, 0),
    "up": (-1, 0, 0),
    "up_right": (-1, 1, 0),
    "left": (0, -1, 0),
    "right": (0, 1, 0),
    "down_left": (1, -1, 0),
    "down": (1, 0, 0),
    "down_right": (1, 1, 0),
    "larger": (0, 0, 1),
    "smaller": (0, 0, -1),
}

Shifts = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST = 1_000_000  # shifts of a plan: more are a slip of the keyboard
_LARGEST = 1000  # shifts of a group: each is held against each
_MICRO = 1_000_000  # two shifts are the same where they agree to a millionth of a pixel


def _plain(value: float) -> int | float:
    """One spelling a number, so that equal plans have equal digests: whole ones are integers."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded


def _whole(what: str, value: int) -> int:
    """A whole number, of whatever type."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise ValueError(f"expected a whole number of {what}, got {value}") from error


def _array(shifts: Sequence[tuple[float, float]]) -> Shifts:
    """(S, 2), of integers where all shifts are whole."""
    values = np.array(shifts, np.float64).reshape(-1, 2)
    return values.astype(np.int64) if (values == np.rint(values)).all() else values


class Plan:
    """What all plans have in common; build one with `grid`, `line`, `random_pairs` and the others."""

    kind: ClassVar[Literal["listed", "random", "by_image"]]
    group: int  # shifts compared with one another; 0 for a listed plan, whose steps are compared

    def __len__(self) -> int:
        """Shifts an image, S."""
        raise NotImplementedError

    def shifts_for(self, image: int) -> Shifts:
        """Returns the (S, 2) shifts (dy, dx) of image number `image`, in pixels."""
        raise NotImplementedError

    @property
    def reach(self) -> tuple[float, float, float, float]:
        """The smallest and largest dy, then dx, that any image is shifted by."""
        raise NotImplementedError

    @property
    def whole(self) -> bool:
        """Whether every shift is a whole number of pixels."""
        raise NotImplementedError

    @property
    def images(self) -> int | None:
        """How many images the plan is for; None for any number."""
        return None

    @property
    def growth(self) -> Integers:
        """(S,): pixels by which the image's shorter side is longer at each shift."""
        return np.zeros(len(self), np.int64)

    @property
    def origin(self) -> int:
        """The number of the shift (0, 0) at the image's own size, or 0 where there is none."""
        return 0

    @property
    def has_origin(self) -> bool:
        """Whether every image is seen unshifted, at its own size, and that at `origin`."""
        return False

    @property
    def directions(self) -> tuple[Direction, ...] | tuple[Literal["partner"]]:
        """The steps between compared shifts; in a group it is "the next one", called partner."""
        return ("partner",)

    @cached_property
    def neighbours(self) -> Integers:
        """(S, directions): the shift one step on, by its number in the plan; -1 for none."""
        start = np.arange(len(self)) // self.group * self.group
        return (start + (np.arange(len(self)) - start + 1) % self.group)[:, None]

    @cached_property
    def order(self) -> Integers:
        """(S,): the order in which a network sees the shifts: the unshifted image comes first.

        So the class that the others are held against is known from the start.
        """
        rest = np.arange(len(self))
        return np.concatenate([rest[[self.origin]], np.delete(rest, self.origin)])

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class ListedPlan(Plan):
    """The same shifts for every image, compared with those one step away.

    Args:
        shifts: (dy, dx) in pixels, distinct.
        sizes: pixels added to the image's shorter side at each shift; empty for none anywhere.
        step: pixels between shifts that are compared.
    """

    shifts: tuple[tuple[float, float], ...]
    sizes: tuple[int, ...] = ()
    step: float = 1

    kind = "listed"
    group = 0

    def __post_init__(self) -> None:
        shifts = tuple((_plain(dy), _plain(dx)) for dy, dx in self.shifts)
        object.__setattr__(self, "shifts", shifts)
        object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        object.__setattr__(self, "step", _plain(self.step))
        if not 1 <= len(shifts) <= _MOST:
            raise ValueError(f"expected 1 to {_MOST} shifts, got {len(shifts)}")
        if self.sizes and len(self.sizes) != len(shifts):
            raise ValueError(f"expected a size for each of {len(shifts)} shifts, got {self.sizes}")
        if not np.isfinite(_array(shifts)).all():
            raise ValueError("expected finite shifts, got NaN or infinity")
        if len(set(zip(shifts, self.growth.tolist(), strict=True))) != len(shifts):
            raise ValueError("expected distinct shifts, got the same one twice")
        if not 0 < self.step < math.inf:
            raise ValueError(f"expected a step > 0 between compared shifts, got {self.step}")

    def __len__(self) -> int:
        return len(self.shifts)

    @cached_property
    def _shifts(self) -> Shifts:
        return _array(self.shifts)

    def shifts_for(self, image: int) -> Shifts:
        """Returns the (S, 2) shifts, the same for every image."""
        return self._shifts

    @property
    def reach(self) -> tuple[float, float, float, float]:
        """The smallest and largest dy, then dx."""
        low, high = self._shifts.min(0), self._shifts.max(0)
        return low[0].item(), high[0].item(), low[1].item(), high[1].item()

    @property
    def whole(self) -> bool:
        """Whether every shift is a whole number of pixels."""
        return self._shifts.dtype == np.int64

    @property
    def growth(self) -> Integers:
        """(S,): pixels by which the image's shorter side is longer at each shift."""
        return np.array(self.sizes or (0,) * len(self), np.int64)

    @cached_property
    def origin(self) -> int:
        """The number of the shift (0, 0) at the image's own size, or 0 where every shift moves."""
        rest = np.flatnonzero((self._shifts == 0).all(1) & (self.growth == 0))
        return int(rest[0]) if len(rest) else 0

    @property
    def has_origin(self) -> bool:
        """Whether the image is seen unshifted, at its own size."""
        return self.shifts[self.origin] == (0, 0) and self.growth[self.origin] == 0

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """The eight steps to a neighbour, and to the next size where the plan holds several."""
        sized = len(set(self.sizes)) > 1
        return tuple(name for name, step in DIRECTIONS.items() if sized or step[2] == 0)

    @cached_property
    def neighbours(self) -> Integers:
        """(S, directions): the shift one step on, by its number in the plan; -1 for none."""
        places = np.column_stack(
            [np.rint(self._shifts * _MICRO).astype(np.int64), self.growth.astype(np.int64)]
        )
        step = round(self.step * _MICRO)
        # A place outside the box of all places is no shift's; inside, one integer stands for it.
        low, extent = places.min(0), np.ptp(places, axis=0) + 1
        code = [int(extent[1]) * int(extent[2]), int(extent[2]), 1]
        if code[0] * int(extent[0]) >= 2**63:
            raise ValueError("expected shifts nearer to one another, got some too far apart")
        known = (places - low) @ np.array(code)
        by_code = np.argsort(known)
        found = np.full((len(self), len(self.directions)), -1)
        for number, name in enumerate(self.directions):
            dy, dx, growth = DIRECTIONS[name]
            at = places + np.array([dy * step, dx * step, growth]) - low
            wanted = at @ np.array(code)
            place = by_code[
                np.minimum(np.searchsorted(known, wanted, sorter=by_code), len(self) - 1)
            ]
            there = ((at >= 0) & (at < extent)).all(1) & (known[place] == wanted)
            found[there, number] = place[there]
        return found


@dataclass(frozen=True)
class RandomPlan(Plan):
    """Groups of distinct random shifts, drawn anew for each image; those of a group are compared.

    Args:
        groups: of each image.
        group: shifts of a group, >= 2.
        radius: largest |dy| and |dx| in pixels.
        spacing: shifts are multiples of it.
        seed: any integer.
        at_rest: whether the first of each group is (0, 0) and the others are elsewhere.
    """

    groups: int
    group: int
    radius: float
    spacing: float = 1
    seed: int = 0
    at_rest: bool = False

    kind = "random"

    def __post_init__(self) -> None:
        for name in ("groups", "group", "seed"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        object.__setattr__(self, "radius", _plain(self.radius))
        object.__setattr__(self, "spacing", _plain(self.spacing))
        if self.groups < 1 or self.group < 2 or self.groups * self.group > _MOST:
            raise ValueError(
                f"expected >= 1 groups of >= 2 shifts, at most {_MOST} in all, got {self.groups} "
                f"of {self.group}"
            )
        if not 0 < self.spacing <= self.radius or self.radius / self.spacing > 2**20:
            raise ValueError(
                "expected a radius >= the spacing > 0, a million times as large at most, got "
                f"{self.radius} and {self.spacing}"
            )
        if self.group > _LARGEST:
            raise ValueError(f"expected at most {_LARGEST} shifts in a group, got {self.group}")
        if self.group > self._side**2:
            raise ValueError(
                f"expected groups of distinct shifts, got {self.group} out of {self._side**2}"
            )

    def __len__(self) -> int:
        return self.groups * self.group

    @property
    def _side(self) -> int:
        """Different shifts along an axis."""
        return 2 * int(self.radius / self.spacing + 1e-9) + 1

    def shifts_for(self, image: int) -> Shifts:
        """Returns the (S, 2) shifts of image number `image`, group by group."""
        # Python promises that random() repeats for a seed in every version; NumPy does not.
        draw = random.Random(f"{self.seed}:{image}")
        side = self._side
        rest = side**2 // 2  # the code of (0, 0)
        drawn: list[int] = []
        for _ in range(self.groups):
            members = [rest] if self.at_rest else []
            while len(members) < self.group:
                code = int(draw.random() * (side**2 - len(members)))
                for taken in sorted(members):  # the code-th of those that are left
                    code += code >= taken
                members.append(code)
            drawn += members
        codes = np.array(drawn, np.int64)
        steps = np.stack([codes // side, codes % side], axis=1) - side // 2
        return steps if self.spacing == 1 else _array(np.round(steps * self.spacing, 6))  # type: ignore[arg-type]

    @property
    def reach(self) -> tuple[float, float, float, float]:
        """The smallest and largest dy, then dx, that may be drawn."""
        return -self.radius, self.radius, -self.radius, self.radius

    @property
    def whole(self) -> bool:
        """Whether every shift is a whole number of pixels."""
        return float(self.spacing).is_integer()

    @property
    def has_origin(self) -> bool:
        """Whether every image is seen unshifted."""
        return self.at_rest


@dataclass(frozen=True)
class PlanByImage(Plan):
    """Given shifts for each image, in groups that are compared.

    Args:
        by_image: for each image its S shifts (dy, dx) in pixels, group after group.
        group: shifts of a group, >= 2.
    """

    by_image: tuple[tuple[tuple[float, float], ...], ...]
    group: int = 2

    kind = "by_image"

    def __post_init__(self) -> None:
        plain = tuple(
            tuple((_plain(dy), _plain(dx)) for dy, dx in shifts) for shifts in self.by_image
        )
        object.__setattr__(self, "by_image", plain)
        object.__setattr__(self, "group", _whole("shifts in a group", self.group))
        counts = {len(shifts) for shifts in plain}
        if len(counts) != 1 or not 1 <= (count := max(counts)) <= _MOST:
            raise ValueError(f"expected as many shifts for every image, got {sorted(counts)}")
        if not 2 <= self.group <= _LARGEST or count % self.group:
            raise ValueError(
                f"expected groups of 2 to {_LARGEST} shifts that divide {count}, got groups of "
                f"{self.group}"
            )
        if not np.isfinite(self._all).all():
            raise ValueError("expected finite shifts, got NaN or infinity")

    def __len__(self) -> int:
        return len(self.by_image[0])

    @cached_property
    def _all(self) -> Shifts:
        return _array([shift for shifts in self.by_image for shift in shifts])

    def shifts_for(self, image: int) -> Shifts:
        """Returns the (S, 2) shifts of image number `image`."""
        return self._all[image * len(self) : (image + 1) * len(self)]

    @property
    def reach(self) -> tuple[float, float, float, float]:
        """The smallest and largest dy, then dx, of any image."""
        low, high = self._all.min(0), self._all.max(0)
        return low[0].item(), high[0].item(), low[1].item(), high[1].item()

    @property
    def whole(self) -> bool:
        """Whether every shift is a whole number of pixels."""
        return self._all.dtype == np.int64

    @property
    def images(self) -> int:
        """How many images the plan is for."""
        return len(self.by_image)

    @cached_property
    def has_origin(self) -> bool:
        """Whether every image's first shift is (0, 0)."""
        return all(shifts[0] == (0, 0) for shifts in self.by_image)


_KINDS: dict[str, type[Plan]] = {plan.kind: plan for plan in (ListedPlan, RandomPlan, PlanByImage)}


def plan_from_dict(stored: Mapping[str, Any]) -> Plan:
    """Rebuilds a plan from `to_dict`, also after a round trip through JSON."""
    fields = dict(stored)
    kind = _KINDS[fields.pop("kind")]
    if "shifts" in fields:
        fields["shifts"] = tuple((dy, dx) for dy, dx in fields["shifts"])
        fields["sizes"] = tuple(fields["sizes"])
    if "by_image" in fields:
        fields["by_image"] = tuple(tuple((dy, dx) for dy, dx in one) for one in fields["by_image"])
    return kind(**fields)


# -- building one ---------------------------------------------------------------------------------

Extent = float | tuple[float, float]


def _steps(what: str, extent: Extent, spacing: float = 1) -> list[float]:
    """The multiples of `spacing`, to a millionth of a pixel, in a range."""
    try:
        spacing = _plain(spacing)
        first, last = extent if isinstance(extent, Sequence) else (-extent, extent)
        low, high = np.ceil(first / spacing - 1e-9), np.floor(last / spacing + 1e-9)
        count = high - low + 1
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(
            f"{what}: expected a radius or (first, last) in pixels and a spacing > 0, got "
            f"{extent!r} and {spacing!r}"
        ) from error
    if spacing <= 0 or not 1 <= count <= _MOST:
        raise ValueError(
            f"{what}: expected a radius >= 0 or (first, last), a spacing > 0 and at most {_MOST} "
            f"shifts, got {extent} and {spacing}"
        )
    return [_plain(number * spacing) for number in range(int(low), int(high) + 1)]


def _listed(
    what: str,
    shifts: Sequence[tuple[float, float]],
    spacing: float,
    step: float | None,
    sizes: Extent,
) -> ListedPlan:
    growth = _steps(f"{what}: sizes", sizes)
    if len(shifts) * len(growth) > _MOST:
        raise ValueError(
            f"{what}: expected at most {_MOST} shifts, got {len(shifts)} at {len(growth)} size(s)"
        )
    return ListedPlan(
        tuple(shifts) * len(growth),
        () if growth == [0] else tuple(int(size) for size in growth for _ in shifts),
        spacing if step is None else step,
    )


def grid(
    extent: Extent, *, spacing: float = 1, step: float | None = None, sizes: Extent = 0
) -> ListedPlan:
    """Plans every shift whose dy and dx both lie in a range, row by row.

    Args:
        extent: a radius r for -r..r, or (first, last), in pixels.
        spacing: between shifts, in pixels; below 1 for sub-pixel shifts.
        step: pixels between the shifts that metrics compare; by default the spacing.
        sizes: all of it at every size in a range: pixels added to the image's shorter side.

    Examples:
        >>> len(grid(8))
        289
        >>> len(grid((-15, 16)))  # offsets 0..31 of a 224 window in a 256 image
        1024
        >>> len(grid(1, spacing=0.25)), len(grid(1, sizes=(-2, 2)))
        (81, 45)
    """
    steps = _steps("grid", extent, spacing)
    if len(steps) ** 2 > _MOST:
        raise ValueError(f"grid: expected at most {_MOST} shifts, got {len(steps) ** 2}")
    return _listed("grid", [(dy, dx) for dy in steps for dx in steps], spacing, step, sizes)


def line(
    extent: Extent,
    axis: Literal["horizontal", "vertical"] = "horizontal",
    *,
    spacing: float = 1,
    step: float | None = None,
    sizes: Extent = 0,
) -> ListedPlan:
    """Plans shifts along one axis.

    Args:
        extent: a radius r for -r..r, or (first, last), in pixels.
        axis: `horizontal` or `vertical`.
        spacing: as in `grid`.
        step: as in `grid`; ImageNet-P's difficulty.
        sizes: as in `grid`.

    Examples:
        >>> line(1).shifts
        ((0, -1), (0, 0), (0, 1))
    """
    if axis not in ("horizontal", "vertical"):
        raise ValueError(f"line: unknown axis '{axis}'; known: horizontal, vertical")
    steps = _steps("line", extent, spacing)
    shifts: list[tuple[float, float]] = [(0, t) if axis == "horizontal" else (t, 0) for t in steps]
    return _listed("line", shifts, spacing, step, sizes)


def diagonal(
    extent: Extent, *, spacing: float = 1, step: float | None = None, sizes: Extent = 0
) -> ListedPlan:
    """Plans the shifts (t, t).

    Args:
        extent: a radius r for t = -r..r, or (first, last), in pixels.
        spacing: as in `grid`.
        step: as in `grid`.
        sizes: as in `grid`.

    Examples:
        >>> diagonal(1).shifts
        ((-1, -1), (0, 0), (1, 1))
    """
    steps = _steps("diagonal", extent, spacing)
    return _listed("diagonal", [(t, t) for t in steps], spacing, step, sizes)


def sizes(extent: Extent) -> ListedPlan:
    """Plans one-pixel steps of the image's size, without a shift: its top left corner stays.

    Args:
        extent: a radius r for -r..r, or (first, last): pixels added to the image's shorter side.

    References:
        Azulay & Weiss (JMLR 2019), section 2: the scale protocol.

    Examples:
        >>> sizes(1).sizes
        (-1, 0, 1)
    """
    return _listed("sizes", [(0, 0)], 1, None, extent)


def listed(shifts: Sequence[tuple[float, float]], *, step: float = 1) -> ListedPlan:
    """Plans the given shifts for every image.

    Args:
        shifts: distinct (dy, dx) in pixels.
        step: pixels between the shifts that metrics compare.

    Examples:
        >>> len(listed([(0, 0), (0, 7)], step=7))
        2
    """
    return ListedPlan(tuple((dy, dx) for dy, dx in shifts), (), step)


def random_groups(
    groups: int,
    size: int,
    radius: float,
    *,
    seed: int = 0,
    spacing: float = 1,
    at_rest: bool = False,
) -> RandomPlan:
    """Plans groups of distinct random shifts, drawn anew for each image from a seed.

    Args:
        groups: of each image, >= 1.
        size: shifts of a group, >= 2.
        radius: largest |dy| and |dx| in pixels; both ends occur.
        seed: any integer; the same one gives the same shifts everywhere.
        spacing: shifts are multiples of it; below 1 for sub-pixel shifts.
        at_rest: whether the first shift of each group is (0, 0).

    Examples:
        >>> random_groups(2, 3, radius=16, at_rest=True).shifts_for(5)[::3].tolist()
        [[0, 0], [0, 0]]
    """
    return RandomPlan(groups, size, radius, spacing, seed, at_rest)


def random_pairs(pairs: int, radius: float, seed: int = 0, *, spacing: float = 1) -> RandomPlan:
    """Plans pairs of distinct random shifts: `random_groups` of two.

    Examples:
        >>> plan = random_pairs(2, radius=16, seed=7)
        >>> plan.shifts_for(0).shape
        (4, 2)
    """
    return RandomPlan(pairs, 2, radius, spacing, seed)


def by_image(shifts: Sequence[Sequence[tuple[float, float]]], *, group: int = 2) -> PlanByImage:
    """Plans given shifts for each image, for instance those that another program drew.

    Args:
        shifts: for each image as many shifts (dy, dx), group after group; they may repeat.
        group: shifts that are compared with one another.

    Examples:
        >>> plan = by_image([[(0, 0), (3, 1)], [(2, 2), (2, 2)]])
        >>> plan.shifts_for(1).tolist()
        [[2, 2], [2, 2]]
    """
    return PlanByImage(tuple(tuple((dy, dx) for dy, dx in one) for one in shifts), group)
