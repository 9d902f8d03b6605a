"""A sweep: a protocol and a plan of shifts; it can be stored and hashed.

Every protocol is a canvas and a set of windows. A window's corner is its anchor (the window centred
on the image) minus the shift, so a positive shift moves the content down and right.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from shiftable._ops import has_kernels
from shiftable.canvas import fourier_shifted, grown, inpainted, resized
from shiftable.functional import Border, Interpolation, take_windows
from shiftable.plan import Integers, Plan, plan_from_dict

Protocol = Literal["crop", "embed", "circular", "shift"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
BORDERS: tuple[Border, ...] = get_args(Border)
# Between pixels: by a window's own filter, or the whole image's by its Fourier transform.
SweepInterpolation = Literal[Interpolation, "fourier"]
INTERPOLATIONS: tuple[SweepInterpolation, ...] = (*get_args(Interpolation), "fourier")
Fill = tuple[float, ...] | float | Literal["inpaint"]

_TAPS = 3  # pixels that the longest interpolation (lanczos3) reads beyond a window


@dataclass(frozen=True)
class Sweep:
    """A protocol, a window size and a plan of shifts.

    Args:
        protocol: what a shift does at the image's edge.
            `crop`: a window slides over a larger photograph; real pixels enter and leave.
            `embed`: a smaller photograph moves over a canvas.
            `circular`: pixels that leave on one side enter on the other.
            `shift`: what enters follows `border`.
        plan: the shifts, from `grid`, `line`, `diagonal`, `sizes`, `random_pairs` and the others of
            `shiftable.plan`.
        size: (h, w) of the network's input in pixels.
        border: of the `shift` protocol: `constant` (the default), `reflect` or `replicate`.
        fill: colour of an `embed` canvas and of a `constant` border, one value or one a channel,
            in raw pixel units (0..255 for uint8 images), before any normalisation; 0 by default.
            For `embed` also `inpaint`: the photograph continued by an iterated normalised blur,
            which moves along with it.
        interpolation: of a plan with shifts between pixels: `linear` (the default), `cubic` or
            `lanczos3`; for `circular` also `fourier`, the ideal band-limited shift.

    Raises:
        ValueError: for an unknown name, a size below 1, or a combination that makes no sense.

    References:
        Azulay & Weiss, Why do deep convolutional networks generalize so poorly to small image
        transformations? (JMLR 2019), section 2.

    Examples:
        >>> from shiftable import grid
        >>> sweep = Sweep("embed", grid(2), (224, 224))
        >>> sweep.digest == Sweep.from_dict(sweep.to_dict()).digest
        True
    """

    protocol: Protocol
    plan: Plan
    size: tuple[int, int]
    border: Border | None = None
    fill: Fill | None = None
    interpolation: SweepInterpolation | None = None

    def __post_init__(self) -> None:
        for what, value, known in (
            ("protocol", self.protocol, PROTOCOLS),
            ("border", self.border, (None, *BORDERS)),
            ("interpolation", self.interpolation, (None, *INTERPOLATIONS)),
        ):
            if value not in known:
                names = ", ".join(name for name in known if name)
                raise ValueError(f"Sweep: unknown {what} '{value}'; known: {names}")
        size = (self.size,) * 2 if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or not all(isinstance(side, int) and side >= 1 for side in size):
            raise ValueError(f"Sweep: expected a size (h, w) of whole pixels >= 1, got {self.size}")
        object.__setattr__(self, "size", size)
        self._refuse_nonsense()
        self._spell_out()

    def _refuse_nonsense(self) -> None:
        """Every combination that would be ignored, or mean something else than it says."""
        nonsense = (
            (
                self.border is not None and self.protocol != "shift",
                f"a border is of the shift protocol, got '{self.border}' for {self.protocol}",
            ),
            (
                self.border == "circular",
                "what leaves on one side and enters on the other is the circular protocol",
            ),
            (
                self.fill is not None and not self._has_colour,
                f"{self.protocol} with border {self.border} shows no fill, got {self.fill}"
                if self.protocol == "shift"
                else f"{self.protocol} shows no fill, got {self.fill}",
            ),
            (
                isinstance(self.fill, str) and self.fill != "inpaint",
                f"unknown fill '{self.fill}'; known: inpaint, or numbers",
            ),
            (
                self.fill == "inpaint" and self.protocol != "embed",
                "inpaint continues a photograph over the canvas of embed; to continue an image of "
                "the window's size take border reflect or replicate",
            ),
            (
                self.interpolation is not None and self.plan.whole,
                f"whole shifts need no interpolation, got '{self.interpolation}'; give the plan "
                "a spacing below 1",
            ),
            (
                self.interpolation == "fourier" and self.protocol != "circular",
                f"a Fourier shift wraps around, which {self.protocol} does not; take the circular "
                "protocol, or lanczos3",
            ),
            (
                bool(self.plan.growth.any()) and self.protocol in ("circular", "shift"),
                f"sizes: {self.protocol} needs an image of exactly the window's size; take crop "
                "or embed",
            ),
        )
        for refused, reason in nonsense:
            if refused:
                raise ValueError(f"Sweep: {reason}")

    def _spell_out(self) -> None:
        """One spelling, so that equal sweeps have equal digests."""
        if self.protocol == "shift":
            object.__setattr__(self, "border", self.border or "constant")
        if self._has_colour and self.fill != "inpaint":
            colour = 0.0 if self.fill is None else self.fill
            colours = (colour,) if isinstance(colour, int | float) else tuple(colour)
            object.__setattr__(self, "fill", tuple(float(value) for value in colours))
        if not self.plan.whole:
            object.__setattr__(self, "interpolation", self.interpolation or "linear")

    @property
    def _has_colour(self) -> bool:
        return self.protocol == "embed" or (
            self.protocol == "shift" and self.border in (None, "constant")
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns everything that decides which pixels a network sees, ready for JSON."""
        return {
            "protocol": self.protocol,
            "plan": self.plan.to_dict(),
            "size": self.size,
            "border": self.border,
            "fill": self.fill,
            "interpolation": self.interpolation,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Sweep":
        """Rebuilds a sweep from `to_dict`, also after a round trip through JSON."""
        height, width = stored["size"]
        fill = stored["fill"]
        return cls(
            stored["protocol"],
            plan_from_dict(stored["plan"]),
            (height, width),
            stored["border"],
            tuple(fill) if isinstance(fill, list | tuple) else fill,
            stored["interpolation"],
        )

    @property
    def digest(self) -> str:
        """The sweep's SHA-256, as hexadecimal: equal digests mean equal shifts of equal windows."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def corners(self, image_size: tuple[int, int], image: int = 0) -> Tensor:
        """Returns the (S, 2) corners (y, x) of the windows on an image of (H, W) pixels.

        At every size of a plan with sizes, the image's top left pixel is where it is at its own.

        Raises:
            ValueError: if the protocol does not fit the image's size or the shifts leave it.
        """
        self.check(image_size)
        anchor = [(n - w) // 2 for n, w in zip(image_size, self.size, strict=True)]
        return torch.from_numpy(np.array(anchor, np.int64) - self.plan.shifts_for(image))

    def check(self, image_size: tuple[int, int]) -> None:
        """Raises ValueError if an image of (H, W) pixels does not suit the protocol and the plan."""
        if self.protocol in ("circular", "shift"):
            if tuple(image_size) != self.size:
                raise ValueError(
                    f"{self.protocol}: expected an image of the window's size, got a "
                    f"{self._what(image_size)}"
                )
            return
        growth = self.plan.growth
        for pixels in dict.fromkeys((int(growth.min()), int(growth.max()))):
            self._check_room(image_size, grown(image_size, pixels) if pixels else image_size)

    def _what(self, image_size: tuple[int, int]) -> str:
        (height, width), (h, w) = image_size, self.size
        return f"{height}x{width} image and a {h}x{w} window"

    def _check_room(self, image_size: tuple[int, int], shown_size: tuple[int, int]) -> None:
        """The window stays inside the image (crop), or the image inside the window (embed)."""
        top, bottom, left, right = self.plan.reach
        for axis, name, low, high in (
            (0, "vertically", top, bottom),
            (1, "horizontally", left, right),
        ):
            anchor = (image_size[axis] - self.size[axis]) // 2
            other = anchor + self.size[axis] - shown_size[axis]
            if self.protocol == "crop":
                room, advice = (other, anchor), "larger"
            else:
                room, advice = (anchor, other), "smaller"
            if low < room[0] or high > room[1]:
                size = (
                    ""
                    if shown_size == image_size
                    else f", grown to {shown_size[0]}x{shown_size[1]}"
                )
                raise ValueError(
                    f"{self.protocol}: expected shifts from {room[0]} to {room[1]} {name} for a "
                    f"{self._what(image_size)}{size}, got {low} to {high}; take smaller shifts or "
                    f"{advice} images"
                )

    def prepare(self, image: Tensor, number: int = 0) -> "Prepared":
        """Makes one image ready to be cut.

        Args:
            image: (C, H, W), uint8 or floating; read where it lies.
            number: which of the plan's images it is.

        Raises:
            ValueError: for an image that is not `(C, H, W)` or does not suit the sweep.
        """
        return Prepared(self, image, number)

    def batches(
        self,
        images: Sequence[Tensor] | Tensor,
        batch: int = 8,
        *,
        scale: float | Sequence[float] | None = None,
        bias: float | Sequence[float] | None = None,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.channels_last,
        device: torch.device | str | None = None,
    ) -> Iterator[tuple[list["Piece"], Tensor]]:
        """Yields the windows of every image, a batch at a time, in one buffer that is refilled.

        Args:
            images: `(C, H, W)` each, uint8 or floating; read one at a time, each once.
            batch: windows at a time, >= 1; every batch is full but the last.
            scale: as in `take_windows`.
            bias: as in `take_windows`.
            dtype: of the windows.
            memory_format: of the windows.
            device: where the windows are cut, to which images are moved; by default where an image
                lies. The CPU where the operators do not run on that device.

        Yields:
            Whose windows they are, in order, and the windows `(B, C, h, w)`: use or copy them
            before the next are asked for, which overwrites them.

        Raises:
            ValueError: for an image that is not `(C, H, W)` or does not suit the sweep.

        Examples:
            >>> from shiftable import line
            >>> sweep = Sweep("circular", line(1), (8, 8))
            >>> for pieces, windows in sweep.batches([torch.zeros(3, 8, 8)] * 2, batch=4):
            ...     print([(piece.image, piece.rows.tolist()) for piece in pieces], len(windows))
            [(0, [0, 1, 2]), (1, [0])] 4
            [(1, [1, 2])] 2
        """
        place = None if device is None else torch.device(device)
        rows = np.arange(len(self.plan))
        numbered = ((number, images[number]) for number in range(len(images)))
        for pieces, filled, windows in fill_batches(
            self,
            numbered,
            batch,
            lambda _: rows,
            place,
            dtype,
            memory_format,
            scale=scale,
            bias=bias,
        ):
            yield pieces, windows[:filled]


@dataclass(frozen=True, eq=False)
class Piece:
    """Windows of one image in a batch: its number, and the numbers of their shifts."""

    image: int
    rows: Integers


def fill_batches(
    sweep: Sweep,
    images: Iterator[tuple[int, Tensor]],
    batch: int,
    rows_of: Callable[[int], Integers],
    device: torch.device | None,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    **affine: Any,
) -> Iterator[tuple[list[Piece], int, Tensor]]:
    """The loop of `Sweep.batches`: pieces, how many windows they are, and the whole buffer.

    `rows_of` says which shifts of an image to show, in order. What a last batch leaves of the
    buffer is old.
    """
    if batch < 1:
        raise ValueError(f"batches: expected batch >= 1, got {batch}")
    buffer: Tensor | None = None
    pieces: list[Piece] = []
    filled = 0
    for number, image in images:
        place = image.device if device is None else device
        place = place if has_kernels(place) else torch.device("cpu")
        # Straight from pinned memory, a copy to a GPU goes on while the network works.
        image = image.to(place, non_blocking=place.type == "cuda")
        prepared = sweep.prepare(image, number)
        if buffer is None or buffer.shape[1] != len(image) or buffer.device != image.device:
            if pieces and buffer is not None:
                yield pieces, filled, buffer
                pieces, filled = [], 0
            shape = (batch, len(image), *sweep.size)
            buffer = torch.zeros(shape, dtype=dtype, device=image.device)
            buffer = buffer.contiguous(memory_format=memory_format)
        rows = rows_of(number)
        done = 0
        while done < len(rows):
            taken = rows[done : done + batch - filled]
            prepared.windows(taken, out=buffer[filled : filled + len(taken)], **affine)
            pieces.append(Piece(number, taken))
            filled += len(taken)
            done += len(taken)
            if filled == batch:
                yield pieces, filled, buffer
                pieces, filled = [], 0
    if pieces and buffer is not None:
        yield pieces, filled, buffer


class Prepared:
    """One image, ready to be cut into the windows of a sweep."""

    def __init__(self, sweep: Sweep, image: Tensor, number: int = 0) -> None:
        if image.ndim != 3:
            raise ValueError(f"batches: expected images (C, H, W), got {tuple(image.shape)}")
        self._sweep = sweep
        self._image = image
        self._number = number
        self._corners = sweep.corners((image.shape[1], image.shape[2]), number)
        self._growth = sweep.plan.growth
        self._canvas: tuple[int, Tensor, Tensor] | None = (
            None  # the last one: for which size, where
        )

    def windows(
        self,
        rows: Integers | Sequence[int] | None = None,
        *,
        out: Tensor | None = None,
        **affine: Any,
    ) -> Tensor:
        """Returns the windows (B, C, h, w) at some shifts.

        Args:
            rows: their numbers in the plan, all by default.
            out: where to write them, contiguous or channels_last; by default new float32, or the
                image's own floating dtype.
            affine: `scale` and `bias` of `take_windows`.
        """
        chosen = np.arange(len(self._corners)) if rows is None else np.asarray(rows)
        if out is None:
            dtype = self._image.dtype if self._image.is_floating_point() else torch.float32
            shape = (len(chosen), len(self._image), *self._sweep.size)
            out = self._image.new_empty(shape, dtype=dtype)
        if self._sweep.interpolation == "fourier":
            return self._fourier(chosen, out, **affine)
        done = 0
        for growth, part in groupby(chosen.tolist(), key=lambda row: int(self._growth[row])):
            at = list(part)
            canvas, offset = self._canvas_of(growth)
            place = out[done : done + len(at)]
            take_windows(
                canvas[None],
                self._corners[at] + offset,
                self._sweep.size,
                border=self._border,
                fill=self._sweep.fill if isinstance(self._sweep.fill, tuple) else None,
                interpolation=self._sweep.interpolation or "linear",
                out=place[None],
                **affine,
            )
            done += len(at)
        return out

    def canvas(self, growth: int = 0) -> tuple[Tensor, Tensor]:
        """Returns the one picture that holds every window, and where each lies in it.

        A window at a whole corner is a crop of it, with whatever border and fill the sweep has;
        one between pixels is interpolated there, by the sweep's own filter when a network sees it.

        Args:
            growth: pixels that the image's shorter side is longer by; windows at this size only.

        Returns:
            The canvas (C, H, W) of the image's dtype, and the (S, 2) corners (y, x) in it.

        Raises:
            ValueError: if no shift of the plan is at this size.
        """
        at = np.flatnonzero(self._growth == growth)
        if not len(at):
            raise ValueError(f"canvas: expected a size of the plan, got {growth}")
        low = np.floor(self._corners[at].numpy().min(0)).astype(np.int64)
        extent = np.ceil(self._corners[at].numpy().max(0)).astype(np.int64) - low
        image, offset = self._canvas_of(growth)
        whole = take_windows(
            image[None],
            torch.from_numpy(low)[None] + offset,
            (self._sweep.size[0] + int(extent[0]), self._sweep.size[1] + int(extent[1])),
            border=self._border,
            fill=self._sweep.fill if isinstance(self._sweep.fill, tuple) else None,
        )
        return whole[0, 0], self._corners - torch.from_numpy(low)

    @property
    def _border(self) -> Border:
        if self._sweep.protocol == "shift":
            return self._sweep.border or "constant"
        if self._sweep.protocol == "circular":
            return "circular"
        # A crop and an in-painted canvas hold every pixel of every window: no border is seen but
        # by the taps between pixels at the very edge.
        plain = self._sweep.protocol == "embed" and self._sweep.fill != "inpaint"
        return "constant" if plain else "reflect"

    def _canvas_of(self, growth: int) -> tuple[Tensor, Tensor]:
        """The image at one size, in-painted if it is to be, and what that adds to corners."""
        if self._canvas is None or self._canvas[0] != growth:
            height, width = self._image.shape[1:]
            image = self._image
            if growth:
                image = resized(image, grown((height, width), growth))
            offset = torch.zeros(2, dtype=torch.int64)
            if self._sweep.fill == "inpaint":
                pad = self._room(image)
                image = inpainted(image, pad)
                offset = torch.tensor([pad[2], pad[0]])
            self._canvas = growth, image, offset
        return self._canvas[1:]

    def _room(self, image: Tensor) -> tuple[int, int, int, int]:
        """Pixels (left, right, top, bottom) that the windows show beyond the image."""
        margin = 0 if self._sweep.plan.whole else _TAPS
        pads = []
        for axis in (1, 0):
            corners = self._corners[:, axis]
            low = math.floor(float(corners.min()))
            high = math.ceil(float(corners.max())) + self._sweep.size[axis]
            pads += [max(0, -low) + margin, max(0, high - image.shape[1 + axis]) + margin]
        return pads[0], pads[1], pads[2], pads[3]

    def _fourier(
        self,
        rows: Integers,
        out: Tensor,
        scale: float | Sequence[float] | None = None,
        bias: float | Sequence[float] | None = None,
    ) -> Tensor:
        shifts = torch.from_numpy(self._sweep.plan.shifts_for(self._number)[rows])
        windows = fourier_shifted(self._image, shifts)

        def by_channel(values: float | Sequence[float]) -> Tensor:
            return torch.as_tensor(values, dtype=windows.dtype, device=windows.device).view(
                -1, 1, 1
            )

        if scale is not None:
            windows = windows * by_channel(scale)
        if bias is not None:
            windows = windows + by_channel(bias)
        return out.copy_(windows)
