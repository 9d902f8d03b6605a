"""Shift equivariance of networks whose output is a map, an image, or anything of a user's own.

What a network says of a shifted image is compared with what it says of the unshifted one, shifted
along: by one of the comparisons here, or by any function.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from shiftable.canvas import fourier_shifted
from shiftable.choice import choose
from shiftable.engine import (
    Colour,
    Forward,
    Images,
    MemoryFormat,
    Model,
    Precision,
    refuse_training,
)
from shiftable.functional import take_windows
from shiftable.intervals import Estimate, Terms, estimate
from shiftable.stream import read_ahead
from shiftable.sweep import Sweep, fill_batches

Floats = npt.NDArray[np.float64]
# Of the output for the unshifted image (without a batch), those for B shifted ones, and the shifts
# (B, 2) in pixels: numerators and denominators (B,), whose sums are divided.
Comparison = Callable[[Any, Any, Tensor], tuple[Tensor, Tensor]]
Similarity = Callable[[Tensor, Tensor], float]

_MARGIN = 3  # pixels that a Lanczos filter reads beyond


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison's results for N images at S shifts; NaN for the unshifted image itself.

    Args:
        sweep: what the network was shown.
        names: of the images.
        above: (N, S) numerators.
        below: (N, S) denominators.
    """

    sweep: Sweep
    names: tuple[str, ...]
    above: Floats
    below: Floats

    def terms(self) -> Terms:
        """Sums by image, for `intervals.difference` of two networks."""
        return np.nansum(self.above, axis=1), np.nansum(self.below, axis=1)

    def estimate(self) -> Estimate:
        """The ratio of the sums over everything, with its 95 % interval over images."""
        return estimate(self.terms())

    def by_distance(self) -> dict[int, Estimate]:
        """The same by the shift's Chebyshev distance, rounded up."""
        shifts = np.stack([self.sweep.plan.shifts_for(n) for n in range(len(self.names))])
        distance = np.ceil(np.abs(shifts).max(2)).astype(int)
        return {
            int(radius): estimate(
                (
                    np.nansum(np.where(distance == radius, self.above, 0), axis=1),
                    np.nansum(np.where(distance == radius, self.below, 0), axis=1),
                )
            )
            for radius in np.unique(distance)
            if radius
        }


