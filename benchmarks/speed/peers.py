"""What users run today for the same results, from installed packages and from torch itself."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters
from torch import Tensor


def installed(name: str) -> Any | None:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except Exception:  # also a build that does not fit the installed torch
        return None


def blur_layers(
    taps: int, channels: int, dtype: torch.dtype
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Layers that low-pass with the same binomial filter, then take every second pixel."""
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    antialiased_cnns = installed("antialiased_cnns")
    if antialiased_cnns is not None:
        found["antialiased-cnns"] = antialiased_cnns.BlurPool(channels, filt_size=taps).to(dtype)
    return found


def sum_of_slices(taps: int) -> Callable[[Tensor], Tensor]:
    """The blur as a weighted sum of strided slices, which a compiler turns into one loop."""
    weights = filters.binomial(taps)
    before, after = (taps - 1) // 2, taps // 2

    def blur(image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = F.pad(image, (before, after, before, after), mode="reflect")
        rows = sum(w * padded[..., k : k + height : 2, :] for k, w in enumerate(weights))
        return sum(w * rows[..., k : k + width : 2] for k, w in enumerate(weights))  # type: ignore[return-value]

    return blur


def zero_padded_convolution(
    taps: int, channels: int, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """A depthwise convolution with its own zero padding (odd filters; another border)."""
    row = torch.tensor(filters.binomial(taps))
    weight = torch.outer(row, row).to(dtype).expand(channels, 1, taps, taps).contiguous()
    return lambda image: F.conv2d(image, weight, stride=2, padding=taps // 2, groups=channels)


def pool(taps: int) -> Callable[[Tensor], Tensor]:
    """An average-pool of as many taps, for scale: another filter."""
    return lambda image: F.avg_pool2d(image, taps, 2, (taps - 1) // 2)
