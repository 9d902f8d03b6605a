"""Shift equivariance of networks whose output is a map, an image, or anything of a user's own.

What a network says of a shifted image is compared with what it says of the unshifted one, shifted
along: by one of the comparisons here, or by any function.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from shiftable.canvas import fourier_shifted
from shiftable.choice import choose
from shiftable.engine import (
    Colour,
    Forward,
    Images,
    MemoryFormat,
    Model,
    OutOfMemoryError,
    Precision,
    refuse_training,
)
from shiftable.functional import take_windows
from shiftable.intervals import Estimate, Terms, estimate
from shiftable.plan import Integers
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
    """A comparison's results for N images at S shifts; NaN wherever an image is at rest.

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
        """The ratio of the sums over everything, with its 95 % interval over images.

        It is infinite where any numerator is, and so are its bounds where each image's are; else
        there are none.
        """
        return _pooled(*self.terms())

    def by_distance(self) -> dict[int, Estimate]:
        """The same by the shift's Chebyshev distance, rounded up."""
        shifts = np.stack([self.sweep.plan.shifts_for(n) for n in range(len(self.names))])
        distance = np.ceil(np.abs(shifts).max(2)).astype(int)
        return {
            int(radius): _pooled(
                np.nansum(np.where(distance == radius, self.above, 0), axis=1),
                np.nansum(np.where(distance == radius, self.below, 0), axis=1),
            )
            for radius in np.unique(distance)
            if radius
        }


def _pooled(above: Floats, below: Floats) -> Estimate:
    """As `intervals.estimate`, which resamples finite sums only."""
    if not np.isinf(above).any():
        return estimate((above, below))
    kept = below != 0
    bound = math.inf if kept.sum() > 1 and np.isinf(above[kept]).all() else None
    return Estimate(math.inf, bound, bound, int(kept.sum()))


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
            first dimension is the batch. What else they hold is passed on as it is.
        images: as in `evaluate`.
        sweep: as in `evaluate`; its plan has to hold the unshifted image, and one size only.
        comparison: called with the unshifted image's output (no batch dimension), the outputs of B
            shifts of it, and these shifts (B, 2) in pixels, float64; returns numerators and
            denominators, (B,) each, whose sums are divided. A pair of zeros counts for nothing.
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
        ValueError: for a plan without the unshifted image or with several sizes, a network that
            fails or whose output is not by batch, or a comparison that does not return two tensors
            (B,) of numbers.

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
    named = _named("compare_outputs", model, images, sweep, names)
    settings = choose(
        model, sweep, images[0], len(images), batch=batch, precision=precision,
        memory_format=memory_format, compile=compile, device=device,
    )  # fmt: skip
    forward = Forward(model, settings)
    above = np.full((len(images), len(sweep.plan)), np.nan)
    below = above.copy()
    unshifted: Any = None
    for number, rows, outputs in _shown(forward, images, sweep, named, scale, bias, progress):
        if rows[0] == sweep.plan.origin:  # it is shown first; a copy, so that no more is kept
            unshifted = _each(lambda tensor: tensor[0].clone(), outputs)
        shifts = torch.from_numpy(sweep.plan.shifts_for(number)[rows]).double()
        # A plan of groups may show the image at rest more than once.
        moved = shifts.ne(0).any(1)
        if not bool(moved.all()):
            rows, shifts = rows[moved.numpy()], shifts[moved]
            outputs = _picked(outputs, moved.nonzero()[:, 0].to(forward.device))
        if len(rows):
            found = comparison(unshifted, outputs, shifts.to(forward.device))
            above[number, rows], below[number, rows] = _checked(found, len(rows), named[number])
    return Compared(sweep, named, above, below)