def compare_outputs(
    model: Callable[[Tensor], Any],
    images: Images,
    sweep: Sweep,
    comparison: Comparison,
    *,
    names: Sequence[str] | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
    batch: int | Literal["auto"] = "auto",
    precision: Precision = "auto",
    compile: bool = False,
    memory_format: MemoryFormat = "auto",
    device: torch.device | str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Compared:
    """Compares what a network says of shifted images with what it says of the unshifted ones.

    Args:
        model: takes `(B, C, h, w)`; returns a tensor, or tuples, lists and dicts of tensors, whose
            first dimension is the batch.
        images: as in `evaluate`.
        sweep: as in `evaluate`; its plan has to hold the unshifted image.
        comparison: called with the unshifted image's output (no batch dimension), the outputs of B
            shifts of it, and these shifts (B, 2) in pixels, float64; returns numerators and
            denominators, (B,) each, whose sums are divided.
        names: of the images, by default their numbers.
        scale: as in `evaluate`; and so all that follow.
        bias: term added after the factor.
        batch: windows in a forward pass.
        precision: of the network.
        compile: whether by torch.compile.
        memory_format: of the windows.
        device: where the network runs.
        progress: called with the number of windows just done.

    Raises:
        ValueError: for a plan without the unshifted image, a network that fails, or a comparison
            that does not return two tensors (B,).

    Examples:
        A detector's one box (x0, y0, x1, y1) for each image, which ought to move along; the mean
        error of its corners in pixels:

        >>> import torch
        >>> from shiftable import Sweep, line
        >>> from shiftable.outputs import compare_outputs
        >>> def corners(unshifted, shifted, shifts):
        ...     moved = unshifted + shifts.flip(1).repeat(1, 2)
        ...     return (shifted - moved).abs().mean(1), torch.ones(len(shifted))
        >>> detector = lambda x: torch.tensor([[2.0, 2.0, 5.0, 5.0]]).expand(len(x), 4)  # blind
        >>> sweep = Sweep("circular", line(1), (8, 8))
        >>> compare_outputs(detector, torch.zeros(3, 1, 8, 8), sweep, corners).estimate().value
        0.5
    """
    refuse_training(model)
    count = len(images)
    named = tuple(str(number) for number in range(count)) if names is None else tuple(names)
    if not count or len(named) != count:
        raise ValueError(
            f"compare_outputs: expected as many images as names, got {count} and {len(named)}"
        )
    if not sweep.plan.has_origin:
        raise ValueError("compare_outputs: expected a plan with the shift (0, 0), got one without")
    settings = choose(
        model, sweep, images[0], count, batch=batch, precision=precision,
        memory_format=memory_format, compile=compile, device=device,
    )  # fmt: skip
    forward = Forward(model, settings)
    above = np.full((count, len(sweep.plan)), np.nan)
    below = above.copy()
    unshifted: Any = None
    for pieces, filled, buffer in fill_batches(
        sweep, read_ahead(images, range(count), forward.device), settings.batch,
        lambda _: sweep.plan.order, forward.device, forward.dtype, settings.layout,
        scale=scale, bias=bias,
    ):  # fmt: skip
        windows = buffer if forward.full else buffer[:filled]
        outputs = forward.outputs(windows, named[pieces[0].image])
        done = 0
        for piece in pieces:
            rows = piece.rows
            own = _sliced(outputs, slice(done, done + len(rows)))
            done += len(rows)
            if rows[0] == sweep.plan.origin:  # it is shown first; a copy, so that no more is kept
                unshifted = tree_map(lambda t: t[0].clone(), own)
                rows, own = rows[1:], _sliced(own, slice(1, None))
            if not len(rows):
                continue
            shifts = torch.from_numpy(sweep.plan.shifts_for(piece.image)[rows]).double()
            found = comparison(unshifted, own, shifts.to(forward.device))
            above[piece.image, rows], below[piece.image, rows] = _checked(found, len(rows))
        if progress is not None:
            progress(filled)
    return Compared(sweep, named, above, below)


def _sliced(outputs: Any, part: slice) -> Any:
    return tree_map(lambda tensor: tensor[part] if isinstance(tensor, Tensor) else tensor, outputs)


def _checked(found: Any, count: int) -> tuple[Floats, Floats]:
    try:
        above, below = (torch.as_tensor(part).double().cpu().numpy() for part in found)
        if above.shape != (count,) or below.shape != (count,):
            raise ValueError(f"{above.shape} and {below.shape}")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"compare_outputs: expected the comparison to return two tensors ({count},), got {error}"
        ) from error
    return above, below


# -- comparisons ----------------------------------------------------------------------------------


