"""Every operation of a network that lowers resolution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from shiftable._ops import ops as ours
from shiftable.convert.placement import blurs
from shiftable.convert.trace import Step, Trace, aten, trace
from shiftable.spectrum import aliasing_share

_PIXELS = (
    5.5  # for each of the stride: on smaller maps the window's main lobe is wider than what is left
)
_AT_ONCE = 4  # images, since every map is made at full resolution, too


@dataclass(frozen=True)
class StridedOperation:
    """One operation that lowers resolution.

    Args:
        name: of the innermost module that it runs in, "" for the network itself.
        call: which call of that module, from 0.
        kind: convolution, depthwise convolution, shortcut convolution (1x1), patchify convolution
            (kernel = stride), max pool, average pool, adaptive pool, interpolation, strided slice,
            pixel unshuffle, or blur, max blur, polyphase where it is an anti-aliased one.
        stride: input pixels for an output pixel, an axis.
        size: of the map that it reads, pixels.
        to: of the map that it writes, pixels.
        channels: that it reads.
        blurred: whether a low-pass filter comes with or right before it.
        aliasing_share: of the energy of the map before the stride, the share above the limit of
            Nyquist after it (`shiftable.spectrum.aliasing_share`), mean over the images; None where
            no map precedes the stride, or one of fewer than 5.5 pixels for each of the stride, whose
            spectrum says nothing.
    """

    name: str
    call: int
    kind: str
    stride: tuple[float, ...]
    size: tuple[int, ...]
    to: tuple[int, ...]
    channels: int
    blurred: bool
    aliasing_share: float | None = None


def strided_operations(model: nn.Module, images: Tensor) -> list[StridedOperation]:
    """Lists every operation of a network that lowers resolution, in the order of the forward pass.

    It is found by running the network, so functional calls are seen as well as modules. Maps are
    taken to be `(N, C, H, W)`: slices of tokens or of `(N, H, W, C)` are not told from those of maps,
    and what reorders pixels by reshaping is not seen.

    Args:
        model: any network; left as it is.
        images: `(B, C, H, W)`, what the network is shown, on its device and in its dtype. The
            aliasing shares are of these images, so give real ones where these matter.

    Returns:
        The operations; those that anti-aliased layers already replaced are among them, `blurred`.

    Raises:
        ValueError: where the network fails.

    References:
        Azulay & Weiss, Why do deep convolutional networks generalize so poorly to small image
        transformations? (JMLR 2019), section 3.

    Examples:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, 2), torch.nn.MaxPool2d(2))
        >>> [(o.name, o.kind, o.stride, o.to) for o in strided_operations(net, torch.rand(1, 1, 9, 9))]
        [('0', 'convolution', (2, 2), (4, 4)), ('1', 'max pool', (2, 2), (2, 2))]
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"strided_operations: expected (B, C, H, W), got {tuple(images.shape)}")
    parts = [images[first : first + _AT_ONCE] for first in range(0, len(images), _AT_ONCE)]
    found = [listed(trace(model, part, _measure, blurs(model))) for part in parts]
    return [
        replace(operations[0], aliasing_share=_mean(operations, [len(part) for part in parts]))
        for operations in zip(*([o for _, o in part] for part in found), strict=True)
    ]


def _mean(operations: Sequence[StridedOperation], images: Sequence[int]) -> float | None:
    """The aliasing share over parts of the images."""
    shares = [operation.aliasing_share for operation in operations]
    known = [
        share * count for share, count in zip(shares, images, strict=True) if share is not None
    ]
    return sum(known) / sum(images) if len(known) == len(shares) else None


def listed(found: Trace) -> list[tuple[Step, StridedOperation]]:
    """The operations of a trace, each with its step."""
    operations = []
    for step in found.steps:
        described = describe(step)
        if described is None:
            continue
        kind, stride, blurred = described
        axes = len(stride)
        before, after = step.shapes
        operations.append(
            (
                step,
                StridedOperation(
                    step.module,
                    step.path[-1][1] if step.path else 0,
                    kind,
                    stride,
                    before[-axes:],
                    after[-axes:],
                    before[-axes - 1],
                    blurred or _blurred_before(found, step),
                    step.measured,
                ),
            )
        )
    return operations


