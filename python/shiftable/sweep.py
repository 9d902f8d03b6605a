"""A sweep: a protocol and a plan of shifts; it can be stored and hashed.

Every protocol is a canvas and a set of windows. A window's corner is its anchor (the window centred
on the image) minus the shift, so a positive shift moves the content down and right.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftable._ops import has_kernels
from shiftable.functional import Border, take_windows

Protocol = Literal["crop", "embed", "circular", "shift"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
BORDERS: tuple[Border, ...] = get_args(Border)

# The eight one-pixel steps (dy, dx) from a shift to its neighbours.
DIRECTIONS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))

_MOST = 1_000_000  # shifts of a plan: more are a slip of the keyboard

Shifts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Which shifts (dy, dx), in pixels, every image is seen at.

    Build one with `grid`, `line`, `diagonal` or `random_pairs`.
    """

    kind: Literal["listed", "random_pairs"]
    shifts: tuple[tuple[int, int], ...] = ()  # of a listed plan
    pairs: int = 0  # of random pairs: how many an image
    radius: int = 0  # of random pairs: largest |dy| and |dx|
    seed: int = 0  # of random pairs

    def __post_init__(self) -> None:
        if self.kind == "listed" and len(set(self.shifts)) != len(self.shifts):
            raise ValueError("expected distinct shifts, got the same one twice")
        if len(self) < 1:
            raise ValueError("expected at least one shift, got none")

    def __len__(self) -> int:
        return len(self.shifts) if self.kind == "listed" else 2 * self.pairs

    def shifts_for(self, image: int) -> Shifts:
        """Returns the (S, 2) shifts of image number `image`; random pairs differ by image."""
        if self.kind == "listed":
            return np.array(self.shifts, np.int64).reshape(-1, 2)
        # Python promises that random() repeats for a seed in every version; NumPy does not.
        draw = random.Random(f"{self.seed}:{image}")
        count = (2 * self.radius + 1) ** 2
        drawn: list[int] = []
        for _ in range(self.pairs):
            first = int(draw.random() * count)
            second = int(draw.random() * (count - 1))
            drawn += [first, second + (second >= first)]  # the two of a pair are never the same
        codes = np.array(drawn, np.int64)
        side = 2 * self.radius + 1
        return np.stack([codes // side, codes % side], axis=1) - self.radius

    @property
    def reach(self) -> tuple[int, int, int, int]:
        """The smallest and largest dy, then dx, that any image is shifted by."""
        if self.kind == "random_pairs":
            return -self.radius, self.radius, -self.radius, self.radius
        dy, dx = np.array(self.shifts).reshape(-1, 2).T
        return int(dy.min()), int(dy.max()), int(dx.min()), int(dx.max())

    @property
    def origin(self) -> int:
        """The number of the shift (0, 0) in the plan, or 0 where every shift moves."""
        return self.shifts.index((0, 0)) if (0, 0) in self.shifts else 0

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        """The steps between compared shifts: the eight neighbours, or (0, 0) for "its partner"."""
        return DIRECTIONS if self.kind == "listed" else ((0, 0),)

    def neighbours(self) -> npt.NDArray[np.int64]:
        """Returns (S, directions): the shift one step on, by its number in the plan; -1 for none."""
        if self.kind == "random_pairs":
            return (np.arange(len(self)) ^ 1)[:, None]
        number = {shift: s for s, shift in enumerate(self.shifts)}
        return np.array(
            [
                [number.get((dy + ey, dx + ex), -1) for ey, ex in DIRECTIONS]
                for dy, dx in self.shifts
            ]
        )


def _listed(shifts: Sequence[tuple[int, int]]) -> Plan:
    return Plan("listed", tuple((int(dy), int(dx)) for dy, dx in shifts))


def _steps(kind: str, extent: int | tuple[int, int]) -> range:
    try:
        first, last = extent if isinstance(extent, Sequence) else (-extent, extent)
        steps = range(first, last + 1)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{kind}: expected a radius or (first, last) in whole pixels, got {extent!r}"
        ) from error
    if not 0 < len(steps) <= _MOST:
        raise ValueError(
            f"{kind}: expected a radius >= 0 or (first, last), at most {_MOST} shifts, got {extent}"
        )
    return steps


def grid(extent: int | tuple[int, int]) -> Plan:
    """Plans every shift whose dy and dx both lie in a range, row by row.

    Args:
        extent: a radius r for -r..r, or (first, last), in pixels.

    Examples:
        >>> len(grid(8))
        289
        >>> len(grid((-15, 16)))  # offsets 0..31 of a 224 window in a 256 image
        1024
    """
    steps = _steps("grid", extent)
    if len(steps) ** 2 > _MOST:
        raise ValueError(f"grid: expected at most {_MOST} shifts, got {len(steps) ** 2}")
    return _listed([(dy, dx) for dy in steps for dx in steps])


def line(
    extent: int | tuple[int, int], axis: Literal["horizontal", "vertical"] = "horizontal"
) -> Plan:
    """Plans one-pixel steps along one axis.

    Args:
        extent: a radius r for -r..r, or (first, last), in pixels.
        axis: `horizontal` or `vertical`.

    Examples:
        >>> line(1).shifts
        ((0, -1), (0, 0), (0, 1))
    """
    if axis not in ("horizontal", "vertical"):
        raise ValueError(f"line: unknown axis '{axis}'; known: horizontal, vertical")
    steps = _steps("line", extent)
    return _listed([(0, t) if axis == "horizontal" else (t, 0) for t in steps])


def diagonal(extent: int | tuple[int, int]) -> Plan:
    """Plans the shifts (t, t).

    Args:
        extent: a radius r for t = -r..r, or (first, last), in pixels.

    Examples:
        >>> diagonal(1).shifts
        ((-1, -1), (0, 0), (1, 1))
    """
    return _listed([(t, t) for t in _steps("diagonal", extent)])


def random_pairs(pairs: int, radius: int, seed: int = 0) -> Plan:
    """Plans pairs of distinct random shifts, drawn anew for each image from a seed.

    Args:
        pairs: pairs an image, >= 1.
        radius: largest |dy| and |dx| in pixels, >= 1; both ends occur.
        seed: any integer; the same one gives the same shifts everywhere.

    Examples:
        >>> plan = random_pairs(2, radius=16, seed=7)
        >>> plan.shifts_for(0).shape
        (4, 2)
    """
    if not 1 <= pairs <= _MOST or radius < 1:
        raise ValueError(
            f"random_pairs: expected pairs from 1 to {_MOST} and radius >= 1, got {pairs} and {radius}"
        )
    return Plan("random_pairs", pairs=pairs, radius=radius, seed=seed)


@dataclass(frozen=True)
class Sweep:
    """A protocol, a window size and a plan of shifts.

    Args:
        protocol: what a shift does at the image's edge.
            `crop`: a window slides over a larger photograph; real pixels enter and leave.
            `embed`: a smaller photograph moves over a canvas of one colour.
            `circular`: pixels that leave on one side enter on the other.
            `shift`: what enters follows `border`.
        plan: the shifts, from `grid`, `line`, `diagonal` or `random_pairs`.
        size: (h, w) of the network's input in pixels.
        border: of the `shift` protocol.
        fill: colour of an `embed` canvas and of a `constant` border, one value or one a channel,
            in raw pixel units (0..255 for uint8 images), before any normalisation.

    Raises:
        ValueError: for an unknown protocol or border, or a size below 1.

    References:
        Azulay & Weiss, Why do deep convolutional networks generalize so poorly to small image
        transformations? (JMLR 2019), section 2.

    Examples:
        >>> sweep = Sweep("embed", grid(2), (224, 224))
        >>> sweep.digest == Sweep.from_dict(sweep.to_dict()).digest
        True
    """

    protocol: Protocol
    plan: Plan
    size: tuple[int, int]
    border: Border = "constant"
    fill: tuple[float, ...] | float = (0.0,)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(
                f"Sweep: unknown protocol '{self.protocol}'; known: {', '.join(PROTOCOLS)}"
            )
        if self.border not in BORDERS:
            known = ", ".join(BORDERS)
            raise ValueError(f"Sweep: unknown border '{self.border}'; known: {known}")
        size = (self.size,) * 2 if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or not all(isinstance(side, int) and side >= 1 for side in size):
            raise ValueError(f"Sweep: expected a size (h, w) of whole pixels >= 1, got {self.size}")
        # One spelling, so that equal sweeps have equal digests.
        colour = (self.fill,) if isinstance(self.fill, int | float) else self.fill
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "fill", tuple(float(value) for value in colour))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything that decides which pixels a network sees, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Sweep":
        """Rebuilds a sweep from `to_dict`, also after a round trip through JSON."""
        plan = dict(stored["plan"])
        plan["shifts"] = tuple((int(dy), int(dx)) for dy, dx in plan["shifts"])
        height, width = stored["size"]
        return cls(
            stored["protocol"],
            Plan(**plan),
            (height, width),
            stored["border"],
            tuple(stored["fill"]),
        )

    @property
    def digest(self) -> str:
        """The sweep's SHA-256, as hexadecimal: equal digests mean equal shifts of equal windows."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def corners(self, image_size: tuple[int, int], image: int = 0) -> Tensor:
        """Returns the (S, 2) corners (y, x) of the windows on an image of (H, W) pixels.

        Raises:
            ValueError: if the protocol does not fit the image's size or the shifts leave it.
        """
        self._check(image_size)
        anchor = [(n - w) // 2 for n, w in zip(image_size, self.size, strict=True)]
        return torch.from_numpy(np.array(anchor, np.int64) - self.plan.shifts_for(image))

    def _check(self, image_size: tuple[int, int]) -> None:
        (height, width), (h, w) = image_size, self.size
        what = f"{height}x{width} image and a {h}x{w} window"
        if self.protocol in ("circular", "shift"):
            if (height, width) != (h, w):
                raise ValueError(
                    f"{self.protocol}: expected an image of the window's size, got a {what}"
                )
            return
        top, bottom, left, right = self.plan.reach
        for name, n, m, low, high in (
            ("vertically", height, h, top, bottom),
            ("horizontally", width, w, left, right),
        ):
            if self.protocol == "crop":  # the window stays inside the image
                room_low, room_high = (n - m) // 2 - (n - m), (n - m) // 2
                advice = "take smaller shifts or larger images"
            else:  # the image stays inside the window
                room_low, room_high = (n - m) // 2, (n - m) // 2 + (m - n)
                advice = "take smaller shifts or smaller images"
            if low < room_low or high > room_high:
                raise ValueError(
                    f"{self.protocol}: expected shifts from {room_low} to {room_high} {name} for a "
                    f"{what}, got {low} to {high}; {advice}"
                )

    def windows(self, image: Tensor, corners: Tensor, **output: Any) -> Tensor:
        """Returns the windows (S, C, h, w) of one image (C, H, W) at the given corners.

        Args:
            image: uint8 or floating, as in `take_windows`.
            corners: (S, 2), some or all of `self.corners(...)`.
            output: `scale`, `bias`, `dtype`, `memory_format` and `out` of `take_windows`.
        """
        borders: dict[Protocol, Border] = {"shift": self.border, "circular": "circular"}
        border = borders.get(self.protocol, "constant")
        return take_windows(
            image[None], corners, self.size, border=border, fill=self.fill, **output
        )[0]

    def batches(
        self,
        images: Sequence[Tensor] | Tensor,
        chunk: int = 8,
        *,
        scale: float | Sequence[float] | None = None,
        bias: float | Sequence[float] | None = None,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.channels_last,
        device: torch.device | str | None = None,
    ) -> Iterator[tuple[int, range, Tensor]]:
        """Yields the windows of every image, a chunk at a time, in one buffer that is refilled.

        Args:
            images: `(C, H, W)` each, uint8 or floating; read one at a time.
            chunk: most windows at a time, >= 1; a chunk never holds two images.
            scale: as in `take_windows`.
            bias: as in `take_windows`.
            dtype: of the windows.
            memory_format: of the windows.
            device: where the windows are cut, to which images are moved; by default where an image
                lies. The CPU where the operators do not run on that device.

        Yields:
            The image's number, the numbers of its shifts in the plan, and their windows
            `(B, C, h, w)`: use or copy them before the next are asked for, which overwrites them.

        Raises:
            ValueError: for an image that is not `(C, H, W)` or does not suit the sweep.

        Examples:
            >>> sweep = Sweep("circular", line(2), (8, 8))
            >>> [list(shifts) for _, shifts, _ in sweep.batches([torch.zeros(3, 8, 8)], chunk=3)]
            [[0, 1, 2], [3, 4]]
        """
        if chunk < 1:
            raise ValueError(f"batches: expected chunk >= 1, got {chunk}")
        buffer: Tensor | None = None
        for number in range(len(images)):
            image = images[number]
            place = image.device if device is None else torch.device(device)
            image = image.to(place if has_kernels(place) else "cpu")
            if image.ndim != 3:
                raise ValueError(f"batches: expected images (C, H, W), got {tuple(image.shape)}")
            corners = self.corners((image.shape[1], image.shape[2]), number)
            for first in range(0, len(corners), chunk):
                part = corners[first : first + chunk]
                shape = (len(part), image.shape[0], *self.size)
                if (
                    buffer is None
                    or buffer.device != image.device
                    or buffer.shape[1] != shape[1]
                    or len(buffer) < len(part)
                ):
                    buffer = torch.empty(
                        shape, dtype=dtype, memory_format=memory_format, device=image.device
                    )
                windows = buffer[: len(part)]
                self.windows(image, part, scale=scale, bias=bias, out=windows[None])
                yield number, range(first, first + len(part)), windows