def map_agreement(stride: int = 1, *, circular: bool = False) -> Comparison:
    """Compares maps of class scores: the share of pixels that get the same class.

    For outputs (B, K, h', w'), with K classes.

    Args:
        stride: pixels of the input to a pixel of the map; shifts have to be multiples of it.
        circular: whether what leaves the map on one side enters it on the other; otherwise only
            the part that both maps show is compared.

    References:
        Rojas-Gomez et al., Learnable polyphase sampling (NeurIPS 2022), section 5: mASSC.
    """

    def compare(unshifted: Tensor, shifted: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        classes, moved = unshifted.argmax(0)[None], shifted.argmax(1)[:, None]
        agree, all_of_them = [], []
        for one, (dy, dx) in zip(moved, _whole(shifts / stride, stride), strict=True):
            before, after = _overlap(classes, one, dy, dx, circular, 0)
            agree.append((before == after).sum())
            all_of_them.append(before.numel())
        return torch.stack(agree), torch.tensor(all_of_them)

    return compare


def squared_error(stride: float = 1, *, circular: bool = False, margin: int = 0) -> Comparison:
    """Compares images: the mean squared difference of the moved output and the moved input's.

    For outputs (B, C', h', w'). Shifts between pixels of the output are ideal ones for `circular`,
    otherwise by a Lanczos filter, with 3 pixels more left out at each edge.

    Args:
        stride: pixels of the input to a pixel of the output; below 1 for larger outputs.
        circular: whether what leaves the output on one side enters it on the other; otherwise only
            the part that both show is compared.
        margin: pixels of the output left out at each of its edges, unless `circular`.

    References:
        Karras et al., Alias-free generative adversarial networks (NeurIPS 2021), appendix E.3.
    """

    def compare(unshifted: Tensor, shifted: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        errors, pixels = [], []
        for one, by in zip(shifted, shifts / stride, strict=True):
            before, after = _aligned(unshifted.double(), one.double(), by, circular, margin)
            errors.append((before - after).square().sum())
            pixels.append(before.numel())
        return torch.stack(errors), torch.tensor(pixels)

    return compare


def similarity(
    measure: Similarity, stride: float = 1, *, circular: bool = False, margin: int = 0
) -> Comparison:
    """Compares images by a function of two of them, such as `psnr()` or an SSIM; a mean over pairs.

    Args:
        measure: of the moved output and the moved input's, (C', h', w') float64 on the CPU.
        stride: as in `squared_error`.
        circular: as in `squared_error`.
        margin: as in `squared_error`.
    """

    def compare(unshifted: Tensor, shifted: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for one, by in zip(shifted, shifts / stride, strict=True):
            before, after = _aligned(unshifted.double(), one.double(), by, circular, margin)
            found.append(measure(before.cpu(), after.cpu()))
        return torch.tensor(found), torch.ones(len(found))

    return compare


def relative_difference(
    unshifted: Tensor, shifted: Tensor, shifts: Tensor
) -> tuple[Tensor, Tensor]:
    """Compares outputs (B, ...) that ought not to move: sum of |difference| over that of |output|."""
    apart = (shifted - unshifted).abs().flatten(1).sum(1)
    return apart, unshifted.abs().sum().expand(len(shifted))


def psnr(value_range: float = 2.0) -> Similarity:
    """Makes a function that gives the peak signal-to-noise ratio of two images in dB.

    Args:
        value_range: largest minus smallest value that an image may have, 2 for [-1, 1].
    """

    def measure(image: Tensor, other: Tensor) -> float:
        return _decibels(float((image - other).double().square().mean()), value_range)

    return measure


def equivariance_psnr(compared: Compared, value_range: float = 2.0) -> Estimate:
    """Turns a pooled `squared_error` into dB: EQ-T for whole shifts, EQ-T_frac for others.

    Args:
        compared: what `compare_outputs` found by `squared_error`.
        value_range: largest minus smallest value that an output may have, 2 for [-1, 1].

    Returns:
        20 log10(range) - 10 log10(mean squared error), infinite for no error at all; the bounds of
        its interval are those of the error.
    """
    found = compared.estimate()

    def turned(error: float | None) -> float | None:
        return None if error is None else _decibels(error, value_range)

    return Estimate(turned(found.value), turned(found.high), turned(found.low), found.images)


def _decibels(error: float, value_range: float) -> float:
    return math.inf if error <= 0 else 20 * math.log10(value_range) - 10 * math.log10(error)


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """How well a network reconstructs shifted inputs.

    Args:
        names: of the N images.
        quality: (N, S) similarity of the output and the target, both moved.
        origin: the number of the unshifted image among the shifts.
    """

    names: tuple[str, ...]
    quality: Floats
    origin: int

    @property
    def change(self) -> Floats:
        """(N,) the largest change of quality by a shift."""
        rest = self.quality[:, self.origin : self.origin + 1]
        largest: Floats = np.abs(self.quality - rest).max(1)
        return largest

    def estimate(self) -> Estimate:
        """The mean over images of the largest change, with its 95 % interval."""
        return estimate((self.change, np.ones(len(self.names))))


@torch.inference_mode()
def reconstruction_change(
    model: Model,
    images: Images,
    targets: Images,
    sweep: Sweep,
    *,
    measure: Similarity | None = None,
    names: Sequence[str] | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
) -> Reconstructed:
    """Measures how much the quality of a reconstruction depends on where the content lies.

    Args:
        model: takes `(B, C, h, w)` and returns images `(B, C', h, w)`.
        images: N inputs, as in `evaluate`.
        targets: N images `(C', H, W)` of the inputs' sizes: what ought to come out, moved along.
        sweep: as in `evaluate`; its plan has to hold the unshifted image.
        measure: similarity of an output and its target, (C', h, w) float64; by default `psnr()`.
        names: of the images, by default their numbers.
        scale: of the inputs, as in `evaluate`; targets are taken as they are.
        bias: of the inputs.

    Raises:
        ValueError: for a plan without the unshifted image, or targets that do not match.

    References:
        Chaman & Dokmanic, Truly shift-equivariant convolutional neural networks with adaptive
        polyphase upsampling (2021): change of PSNR under shifts.
    """
    refuse_training(model)
    measure = measure or psnr()
    count = len(images)
    named = tuple(str(number) for number in range(count)) if names is None else tuple(names)
    if not sweep.plan.has_origin:
        raise ValueError("reconstruction_change: expected a plan with the shift (0, 0)")
    if len(targets) != count or len(named) != count or not count:
        raise ValueError(
            f"reconstruction_change: expected as many targets and names as images, got {count}, "
            f"{len(targets)} and {len(named)}"
        )
    settings = choose(model, sweep, images[0], count)
    forward = Forward(model, settings)
    rows = np.arange(len(sweep.plan))
    quality = np.empty((count, len(rows)))
    for number in range(count):
        source, target = (
            sweep.prepare(images[number], number),
            sweep.prepare(targets[number], number),
        )
        for first in range(0, len(rows), settings.batch):
            part = rows[first : first + settings.batch]
            output = forward.outputs(source.windows(part, scale=scale, bias=bias), named[number])
            wanted = target.windows(part)
            if tuple(output.shape) != tuple(wanted.shape):
                raise ValueError(
                    f"reconstruction_change: expected outputs {tuple(wanted.shape)}, as the targets "
                    f"are, got {tuple(output.shape)}"
                )
            for row, got, want in zip(
                part, output.cpu().double(), wanted.cpu().double(), strict=True
            ):
                quality[number, row] = measure(got, want)
    return Reconstructed(named, quality, sweep.plan.origin)


# -- putting the two beside one another -----------------------------------------------------------


def _whole(steps: Tensor, stride: float) -> list[tuple[int, int]]:
    if not bool((steps == steps.round()).all()):
        raise ValueError(
            f"map_agreement: expected shifts that are multiples of the map's stride, {stride}, got "
            "others; take a plan of such a spacing"
        )
    return [(int(dy), int(dx)) for dy, dx in steps.tolist()]


def _overlap(
    before: Tensor, after: Tensor, dy: int, dx: int, circular: bool, margin: int
) -> tuple[Tensor, Tensor]:
    """The parts of two (C, h, w) that show the same, `after` being moved by (dy, dx)."""
    if circular:
        return torch.roll(before, (dy, dx), (1, 2)), after
    h, w = after.shape[1:]
    rows = slice(max(dy, 0) + margin, h + min(dy, 0) - margin)
    columns = slice(max(dx, 0) + margin, w + min(dx, 0) - margin)
    moved_rows = slice(rows.start - dy, rows.stop - dy)
    moved_columns = slice(columns.start - dx, columns.stop - dx)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return before[:, :0], after[:, :0]
    return before[:, moved_rows, moved_columns], after[:, rows, columns]


def _aligned(
    before: Tensor, after: Tensor, shift: Tensor, circular: bool, margin: int
) -> tuple[Tensor, Tensor]:
    """The same for any shift: the fraction by interpolation of `before`."""
    whole = shift.floor()
    dy, dx = (int(step) for step in whole.tolist())
    fraction = shift - whole
    if bool((fraction != 0).any()):
        if circular:
            return fourier_shifted(before, shift[None].cpu())[0], after
        corners = -fraction[None].cpu()
        before = take_windows(
            before[None], corners, (before.shape[1], before.shape[2]), border="replicate",
            interpolation="lanczos3",
        )[0, 0]  # fmt: skip
        margin += _MARGIN
    return _overlap(before, after, dy, dx, circular, margin)