def _named(
    what: str,
    model: Callable[[Tensor], Any],
    images: Images,
    sweep: Sweep,
    names: Sequence[str] | None,
) -> tuple[str, ...]:
    """The images' names, once all is such that it can be held against the unshifted image."""
    refuse_training(model)
    count = len(images)
    named = tuple(str(number) for number in range(count)) if names is None else tuple(names)
    if not count or len(named) != count:
        raise ValueError(f"{what}: expected as many images as names, got {count} and {len(named)}")
    if len(set(named)) != count:
        raise ValueError(f"{what}: expected distinct names, got the same one twice")
    if sweep.plan.images not in (None, count):
        raise ValueError(f"{what}: expected {sweep.plan.images} images by the plan, got {count}")
    if not sweep.plan.has_origin:
        raise ValueError(f"{what}: expected a plan with the shift (0, 0), got one without; add it")
    if sweep.plan.growth.any():
        raise ValueError(
            f"{what}: expected a plan of shifts alone, got one of several sizes; take grid or line"
        )
    return named


def _shown(
    forward: Forward,
    images: Images,
    sweep: Sweep,
    names: Sequence[str],
    scale: Colour | None,
    bias: Colour | None,
    progress: Callable[[int], object] | None,
) -> Iterator[tuple[int, Integers, Any]]:
    """Yields an image's number, some of its shifts' numbers, and what the network says of them."""
    settings = forward.settings
    most = settings.batch
    for pieces, filled, buffer in fill_batches(
        sweep, read_ahead(images, range(len(images)), forward.device), settings.batch,
        lambda _: sweep.plan.order, forward.device, forward.dtype, settings.layout,
        scale=scale, bias=bias,
    ):  # fmt: skip
        windows = buffer if forward.full else buffer[:filled]
        outputs, most = _in_parts(forward, windows, names[pieces[0].image], most)
        done = 0
        for piece in pieces:
            part = slice(done, done + len(piece.rows))
            yield piece.image, piece.rows, _picked(outputs, part)
            done = part.stop
        if progress is not None:
            progress(filled)


def _in_parts(forward: Forward, windows: Tensor, name: str, most: int) -> tuple[Any, int]:
    """Outputs of a batch, shown at most `most` windows at a time; fewer where they do not fit."""
    while True:
        try:
            parts = [_by_batch(forward, part, name) for part in torch.split(windows, most)]
        except OutOfMemoryError as error:
            if most == 1:
                raise ValueError(
                    f"outputs: out of memory on a single window of {name}; take another device"
                ) from error
            most = max(1, most // 2)
            if forward.device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        if len(parts) == 1:
            return parts[0], most
        return tree_map(lambda t, *ts: torch.cat((t, *ts)) if _is(t) else t, *parts), most


def _by_batch(forward: Forward, windows: Tensor, name: str) -> Any:
    outputs = forward.outputs(windows, name)
    shapes = [tuple(leaf.shape) for leaf in tree_leaves(outputs) if _is(leaf)]
    wrong = [shape for shape in shapes if shape[:1] != (len(windows),)]
    if wrong or not shapes:
        raise ValueError(
            f"outputs: expected tensors ({len(windows)}, ...) from the network, got "
            f"{wrong[0] if wrong else type(outputs).__name__}; wrap it in a function that returns "
            "them"
        )
    return outputs


def _is(leaf: object) -> bool:
    return isinstance(leaf, Tensor)


def _each(function: Callable[[Tensor], Tensor], outputs: Any) -> Any:
    return tree_map(lambda leaf: function(leaf) if _is(leaf) else leaf, outputs)


def _picked(outputs: Any, part: slice | Tensor) -> Any:
    return _each(lambda tensor: tensor[part], outputs)


def _checked(found: Any, count: int, name: str) -> tuple[Floats, Floats]:
    try:
        above, below = (torch.as_tensor(part).double().cpu().numpy() for part in found)
        if above.shape != (count,) or below.shape != (count,):
            raise ValueError(f"{above.shape} and {below.shape}")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"compare_outputs: expected the comparison to return two tensors ({count},), got {error}"
        ) from error
    # NaN would be taken for an image at rest, and left out of the numerators only.
    if not ((above > -np.inf) & (below >= 0) & (below < np.inf)).all():
        raise ValueError(
            "compare_outputs: expected numerators that are numbers over finite denominators >= 0, "
            f"got others for {name}; does the network answer with NaN?"
        )
    return above, below


# -- comparisons ----------------------------------------------------------------------------------


