"""How much of a map's energy lies above the limit of Nyquist that a stride leaves."""

from collections.abc import Sequence

import torch
from torch import Tensor

_BETA = 8.0  # of the Kaiser window: side lobes below -58 dB, so what leaks over the limit is < 1e-5


def aliasing_share(maps: Tensor, stride: int | Sequence[int]) -> Tensor:
    """Returns the share of spectral energy that a stride folds back: what no longer has a place.

    Of each channel the mean is removed (weighted by the window, so that nothing is left at frequency
    0), a separable Kaiser window with beta 8 is applied, and the energies of all channels are added.
    The share is that outside `|f| < 1 / (2 * stride)` cycles/pixel on each axis. The window's main
    lobe is about 5 / n cycles/pixel wide for n pixels: a sharper limit is not seen on small maps.

    Args:
        maps: `(N, C, *size)`, with the last len(stride) axes the spatial ones; floating.
        stride: pixels between what is kept, >= 1, one or one for each spatial axis; one alone is of
            two axes.

    Returns:
        `(N,)` in float64, from 0 to 1; 0 for a constant map.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Karras et al., Alias-Free Generative Adversarial Networks (NeurIPS 2021), appendix B, for the
        window.

    Examples:
        >>> wave = lambda f: torch.cos(2 * torch.pi * f * torch.arange(64)).expand(1, 1, 64, 64)
        >>> [round(aliasing_share(wave(f), 2).item(), 4) for f in (0.1, 0.4)]
        [0.0, 1.0]
    """
    strides = [stride, stride] if isinstance(stride, int | float) else list(stride)
    axes = list(range(-len(strides), 0))
    whole = all(isinstance(step, int) for step in strides)
    if not strides or not whole or min(strides) < 1 or maps.ndim != len(strides) + 2:
        raise ValueError(
            "aliasing_share: expected maps (N, C, *size) and a stride >= 1 for each axis of size, "
            f"got {tuple(maps.shape)} and {stride}"
        )
    if maps.numel() == 0:
        return torch.zeros(len(maps), dtype=torch.float64, device=maps.device)
    windowed = maps.double()
    window = torch.ones((), dtype=torch.float64, device=maps.device)
    outside = torch.zeros((), dtype=torch.bool, device=maps.device)
    for axis, step in zip(axes, strides, strict=True):
        size = maps.shape[axis]
        shape = [1] * (-axis - 1)
        # Two pixels more, as its own ends are nearly 0, which a map of one pixel cannot do with.
        row = torch.kaiser_window(size + 2, False, _BETA, dtype=torch.float64, device=maps.device)
        window = window * row[1:-1].view(size, *shape)
        beyond = torch.fft.fftfreq(size, device=maps.device).abs() >= 1 / (2 * step)
        outside = outside | (beyond if step > 1 else torch.zeros_like(beyond)).view(size, *shape)
    total = (windowed * window).square().flatten(1).sum(1)
    mean = (windowed * window).sum(axes, keepdim=True) / window.sum()
    spectrum = torch.fft.fftn((windowed - mean) * window, dim=axes)
    energy = spectrum.real.square() + spectrum.imag.square()
    left = energy.flatten(1).sum(1)
    aliased = (energy * outside).flatten(1).sum(1)
    # What is left of a constant map is rounding.
    pixels = maps[0, 0].numel()
    return torch.where(left > 1e-20 * pixels * total, aliased / left, 0.0)
