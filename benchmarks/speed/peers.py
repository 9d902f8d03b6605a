"""What users run today for the same results, from installed packages and from torch itself."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters
from torch import Tensor, nn

Candidate = Callable[[Tensor], Tensor]


@functools.cache
def _torchvision_operators() -> torch.library.Library:
    """Declares what torchvision needs to be imported beside a torch that it was not built for."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # kept by the cache: what is declared lives as long as the library


def load(name: str) -> Any:
    """Returns the installed package; raises ImportError where there is none."""
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        _torchvision_operators()
        return importlib.import_module(name)


def installed(name: str) -> Any | None:
    """The package, or None where it is not installed."""
    try:
        return load(name)
    except ImportError:
        return None


def antialiased_cnns_layer(taps: int, channels: int, dtype: torch.dtype) -> nn.Module | None:
    """The layer that most users have."""
    package = installed("antialiased_cnns")
    return None if package is None else package.BlurPool(channels, filt_size=taps).to(dtype)


def reflecting_layers(taps: int, channels: int, dtype: torch.dtype) -> dict[str, Candidate]:
    """Layers that compute what ours does by default."""
    found: dict[str, Candidate] = {}
    layer = antialiased_cnns_layer(taps, channels, dtype)
    if layer is not None:
        found["antialiased-cnns"] = layer
    timm = installed("timm.layers")
    if timm is not None and taps % 2:  # it pads even filters to another size
        found["timm"] = timm.BlurPool2d(channels, filt_size=taps).to(dtype)
    return found


def zero_padding_layers(taps: int, channels: int, dtype: torch.dtype) -> dict[str, Candidate]:
    """Layers that compute what ours does with `border="constant"`."""
    found: dict[str, Candidate] = {}
    kornia = installed("kornia.filters")
    if kornia is not None:
        found["kornia"] = kornia.BlurPool2D(taps, 2)
    if taps % 2:
        row = torch.tensor(filters.binomial(taps))
        weight = torch.outer(row, row).to(dtype).expand(channels, 1, taps, taps).contiguous()
        found["conv2d with padding"] = lambda image: F.conv2d(
            image, weight, stride=2, padding=taps // 2, groups=channels
        )
    return found


def near_relatives(taps: int, dtype: torch.dtype) -> dict[str, Candidate]:
    """Pools that compute something else, for scale."""
    found: dict[str, Candidate] = {
        "avg_pool2d": lambda image: F.avg_pool2d(image, taps, 2, (taps - 1) // 2)
    }
    if taps == 4 and dtype == torch.float32:  # equal but at the border; on a CPU not in 16 bits
        found["interpolate(antialias=True)"] = lambda image: F.interpolate(
            image, scale_factor=0.5, mode="bilinear", antialias=True
        )
    return found


def pad_and_convolve(
    taps: int, channels: int, dtype: torch.dtype, device: torch.device
) -> Candidate:
    """The blur as most write it: reflecting padding, then a convolution of each channel."""
    row = torch.tensor(filters.binomial(taps), device=device)
    weight = torch.outer(row, row).to(dtype).expand(channels, 1, taps, taps).contiguous()
    before, after = (taps - 1) // 2, taps // 2

    def blur(image: Tensor) -> Tensor:
        padded = F.pad(image, (before, after, before, after), mode="reflect")
        return F.conv2d(padded, weight, stride=2, groups=channels)

    return blur


def sum_of_slices(taps: int) -> Candidate:
    """The blur as a weighted sum of strided slices, which a compiler turns into one loop."""
    weights = filters.binomial(taps)
    before, after = (taps - 1) // 2, taps // 2

    def blur(image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = F.pad(image, (before, after, before, after), mode="reflect")
        rows = sum(w * padded[..., k : k + height : 2, :] for k, w in enumerate(weights))
        return sum(w * rows[..., k : k + width : 2] for k, w in enumerate(weights))  # type: ignore[return-value]

    return blur


def compiled_layers(taps: int, channels: int, dtype: torch.dtype) -> dict[str, Candidate]:
    """The peer's layer and the sum of slices, compiled."""
    found: dict[str, Candidate] = {"compiled sum of slices": torch.compile(sum_of_slices(taps))}
    layer = antialiased_cnns_layer(taps, channels, dtype)
    if layer is not None:
        found["compiled antialiased-cnns"] = torch.compile(layer)
    return found