def map_agreement(stride: int = 1, *, circular: bool = False) -> Comparison:
    """Compares maps of class scores: the share of pixels that get the same class.

    For outputs (B, K, h', w'), with K >= 2 classes.

    Args:
        stride: pixels of the input to a pixel of the map; shifts have to be multiples of it.
        circular: whether what leaves the map on one side enters it on the other; otherwise only
            the part that both maps show is compared.

    Raises:
        ValueError: for a stride that is not above 0; when called, for other outputs, NaN, or other shifts.

    References:
        Rojas-Gomez et al., Learnable polyphase sampling (NeurIPS 2022), section 5: mASSC.
    """
    _refuse_geometry("map_agreement", stride)

    def compare(unshifted: Tensor, shifted: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        _refuse_other("map_agreement", shifted)
        if shifted.shape[1] < 2:
            raise ValueError(
                "map_agreement: expected scores of K >= 2 classes, (B, K, h, w), got "
                f"{tuple(shifted.shape)}; add a map of zeros for the other class of two"
            )
        if bool(shifted.isnan().any() | unshifted.isnan().any()):
            raise ValueError("map_agreement: expected scores, got NaN")
        classes, moved = unshifted.argmax(0)[None], shifted.argmax(1)[:, None]
        agree, all_of_them = [], []
        for one, (dy, dx) in zip(moved, _whole(shifts, stride), strict=True):
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

    Raises:
        ValueError: for a stride or margin out of range; when called, for other outputs.

    References:
        Karras et al., Alias-free generative adversarial networks (NeurIPS 2021), appendix E.3.
    """
    _refuse_geometry("squared_error", stride, margin)

    def compare(unshifted: Tensor, shifted: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        _refuse_other("squared_error", shifted)
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

    Pairs that have no pixel in common count for nothing.

    Args:
        measure: of the moved output and the moved input's, (C', h', w') float64 on the CPU.
        stride: as in `squared_error`.
        circular: as in `squared_error`.
        margin: as in `squared_error`.

    Raises:
        ValueError: as `squared_error`.

    Examples:
        `structural_similarity` of scikit-image takes its place like this, for values in [0, 1]:

        >>> def ssim(image, other):
        ...     from skimage.metrics import structural_similarity
        ...     return structural_similarity(
        ...         image.numpy(), other.numpy(), data_range=1, channel_axis=0)
        >>> comparison = similarity(ssim, circular=True)
    """
    _refuse_geometry("similarity", stride, margin)

    def compare(unshifted: Tensor, shifted: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        _refuse_other("similarity", shifted)
        found, counted = [], []
        for one, by in zip(shifted, shifts / stride, strict=True):
            before, after = _aligned(unshifted.double(), one.double(), by, circular, margin)
            some = before.numel() > 0
            found.append(float(measure(before.cpu(), after.cpu())) if some else 0.0)
            counted.append(float(some))
        return torch.tensor(found, dtype=torch.float64), torch.tensor(counted)

    return compare


def relative_difference(
    unshifted: Tensor, shifted: Tensor, shifts: Tensor
) -> tuple[Tensor, Tensor]:
    """Compares outputs (B, ...) that ought not to move: sum of |difference| over that of |output|."""
    _refuse_other("relative_difference", shifted, ndim=None)
    rest = unshifted.double()
    # One at a time, so that a sum is the same in every batch.
    apart = [(one - rest).abs().sum() for one in shifted.double()]
    return torch.stack(apart), rest.abs().sum().expand(len(apart))


def psnr(value_range: float = 2.0) -> Similarity:
    """Makes a function that gives the peak signal-to-noise ratio of two images in dB.

    Args:
        value_range: largest minus smallest value that an image may have, 2 for [-1, 1].

    Raises:
        ValueError: for a range that is not above 0.

    Examples:
        >>> round(psnr(1.0)(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.1)), 3)
        20.0
    """
    _refuse_range("psnr", value_range)

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

    Raises:
        ValueError: for a range that is not above 0.
    """
    _refuse_range("equivariance_psnr", value_range)
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
        """(N,) the largest change of quality by a shift, none from infinite to infinite."""
        rest = self.quality[:, [self.origin]]
        with np.errstate(invalid="ignore"):
            largest: Floats = np.where(self.quality == rest, 0, np.abs(self.quality - rest)).max(1)
        return largest

    def estimate(self) -> Estimate:
        """The mean over images of the largest change, with its 95 % interval."""
        return _pooled(self.change, np.ones(len(self.names)))


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
    batch: int | Literal["auto"] = "auto",
    precision: Precision = "auto",
    device: torch.device | str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Reconstructed:
    """Measures how much the quality of a reconstruction depends on where the content lies.

    Args:
        model: takes `(B, C, h, w)` and returns images `(B, C', h, w)`.
        images: N inputs, as in `evaluate`.
        targets: N images `(C', H, W)` of the inputs' sizes: what ought to come out, moved along.
        sweep: as in `evaluate`; its plan has to hold the unshifted image.
        measure: similarity of an output and its target, (C', h, w) float64 on the CPU; by default
            `psnr()`, whose change is the same for every range of values.
        names: of the images, by default their numbers.
        scale: of the inputs, as in `evaluate`; targets are taken as they are.
        bias: of the inputs.
        batch: as in `evaluate`.
        precision: as in `evaluate`.
        device: as in `evaluate`.
        progress: called with the number of windows just done.

    Raises:
        ValueError: for a plan without the unshifted image or with several sizes, a network that
            fails, targets that do not match, or a measure that is not a number.

    References:
        Chaman & Dokmanic, Truly shift-equivariant convolutional neural networks with adaptive
        polyphase upsampling (2021): change of PSNR under shifts.
    """
    measure = measure or psnr()
    named = _named("reconstruction_change", model, images, sweep, names)
    if len(targets) != len(images):
        raise ValueError(
            f"reconstruction_change: expected as many targets as images, got {len(targets)} and "
            f"{len(images)}"
        )
    settings = choose(
        model, sweep, images[0], len(images), batch=batch, precision=precision, device=device
    )
    forward = Forward(model, settings)
    quality = np.empty((len(images), len(sweep.plan)))
    for number, rows, output in _shown(forward, images, sweep, named, scale, bias, progress):
        if rows[0] == sweep.plan.origin:  # the first of an image
            target = sweep.prepare(targets[number].cpu(), number)
        wanted = target.windows(rows)
        if not isinstance(output, Tensor) or output.shape != wanted.shape:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"reconstruction_change: expected outputs {tuple(wanted.shape)}, as the targets "
                f"are, got {got}"
            )
        pairs = zip(output.cpu().double(), wanted.double(), strict=True)
        quality[number, rows] = [measure(one, other) for one, other in pairs]
        if np.isnan(quality[number, rows]).any():
            raise ValueError(
                f"reconstruction_change: expected a measure that is a number, got NaN for "
                f"{named[number]}; does the network answer with NaN?"
            )
    return Reconstructed(named, quality, sweep.plan.origin)


# -- putting the two beside one another -----------------------------------------------------------


def _refuse_geometry(what: str, stride: float, margin: int = 0) -> None:
    if not 0 < stride < math.inf:
        raise ValueError(f"{what}: expected a stride > 0 pixels, got {stride}")
    if not isinstance(margin, int) or margin < 0:
        raise ValueError(f"{what}: expected a margin of whole pixels >= 0, got {margin}")


def _refuse_other(what: str, outputs: Any, ndim: int | None = 4) -> None:
    """Raises ValueError for outputs that are no tensor, or not of so many dimensions."""
    if not isinstance(outputs, Tensor) or outputs.ndim != (ndim or outputs.ndim):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"{what}: expected outputs {'(B, C, h, w)' if ndim else '(B, ...)'}, got {got}; wrap "
            "the network in a function that returns such"
        )


def _refuse_range(what: str, value_range: float) -> None:
    if not 0 < value_range < math.inf:
        raise ValueError(f"{what}: expected a range of values > 0, got {value_range}")


def _whole(shifts: Tensor, stride: int) -> list[tuple[int, int]]:
    """The shifts in pixels of the map."""
    steps = shifts / stride
    between = (steps != steps.round()).any(1)
    if bool(between.any()):
        dy, dx = shifts[between][0].tolist()
        raise ValueError(
            f"map_agreement: expected shifts that are multiples of the map's stride, {stride}, got "
            f"({dy:g}, {dx:g}); take a plan of such a spacing"
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
