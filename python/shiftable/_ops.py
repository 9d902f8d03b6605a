"""The only file that names torch.ops.shiftable: pairs each operator with its transpose.

Fake kernels repeat one rule of the C++ side, the size of an output; a test compares the two.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from shiftable import _C as _C  # importing it registers the operators

ops = torch.ops.shiftable


def _load_eager() -> Any:
    """The short way for small tensors on the CPU, or None: it serves the torch it was built with.

    SHIFTABLE_EAGER=0 leaves it out.
    """
    built = _C.build_info()["torch"].partition("+")[0]
    if os.environ.get("SHIFTABLE_EAGER") == "0" or torch.__version__.partition("+")[0] != built:
        return None
    try:
        return import_module("shiftable._eager")
    except ImportError:
        return None


eager = _load_eager()


def has_kernels(device: torch.device) -> bool:
    """Whether this build's operators run on the device."""
    return device.type == "cpu" or (device.type == "cuda" and bool(_C.build_info()["cuda"]))


def keeps_channels_last(image: Tensor) -> bool:
    """Whether an operator's result is channels_last: where the image is, and is not NCHW too."""
    if image.dim() != 4 or image.is_contiguous():
        return False
    return image.is_contiguous(memory_format=torch.channels_last)


def _empty(like: Tensor, shape: Sequence[int], dtype: torch.dtype, channels_last: bool) -> Tensor:
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=memory_format)


def _windows(n: int, before: int, after: int, extent: int, stride: int, ceil_mode: bool) -> int:
    room = n + before + after - extent
    return (room + (stride - 1 if ceil_mode else 0)) // stride + 1


