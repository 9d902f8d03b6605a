"""What a network is shown of images whose content moves."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from shiftable.engine import device_of, dtype_of
from shiftable.functional import take_windows

Padding = Literal["own", "circular"]
Colour = float | Sequence[float]


def windows(
    model: nn.Module,
    images: Sequence[Tensor],
    size: tuple[int, int],
    padding: Padding = "own",
    by: tuple[int, int] = (0, 0),
    room: Sequence[int] = (0, 0),
    *,
    scale: Colour | None = None,
    bias: Colour | None = None,
) -> Tensor:
    """Returns the middle windows (B, C, h, w) of images whose content has moved, for a network.

    They are channels_last, where the network is and in its dtype.

    Args:
        model: the network.
        images: `(C, H, W)` each.
        size: (h, w), pixels.
        padding: `circular` moves the middle around by itself; with `own` it slides over the image.
        by: (dy, dx), pixels; for `own` from 0 to `room`.
        room: (vertical, horizontal) pixels that have to be around the window.
        scale: factor that turns a pixel into the network's input.
        bias: term added after the factor.

    Raises:
        ValueError: for images that are too small.
    """
    shown = []
    for image in images:
        free = [n - s for n, s in zip(image.shape[1:], size, strict=True)]
        room = (0, 0) if padding == "circular" else room
        if padding == "own" and min(f - r for f, r in zip(free, room, strict=True)) < 0:
            raise ValueError(
                f"expected images of {size[0] + room[0]}x{size[1] + room[1]} pixels at least (the "
                "window, and a stride of the whole network to slide over), got "
                f"{image.shape[1]}x{image.shape[2]}"
            )
        corner = [(f + r) // 2 for f, r in zip(free, room, strict=True)]
        if padding == "circular":
            # A window a little larger than the image is continued by its mirror image.
            image = take_windows(image[None], torch.tensor([corner]), size, border="reflect")[0, 0]
            corner = [0, 0]
        at = torch.tensor([[corner[0] - by[0], corner[1] - by[1]]])
        border: Literal["circular", "reflect"] = "circular" if padding == "circular" else "reflect"
        shown.append(take_windows(image[None], at, size, border=border, scale=scale, bias=bias)[0])
    return torch.cat(shown).to(device_of(model), dtype_of(model), memory_format=torch.channels_last)