def describe(step: Step) -> tuple[str, tuple[float, ...], bool] | None:
    """Kind, stride and whether it is a blur; None for what keeps the resolution."""
    describer = _DESCRIBERS.get(step.operator)
    if describer is None:
        return None
    described = describer(step)
    return None if described is None or max(described[1]) <= 1 else described


# -- kinds: what the operators' arguments say ------------------------------------------------------


def _argument(step: Step, position: int, default: Any) -> Any:
    return step.arguments[position] if len(step.arguments) > position else default


def _repeated(values: Any, axes: int) -> tuple[int, ...]:
    values = [values] if isinstance(values, int) else list(values)
    return tuple(values * axes if len(values) == 1 else values)


def _convolution(step: Step) -> tuple[str, tuple[float, ...], bool] | None:
    weight, stride, transposed = (step.arguments[i] for i in (1, 3, 6))
    if transposed:
        return None
    kernel = tuple(weight.shape[2:])
    stride = _repeated(stride, len(kernel))
    if max(kernel) == 1:
        kind = "shortcut convolution"
    elif kernel == stride:
        kind = "patchify convolution"
    elif weight.shape[1] == 1 and step.arguments[8] > 1:
        kind = "depthwise convolution"
    else:
        kind = "convolution"
    return ("blur", stride, True) if is_low_pass(step) else (kind, stride, False)


def is_low_pass(step: Step) -> bool:
    """Whether a convolution is a blur that is written as one: fixed, positive, equal by channel."""
    weight: Tensor = step.arguments[1]
    if isinstance(weight, nn.Parameter) or weight.shape[1] != 1 or weight[0].numel() == 1:
        return False
    row = weight[:1].float()
    return bool(
        torch.equal(weight.float(), row.expand_as(weight))
        and (row >= 0).all()
        and abs(row.sum().item() - 1) < 1e-2
    )


def _pool(kind: str) -> Callable[[Step], tuple[str, tuple[float, ...], bool] | None]:
    def described(step: Step) -> tuple[str, tuple[float, ...], bool] | None:
        axes = 3 if "3d" in str(step.operator) else 1 if "1d" in str(step.operator) else 2
        kernel = step.arguments[1]
        size = step.shapes[0][-axes:]
        if all(k >= n for k, n in zip(_repeated(kernel, axes), size, strict=True)):
            return None  # a global pool: no stride follows
        return kind, _repeated(_argument(step, 2, None) or kernel, axes), False

    return described


def _resized(kind: str, blurred: bool = False) -> Callable[[Step], Any]:
    """What is told by sizes alone; down to one pixel is a global pool, which no stride follows."""

    def described(step: Step) -> tuple[str, tuple[float, ...], bool] | None:
        before, after = (shape[2:] for shape in step.shapes)
        if len(before) != len(after) or max(after, default=1) == 1:
            return None
        ratio = [round(b / a, 3) for b, a in zip(before, after, strict=True)]
        return kind, tuple(int(r) if r == int(r) else r for r in ratio), blurred

    return described


def _slice(step: Step) -> tuple[str, tuple[float, ...], bool] | None:
    before = step.shapes[0]
    axis = _argument(step, 1, 0) % max(1, len(before))
    if len(before) != 4 or axis < 2:
        return None
    every = _argument(step, 4, 1)
    return "strided slice", (every, 1) if axis == 2 else (1, every), False


def _unshuffle(step: Step) -> tuple[str, tuple[float, ...], bool]:
    return "pixel unshuffle", (step.arguments[1],) * 2, False


def _ours(
    kind: str, taps: int, stride: int
) -> Callable[[Step], tuple[str, tuple[float, ...], bool]]:
    """Our own operators, with the positions of their taps and stride."""

    def described(step: Step) -> tuple[str, tuple[float, ...], bool]:
        long = any(len(step.arguments[at]) > 1 for at in (taps, taps + 1))
        return kind, tuple(step.arguments[stride]), long or kind == "polyphase"

    return described