def _blurred(
    height: int,
    width: int,
    taps_y: Sequence[float],
    taps_x: Sequence[float],
    stride: Sequence[int],
    pad: Sequence[int] | None,
    ceil_mode: bool = False,
) -> tuple[int, int]:
    ky, kx = len(taps_y), len(taps_x)
    left, right, top, bottom = pad or ((kx - 1) // 2, kx // 2, (ky - 1) // 2, ky // 2)
    return (
        _windows(height, top, bottom, ky, stride[0], ceil_mode),
        _windows(width, left, right, kx, stride[1], ceil_mode),
    )


# -- blur_downsample ------------------------------------------------------------------------------


@register_fake("shiftable::blur_downsample")
def _(image, taps_y, taps_x, stride, border, pad):  # type: ignore[no-untyped-def]
    height, width = image.shape[-2:]
    size = _blurred(height, width, taps_y, taps_x, stride, pad)
    return _empty(image, (*image.shape[:-2], *size), image.dtype, keeps_channels_last(image))


@register_fake("shiftable::blur_downsample_transpose")
def _(grad, height, width, taps_y, taps_x, stride, border, pad):  # type: ignore[no-untyped-def]
    return _empty(grad, (*grad.shape[:-2], height, width), grad.dtype, keeps_channels_last(grad))


@register_fake("shiftable::blur_downsample_prologue")
def _(image, scale, bias, relu, taps_y, taps_x, stride, border, pad):  # type: ignore[no-untyped-def]
    height, width = image.shape[-2:]
    size = _blurred(height, width, taps_y, taps_x, stride, pad)
    return _empty(image, (*image.shape[:-2], *size), image.dtype, keeps_channels_last(image))


@register_fake("shiftable::blur_downsample_prologue_transpose")
def _(grad, image, scale, bias, relu, *arguments):  # type: ignore[no-untyped-def]
    result = _empty(image, image.shape, image.dtype, keeps_channels_last(image))
    return result, torch.empty_like(scale), torch.empty_like(bias)


def _blur_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.size = inputs[0].shape[-2:]
    ctx.filter = inputs[1:]


def _blur_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return ops.blur_downsample_transpose(grad, *ctx.size, *ctx.filter), *[None] * 5


def _blur_transpose_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.filter = inputs[3:]


def _blur_transpose_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return ops.blur_downsample(grad, *ctx.filter), *[None] * 7


register_autograd("shiftable::blur_downsample", _blur_backward, setup_context=_blur_setup)
register_autograd(
    "shiftable::blur_downsample_transpose",
    _blur_transpose_backward,
    setup_context=_blur_transpose_setup,
)


def _prologue_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.arguments = inputs[3:]


def _prologue_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    grads = ops.blur_downsample_prologue_transpose(grad, *ctx.saved_tensors, *ctx.arguments)
    return *grads, *[None] * 6


def _prologue_transpose_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.arguments = inputs[4:]


def _prologue_transpose_backward(
    ctx: Any, image_tangent: Tensor, scale_tangent: Tensor, bias_tangent: Tensor
) -> tuple[Any, ...]:
    """Seldom wanted, so written with torch's own operators, in the type that sums are in.

    With h the blur's transpose of the gradient and m where the prologue let a pixel x through, the
    forward is (m h scale, sum of m h x, sum of m h).
    """
    grad, image, scale, bias = ctx.saved_tensors
    relu, *arguments = ctx.arguments
    scale, bias, scale_tangent, bias_tangent = (
        tensor[:, None, None] for tensor in (scale, bias, scale_tangent, bias_tangent)
    )
    x, tangent = image.to(scale.dtype), image_tangent.to(scale.dtype)
    through = (x * scale + bias > 0) if relu else torch.ones_like(x, dtype=torch.bool)
    transposed = ops.blur_downsample_transpose(grad, *image.shape[-2:], *arguments)
    h = transposed.to(scale.dtype) * through
    moved = through * (tangent * scale + scale_tangent * x + bias_tangent)
    every_axis_but_channels = [axis for axis in range(image.dim()) if axis != image.dim() - 3]
    return (
        ops.blur_downsample(moved.to(grad.dtype), *arguments),
        (h * scale_tangent).to(image.dtype),
        (h * tangent).sum(every_axis_but_channels),
        None,
        *[None] * 6,
    )


register_autograd(
    "shiftable::blur_downsample_prologue", _prologue_backward, setup_context=_prologue_setup
)
register_autograd(
    "shiftable::blur_downsample_prologue_transpose",
    _prologue_transpose_backward,
    setup_context=_prologue_transpose_setup,
)


# -- max_blur_downsample: linear in its values, so gather and transpose are each other's gradient --


def _max_blur_fake(image: Tensor, *arguments: Any) -> Tensor:
    kernel_size, taps_y, taps_x, stride, _, pad, max_pad, dilation, ceil_mode = arguments
    height, width = (
        _windows(n, p, p, (k - 1) * d + 1, 1, False)
        for n, p, k, d in zip(image.shape[-2:], max_pad, kernel_size, dilation, strict=True)
    )
    size = _blurred(height, width, taps_y, taps_x, stride, pad, ceil_mode)
    return _empty(image, (*image.shape[:-2], *size), image.dtype, keeps_channels_last(image))


register_fake("shiftable::max_blur_downsample", _max_blur_fake)


@register_fake("shiftable::max_blur_downsample_gather")
def _(values, image, *arguments):  # type: ignore[no-untyped-def]
    return _max_blur_fake(image, *arguments)


@register_fake("shiftable::max_blur_downsample_transpose")
def _(grad, image, *arguments):  # type: ignore[no-untyped-def]
    return _empty(image, image.shape, image.dtype, keeps_channels_last(image))


def _max_blur_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.arguments = inputs[1:]


def _max_blur_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (image,) = ctx.saved_tensors
    return ops.max_blur_downsample_transpose(grad, image, *ctx.arguments), *[None] * 9


def _max_blur_linear_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.arguments = inputs[2:]


def _max_blur_gather_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (image,) = ctx.saved_tensors
    return ops.max_blur_downsample_transpose(grad, image, *ctx.arguments), *[None] * 10


def _max_blur_transpose_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (image,) = ctx.saved_tensors
    return ops.max_blur_downsample_gather(grad, image, *ctx.arguments), *[None] * 10


register_autograd(
    "shiftable::max_blur_downsample", _max_blur_backward, setup_context=_max_blur_setup
)
register_autograd(
    "shiftable::max_blur_downsample_gather",
    _max_blur_gather_backward,
    setup_context=_max_blur_linear_setup,
)
register_autograd(
    "shiftable::max_blur_downsample_transpose",
    _max_blur_transpose_backward,
    setup_context=_max_blur_linear_setup,
)


# -- polyphase ------------------------------------------------------------------------------------


@register_fake("shiftable::polyphase_norms")
def _(image, taps_y, taps_x, stride, border, norm):  # type: ignore[no-untyped-def]
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    return _empty(image, (*image.shape[:-3], stride[0] * stride[1]), dtype, False)


@register_fake("shiftable::polyphase_downsample")
def _(image, phase, taps_y, taps_x, stride, border):  # type: ignore[no-untyped-def]
    height, width = image.shape[-2:]
    size = _blurred(height, width, taps_y, taps_x, stride, None)
    return _empty(image, (*image.shape[:-2], *size), image.dtype, keeps_channels_last(image))


@register_fake("shiftable::polyphase_downsample_transpose")
def _(grad, phase, height, width, taps_y, taps_x, stride, border):  # type: ignore[no-untyped-def]
    return _empty(grad, (*grad.shape[:-2], height, width), grad.dtype, keeps_channels_last(grad))


def _norms_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.mark_non_differentiable(output)


def _norms_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return (None,) * 6


def _component_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, phase, *ctx.filter = inputs
    ctx.save_for_backward(phase)
    ctx.size = image.shape[-2:]


def _component_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (phase,) = ctx.saved_tensors
    transposed = ops.polyphase_downsample_transpose(grad, phase, *ctx.size, *ctx.filter)
    return transposed, *[None] * 5


def _component_transpose_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, phase, _, _, *ctx.filter = inputs
    ctx.save_for_backward(phase)


def _component_transpose_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (phase,) = ctx.saved_tensors
    return ops.polyphase_downsample(grad, phase, *ctx.filter), *[None] * 7


register_autograd("shiftable::polyphase_norms", _norms_backward, setup_context=_norms_setup)
register_autograd(
    "shiftable::polyphase_downsample", _component_backward, setup_context=_component_setup
)
register_autograd(
    "shiftable::polyphase_downsample_transpose",
    _component_transpose_backward,
    setup_context=_component_transpose_setup,
)


# -- take_windows ---------------------------------------------------------------------------------


@register_fake("shiftable::take_windows")
def _(images, corners, size, border, fill, interpolation, scale, bias, dtype, channels_last):  # type: ignore[no-untyped-def]
    n, c = images.shape[:2]
    s = corners.shape[-2]
    return _empty(images, (n * s, c, *size), dtype, channels_last).view(n, s, c, *size)


@register_fake("shiftable::take_windows_transpose")
def _(grad, corners, height, width, border, interpolation, scale, dtype, channels_last):  # type: ignore[no-untyped-def]
    n, _, c = grad.shape[:3]
    return _empty(grad, (n, c, height, width), dtype, channels_last)


def _windows_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    images, corners, _, border, _, interpolation, scale, *_ = inputs
    ctx.save_for_backward(corners)
    ctx.arguments = (*images.shape[-2:], border, interpolation, scale, images.dtype)
    ctx.channels_last = keeps_channels_last(images)


def _windows_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (corners,) = ctx.saved_tensors
    transposed = ops.take_windows_transpose(grad, corners, *ctx.arguments, ctx.channels_last)
    return transposed, *[None] * 9


def _windows_transpose_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, corners, _, _, border, interpolation, scale, *_ = inputs
    ctx.save_for_backward(corners)
    ctx.arguments = (grad.shape[-2:], border, None, interpolation, scale, None, grad.dtype, False)


def _windows_transpose_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (corners,) = ctx.saved_tensors
    return ops.take_windows(grad, corners, *ctx.arguments), *[None] * 8


register_autograd("shiftable::take_windows", _windows_backward, setup_context=_windows_setup)
register_autograd(
    "shiftable::take_windows_transpose",
    _windows_transpose_backward,
    setup_context=_windows_transpose_setup,
)


# -- results written to memory that is there ------------------------------------------------------


def _out_fake(*arguments: Any) -> None:
    """Nothing is returned; `out` is what it was."""


for _name in (
    "blur_downsample_out",
    "blur_downsample_transpose_out",
    "blur_downsample_prologue_out",
    "max_blur_downsample_out",
    "max_blur_downsample_transpose_out",
    "take_windows_out",
):
    register_fake(f"shiftable::{_name}", _out_fake)
