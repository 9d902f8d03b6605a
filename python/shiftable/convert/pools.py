"""Pools that blur: `torch.nn`'s own, with another forward.

A pool becomes one by changing its class, so that it stays the object that it was, with its
attributes, buffers, hooks and places in the network.
"""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from shiftable.filters import Taps, box
from shiftable.functional import Border, blur_downsample, max_blur_downsample


class Blur(NamedTuple):
    """The low-pass of a pool: taps (vertical, horizontal), border, and stride."""

    taps: tuple[Taps, Taps]
    border: Border
    stride: tuple[int, int]

    @property
    def lengths(self) -> tuple[int, int]:
        """How many taps, (vertical, horizontal)."""
        return len(self.taps[0]), len(self.taps[1])

    def __str__(self) -> str:
        vertical, horizontal = self.lengths
        size = f"{vertical}" if vertical == horizontal else f"{vertical}x{horizontal}"
        return f"blurred by {size} taps, border={self.border!r}"


class BlurredMaxPool2d(nn.MaxPool2d):
    """The maximum of every window, low-passed, then strided: one fused kernel."""

    antialias: Blur

    def forward(self, image: Tensor) -> Tensor:
        """Pools `(N, C, H, W)` or `(C, H, W)`."""
        return max_blur_downsample(
            image, self.kernel_size, self.antialias.taps, self.antialias.stride,
            border=self.antialias.border, max_pad=self.padding, dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"{super().extra_repr()}, {self.antialias}"


class BlurredAvgPool2d(nn.AvgPool2d):
    """The mean of every window, low-passed, then strided: one filter where there is no padding."""

    antialias: Blur

    def forward(self, image: Tensor) -> Tensor:
        """Pools `(N, C, H, W)` or `(C, H, W)`."""
        blur = self.antialias
        (top, bottom), (left, right) = (
            # Windows begin where they did; one more at the end where the size is rounded up.
            ((k - 1) // 2, k // 2 + (step - 1 if self.ceil_mode else 0))
            for k, step in zip(blur.lengths, blur.stride, strict=True)
        )
        kernel = pair(self.kernel_size)
        if pair(self.padding) == (0, 0) and self.divisor_override is None:
            vertical, horizontal = (
                tuple(np.convolve(box(k), row).tolist())
                for k, row in zip(kernel, blur.taps, strict=True)
            )
        else:
            image = functional.avg_pool2d(
                image, kernel, 1, self.padding, False, self.count_include_pad, self.divisor_override
            )
            vertical, horizontal = blur.taps
        return blur_downsample(
            image, (vertical, horizontal), blur.stride, border=blur.border,
            pad=(left, right, top, bottom),
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"{super().extra_repr()}, {self.antialias}"


_BLURRING: dict[type[nn.Module], type[nn.Module]] = {
    nn.MaxPool2d: BlurredMaxPool2d,
    nn.AvgPool2d: BlurredAvgPool2d,
}
_PLAIN = {blurring: plain for plain, blurring in _BLURRING.items()}


def is_pool(module: nn.Module) -> bool:
    """Whether a module is a pool that can be made to blur, and not another class of that kind."""
    return type(module) in _BLURRING


def make_blurring(pool: nn.Module, blur: Blur) -> None:
    """Makes a pool blur."""
    pool.antialias = blur  # type: ignore[assignment]
    pool.__class__ = _BLURRING[type(pool)]


def make_plain(module: nn.Module) -> bool:
    """Takes the blur away again; returns whether there was one."""
    if type(module) not in _PLAIN:
        return False
    del module.__dict__["antialias"]
    module.__class__ = _PLAIN[type(module)]
    return True


def pair(value: Any) -> tuple[int, int]:
    """An int for both axes, or one for each."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])
