"""The only file that names torch.ops.shiftable: pairs each operator with its transpose."""

import torch
from torch import Tensor

from shiftable import _C as _C  # importing it registers the operators

ops = torch.ops.shiftable


def _format(image: Tensor) -> torch.memory_format:
    """Returns the memory format that an operator's result keeps."""
    last = image.dim() == 4 and image.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not image.is_contiguous() else torch.contiguous_format


def _blurred(n, taps, stride, pad):
    before, after = pad if pad is not None else ((len(taps) - 1) // 2, len(taps) // 2)
    return (n + before + after - len(taps)) // stride + 1


@torch.library.register_fake("shiftable::blur_downsample")
def _(image, taps_y, taps_x, stride, border, pad):
    h = _blurred(image.shape[-2], taps_y, stride[0], pad[2:] if pad is not None else None)
    w = _blurred(image.shape[-1], taps_x, stride[1], pad[:2] if pad is not None else None)
    return image.new_empty((*image.shape[:-2], h, w)).to(memory_format=_format(image))


@torch.library.register_fake("shiftable::blur_downsample_transpose")
def _(grad, height, width, taps_y, taps_x, stride, border, pad):
    return grad.new_empty((*grad.shape[:-2], height, width)).to(memory_format=_format(grad))
