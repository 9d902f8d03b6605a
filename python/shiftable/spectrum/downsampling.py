"""What steps that lower resolution keep of an image."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from shiftable.filters import binomial
from shiftable.functional import blur_downsample
from shiftable.spectrum.energy import aliasing_share, below_limit

NAMES = (
    "slice", "max", "convolution", "average", "blur-3", "blur-5", "blur-9", "ideal"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Downsampled:
    """What a step that lowers resolution does to images.

    Args:
        name: of the step.
        title: what it does, for people.
        stride: pixels between what is kept.
        before: `(N, C, H', W')` what the step computes, at every pixel.
        kept: `(N, C, h, w)` of that every `stride`-th pixel: the step's result.
        aliasing_share: `(N,)` of the energy of `before`, the share above the new limit of Nyquist.
    """

    name: str
    title: str
    stride: int
    before: Tensor
    kept: Tensor
    aliasing_share: Tensor


def downsampled(images: Tensor, name: str, stride: int = 4) -> Downsampled:
    """Lowers the resolution of images by a step of that name.

    Args:
        images: `(N, C, H, W)`, floating, H and W > the stride.
        name: `slice` keeps every `stride`-th pixel as it is; `max` the maximum over `stride` x
            `stride` pixels, `average` their mean; `convolution` a convolution of equal weights over
            `stride + 1` x `stride + 1` pixels; `blur-N` a binomial low-pass of N taps an axis;
            `ideal` removes all that is at or above the new limit of Nyquist, and nothing else.
        stride: pixels between what is kept, >= 1.

    Raises:
        ValueError: for an unknown name, or images too small.

    References:
        Azulay & Weiss, Why do deep convolutional networks generalize so poorly to small image
        transformations? (JMLR 2019), section 3; Zhang, Making Convolutional Networks Shift-Invariant
        Again (ICML 2019), section 3, for the blurs.

    Examples:
        A cosine below the new limit and one above it, of equal energy:

        >>> x = 2 * torch.pi * torch.arange(64.0)
        >>> both = (torch.cos(0.1 * x) + torch.cos(0.4 * x)).expand(1, 1, 64, 64)
        >>> [round(downsampled(both, n, 2).aliasing_share.item(), 2) for n in ("slice", "ideal")]
        [0.5, 0.0]
    """
    blur = re.fullmatch(r"blur-([1-9]\d{0,3})", name)
    if name not in _STEPS and blur is None:
        raise ValueError(f"unknown step '{name}'; known: {', '.join(_STEPS)}, blur-N with N taps")
    if images.ndim != 4 or not images.is_floating_point() or images.numel() == 0:
        raise ValueError(
            "downsampled: expected floating images (N, C, H, W), got "
            f"{tuple(images.shape)} of {images.dtype}"
        )
    if stride < 1 or min(images.shape[2:]) <= stride:
        raise ValueError(
            f"downsampled: expected a stride >= 1 and images of more pixels a side, got {stride} "
            f"and {images.shape[2]}x{images.shape[3]}"
        )
    if blur is None:
        title, step = _STEPS[name]
        before = step(images, stride)
        title = title.format(k=stride, more=stride + 1)
    else:
        before = blur_downsample(images, binomial(int(blur[1])), 1)
        title = f"blur-pool, {blur[1]} tap{'' if blur[1] == '1' else 's'}"
    kept = before[..., ::stride, ::stride]
    return Downsampled(name, title, stride, before, kept, aliasing_share(before, stride))


def _ideal(images: Tensor, stride: int) -> Tensor:
    """As `nn.IdealDownsample2d`, before it keeps every `stride`-th pixel."""
    if stride == 1:
        return images
    for axis in (-2, -1):
        size = images.shape[axis]
        passes = below_limit(size, stride, images.device)
        shape = (size, 1) if axis == -2 else (size,)
        images = torch.fft.ifft(torch.fft.fft(images, dim=axis) * passes.view(shape), dim=axis).real
    return images


_STEPS: dict[str, tuple[str, Callable[[Tensor, int], Tensor]]] = {
    "slice": ("strided slice", lambda images, stride: images),
    "max": ("max-pool, {k} x {k}", lambda images, k: F.max_pool2d(images, k, 1)),
    "convolution": (
        "convolution of ones, {more} x {more}",
        lambda images, k: F.avg_pool2d(images, k + 1, 1),
    ),
    "average": ("average pool, {k} x {k}", lambda images, k: F.avg_pool2d(images, k, 1)),
    "ideal": ("ideal low-pass", _ideal),
}