_DESCRIBERS: dict[Any, Callable[[Step], Any]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pool("max pool"),
    aten.max_pool3d_with_indices: _pool("max pool"),
    aten.max_pool2d: _pool("max pool"),
    aten.max_pool1d: _pool("max pool"),
    aten.mkldnn_max_pool2d: _pool("max pool"),
    aten.avg_pool1d: _pool("average pool"),
    aten.avg_pool2d: _pool("average pool"),
    aten.avg_pool3d: _pool("average pool"),
    aten._adaptive_avg_pool2d: _resized("adaptive pool"),
    aten.adaptive_max_pool2d: _resized("adaptive pool"),
    aten.upsample_nearest2d: _resized("interpolation"),
    aten._upsample_nearest_exact2d: _resized("interpolation"),
    aten.upsample_bilinear2d: _resized("interpolation"),
    aten.upsample_bicubic2d: _resized("interpolation"),
    aten._upsample_bilinear2d_aa: _resized("interpolation", blurred=True),
    aten._upsample_bicubic2d_aa: _resized("interpolation", blurred=True),
    aten.slice: _slice,
    aten.pixel_unshuffle: _unshuffle,
    ours.blur_downsample: _ours("blur", 1, 3),
    ours.blur_downsample_prologue: _ours("blur", 4, 6),
    ours.max_blur_downsample: _ours("max blur", 2, 4),
    ours.polyphase_downsample: _ours("polyphase", 2, 4),
}


def _blurred_before(found: Trace, step: Step) -> bool:
    """Whether what the operation reads was just low-passed, at full resolution."""
    maker = found.producer(step.inputs[0]) if step.inputs else None
    while maker is not None and maker.operator in (aten.detach, aten.clone, aten.alias):
        maker = found.producer(maker.inputs[0])
    if maker is None or maker.operator not in _DESCRIBERS:
        return False
    described = _DESCRIBERS[maker.operator](maker)
    return described is not None and described[2] and max(described[1]) == 1


# -- the map before the stride ---------------------------------------------------------------------


def _measure(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """The aliasing share of an operation's map at stride 1."""
    dense, stride = _before_stride(function, args, kwargs)
    if dense is None or not dense.is_floating_point() or max(stride) <= 1:
        return None
    if dense.ndim == len(stride) + 1:
        dense = dense.unsqueeze(0)
    axes = zip(dense.shape[-len(stride) :], stride, strict=True)
    if any(step > 1 and size < _PIXELS * step for size, step in axes):
        return None
    return aliasing_share(dense, stride).mean().item()


def _before_stride(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor | None, list[int]]:
    packet = function.overloadpacket
    nothing: tuple[None, list[int]] = (None, [])
    if packet is aten.convolution and not args[6]:
        axes = args[1].ndim - 2
        stride = list(_repeated(args[3], axes))
        if max(stride) == 1:
            return nothing
        return function(*args[:3], [1] * axes, *args[4:]), stride
    if packet in (aten.max_pool2d_with_indices, aten.max_pool2d, aten.avg_pool2d):
        stride = list(_repeated((args[2] if len(args) > 2 else None) or args[1], 2))
        if max(stride) == 1:
            return nothing
        dense = function(*args[:2], [1, 1], *args[3:])
        return dense[0] if isinstance(dense, tuple) else dense, stride
    if packet is aten.slice and args[0].ndim == 4 and len(args) == 5 and args[4] > 1:
        axis = args[1] % 4
        return (args[0], [args[4], 1] if axis == 2 else [1, args[4]]) if axis >= 2 else nothing
    if packet in (ours.blur_downsample, ours.blur_downsample_prologue, ours.max_blur_downsample):
        at = {ours.blur_downsample: 3, ours.max_blur_downsample: 4}.get(packet, 6)
        stride = list(args[at])
        if max(stride) == 1:
            return nothing
        return function(*args[:at], [1, 1], *args[at + 1 :]), stride
    return nothing
