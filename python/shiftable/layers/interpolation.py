"""Maps moved by shares of a pixel, and how fast they change: of the band-limited function through their pixels."""

from typing import Literal

import torch
from torch import Tensor


def shifted(maps: Tensor, axis: int, by: float) -> Tensor:
    """Periodic maps, moved along an axis by any number of their pixels."""
    if by == int(by):
        return maps.roll(int(by), axis)
    size = maps.shape[axis]
    frequency = torch.fft.rfftfreq(size, dtype=torch.float64, device=maps.device)
    turn = torch.exp(-2j * torch.pi * frequency * by)
    if size % 2 == 0:
        # A cosine at the limit of Nyquist, of which its sine is not known.
        turn[-1] = turn[-1].real.clone()
    shape = [-1, 1] if axis == -2 else [-1]
    spectrum = torch.fft.rfft(maps, dim=axis)
    moved: Tensor = torch.fft.irfft(spectrum * turn.to(spectrum.dtype).view(shape), size, axis)
    return moved


def mirror_shifted(maps: Tensor, axis: int, by: float) -> Tensor:
    """The same of maps that end at an edge, where they are continued by their mirror image."""
    if by == int(by):
        return maps.roll(int(by), axis)  # what enters is left out
    both = torch.cat([maps, maps.flip(axis)], axis)
    return shifted(both, axis, by).narrow(axis, 0, maps.shape[axis])


def derivative(maps: Tensor, axis: Literal["horizontal", "vertical"], stride: int) -> Tensor:
    """How fast maps (N, C, H, W) change as content moves right or down by an image's pixel."""
    dim = -1 if axis == "horizontal" else -2
    size = maps.shape[dim]
    exact = maps if maps.dtype == torch.float64 else maps.float()
    both = torch.cat([exact, exact.flip(dim)], dim)  # of even size, so a limit of Nyquist is there
    frequency = torch.fft.rfftfreq(2 * size, dtype=torch.float64, device=maps.device)
    frequency[-1] = 0  # a cosine at the limit of Nyquist is at rest
    turn = -2j * torch.pi * frequency / stride
    spectrum = torch.fft.rfft(both, dim=dim)
    turned = spectrum * turn.to(spectrum.dtype).view([-1, 1] if dim == -2 else [-1])
    changing: Tensor = torch.fft.irfft(turned, 2 * size, dim)
    return changing.narrow(dim, 0, size).to(maps.dtype)
