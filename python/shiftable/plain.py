"""The blurs written with torch's own operators: pad, max-pool and convolution.

For what knows no others: ONNX and its runtimes, TensorRT, Core ML. Slower here, and never used but
where it is asked for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shiftable._C import border_index

_asked = False


@contextmanager
def plain_operators() -> Iterator[None]:
    """Within it, blurs are a pad and a depthwise convolution with constant weights.

    For exporting a network that has layers of `shiftable.nn`, or that `antialias` mended, to ONNX:
    the file needs nothing of this package. Values differ by rounding. `border="constant"` pads
    within the convolution's own zero padding, which every runtime has; TensorRT's reflection needs a
    recent one. Not for several threads at a time.

    Examples:
        >>> import torch
        >>> from shiftable import plain_operators
        >>> from shiftable.nn import BlurPool2d
        >>> image = torch.rand(1, 3, 8, 8)
        >>> with plain_operators():
        ...     program = torch.export.export(BlurPool2d(), (image,))
        >>> any("shiftable" in str(node.target) for node in program.graph.nodes)
        False
    """
    global _asked
    before, _asked = _asked, True
    try:
        yield
    finally:
        _asked = before


def asked() -> bool:
    """Whether blurs are to be written with torch's own operators."""
    return _asked


def blur_downsample(
    image: Tensor,
    taps_y: Sequence[float],
    taps_x: Sequence[float],
    stride: Sequence[int],
    border: str,
    pad: Sequence[int] | None,
) -> Tensor:
    """`shiftable.functional.blur_downsample`, without a prologue."""
    left, right, top, bottom = pad or _default_pad(taps_y, taps_x)
    channels = image.shape[-3]
    weight = _weight(image, channels, taps_y, taps_x)
    symmetric = left == right >= 0 and top == bottom >= 0
    if border == "constant" and symmetric:
        return functional.conv2d(image, weight, None, list(stride), [top, left], groups=channels)
    padded = _padded(image, left, right, top, bottom, border)
    return functional.conv2d(padded, weight, None, list(stride), groups=channels)


def blur_downsample_transpose(
    grad: Tensor,
    height: int,
    width: int,
    taps_y: Sequence[float],
    taps_x: Sequence[float],
    stride: Sequence[int],
    border: str,
    pad: Sequence[int] | None,
) -> Tensor:
    """Its transpose, for a constant border: what falls outside is left out."""
    left, _, top, _ = pad or _default_pad(taps_y, taps_x)
    channels = grad.shape[-3]
    weight = _weight(grad, channels, taps_y, taps_x)
    whole = functional.conv_transpose2d(grad, weight, None, list(stride), groups=channels)
    right, bottom = width + left - whole.shape[-1], height + top - whole.shape[-2]
    return functional.pad(whole, (-left, right, -top, bottom))


def blur_downsample_prologue(
    image: Tensor, scale: Tensor, bias: Tensor, relu: bool, *arguments: Any
) -> Tensor:
    """The same with a prologue."""
    result = image * scale[:, None, None].to(image.dtype) + bias[:, None, None].to(image.dtype)
    return blur_downsample(result.relu() if relu else result, *arguments)


def max_blur_downsample(
    image: Tensor,
    kernel_size: Sequence[int],
    taps_y: Sequence[float],
    taps_x: Sequence[float],
    stride: Sequence[int],
    border: str,
    pad: Sequence[int] | None,
    max_pad: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """`shiftable.functional.max_blur_downsample`."""
    largest = functional.max_pool2d(image, list(kernel_size), 1, list(max_pad), list(dilation))
    if ceil_mode:
        left, right, top, bottom = pad or _default_pad(taps_y, taps_x)
        pad = [left, right + stride[1] - 1, top, bottom + stride[0] - 1]
    return blur_downsample(largest, taps_y, taps_x, stride, border, pad)


def polyphase_norms(
    image: Tensor, taps_y: Sequence[float], taps_x: Sequence[float], stride: Sequence[int],
    border: str, norm: str,
) -> Tensor:  # fmt: skip
    """`shiftable.functional.polyphase_norms`."""
    components = _components(image, taps_y, taps_x, stride, border).flatten(-3)
    order = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}[norm]
    dtype = torch.promote_types(image.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(components, order, -1, dtype=dtype)
    return norms.movedim(0, -1)


def polyphase_downsample(
    image: Tensor, phase: Tensor, taps_y: Sequence[float], taps_x: Sequence[float],
    stride: Sequence[int], border: str,
) -> Tensor:  # fmt: skip
    """`shiftable.functional.polyphase_downsample` with a phase."""
    components = _components(image, taps_y, taps_x, stride, border)
    if image.ndim == 3:
        return components.index_select(0, phase.reshape(1))[0]
    chosen = phase.expand(len(image)).reshape(1, -1, 1, 1, 1)
    return components.gather(0, chosen.expand(1, *components.shape[1:]))[0]


def _components(
    image: Tensor, taps_y: Sequence[float], taps_x: Sequence[float], stride: Sequence[int],
    border: str,
) -> Tensor:  # fmt: skip
    """All of them, (sy * sx, N, C, h, w)."""
    left, right, top, bottom = _default_pad(taps_y, taps_x)
    return torch.stack(
        [
            blur_downsample(image, taps_y, taps_x, stride, border,
                            [left - j, right + j, top - i, bottom + i])
            for i in range(stride[0])
            for j in range(stride[1])
        ]
    )  # fmt: skip


def _default_pad(taps_y: Sequence[float], taps_x: Sequence[float]) -> list[int]:
    ky, kx = len(taps_y), len(taps_x)
    return [(kx - 1) // 2, kx // 2, (ky - 1) // 2, ky // 2]


def _weight(
    image: Tensor, channels: int, taps_y: Sequence[float], taps_x: Sequence[float]
) -> Tensor:
    """The filter of every channel, (C, 1, ky, kx)."""
    kernel = [[vertical * horizontal for horizontal in taps_x] for vertical in taps_y]
    constant = torch.tensor(kernel, dtype=image.dtype, device=image.device)
    return constant.expand(channels, 1, -1, -1)


def _padded(image: Tensor, left: int, right: int, top: int, bottom: int, border: str) -> Tensor:
    height, width = image.shape[-2:]
    if border == "constant":
        return functional.pad(image, (left, right, top, bottom))
    most = height - 1, width - 1
    if (
        min(left, right, top, bottom) >= 0
        and max(top, bottom) <= most[0]
        and max(left, right) <= most[1]
    ):
        batched = image if image.ndim == 4 else image[None]
        padded = functional.pad(batched, (left, right, top, bottom), mode=border)
        return padded if image.ndim == 4 else padded[0]
    # Beyond what torch pads, or cropped: every position by the border's own rule.
    rows = [border_index(border, y, height) for y in range(-top, height + bottom)]
    columns = [border_index(border, x, width) for x in range(-left, width + right)]
    return image[..., rows, :][..., columns]
