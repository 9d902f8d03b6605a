"""Where the energy of a map lies, by frequency, and how much of it a stride has no place for."""

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
    whole = all(isinstance(step, int) for step in strides)
    if not strides or not whole or min(strides) < 1 or maps.ndim != len(strides) + 2:
        raise ValueError(
            "aliasing_share: expected maps (N, C, *size) and a stride >= 1 for each axis of size, "
            f"got {tuple(maps.shape)} and {stride}"
        )
    if maps.numel() == 0:
        return torch.zeros(len(maps), dtype=torch.float64, device=maps.device)
    outside = torch.zeros((), dtype=torch.bool, device=maps.device)
    for axis, step in zip(range(-len(strides), 0), strides, strict=True):
        kept = below_limit(maps.shape[axis], step, maps.device)
        outside = outside | ~kept.view(-1, *[1] * (-axis - 1))
    energy, total = _energy(maps, len(strides))
    left = energy.flatten(1).sum(1)
    aliased = (energy * outside).flatten(1).sum(1)
    # What is left of a constant map is rounding.
    pixels = maps[0, 0].numel()
    return torch.where(left > 1e-20 * pixels * total, aliased / left, 0.0)


def below_limit(size: int, stride: int, device: torch.device) -> Tensor:
    """Which frequencies of an axis, 0 first, a stride has a place for; in whole numbers, so exact."""
    number = torch.arange(size, device=device)
    return (2 * stride * torch.minimum(number, size - number) < size) | (stride == 1)


def _energy(maps: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    """Energies (N, *size) of all channels, frequency 0 first, and that of the windowed maps (N,)."""
    spatial = list(range(-axes, 0))
    window = torch.ones((), dtype=torch.float64, device=maps.device)
    for axis in spatial:
        size = maps.shape[axis]
        # Two pixels more, as its own ends are nearly 0, which a map of one pixel cannot do with.
        row = torch.kaiser_window(size + 2, False, _BETA, dtype=torch.float64, device=maps.device)
        window = window * row[1:-1].view(size, *[1] * (-axis - 1))
    windowed = maps.double() * window
    mean = windowed.sum(spatial, keepdim=True) / window.sum()
    spectrum = torch.fft.fftn(windowed - mean * window, dim=spatial)
    energy = spectrum.real.square() + spectrum.imag.square()
    return energy.sum(1), windowed.square().flatten(1).sum(1)


def energy_spectrum(maps: Tensor, axes: int = 2) -> Tensor:
    """Returns the energy at each frequency, of all channels together, frequency 0 in the middle.

    As for `aliasing_share`, the mean is removed and a Kaiser window with beta 8 applied, so that the
    image's edges, where nothing is periodic, draw no cross.

    Args:
        maps: `(N, C, *size)`, floating, no axis empty.
        axes: how many of the last axes are spatial, >= 1.

    Returns:
        `(N, *size)` in float64; `frequencies` says which frequency is where.

    Raises:
        ValueError: for a shape outside the above.

    Examples:
        >>> wave = torch.cos(2 * torch.pi * 0.25 * torch.arange(64.0)).expand(1, 1, 64, 64)
        >>> at = energy_spectrum(wave)[0].argmax()
        >>> [abs(frequencies(64)[i].item()) for i in (at // 64, at % 64)]
        [0.0, 0.25]
    """
    if axes < 1 or maps.ndim != axes + 2 or maps.numel() == 0:
        raise ValueError(
            f"energy_spectrum: expected maps (N, C, *size) of {axes} spatial axes, none empty, got "
            f"{tuple(maps.shape)}"
        )
    energy, _ = _energy(maps, axes)
    centred: Tensor = torch.fft.fftshift(energy, dim=list(range(-axes, 0)))
    return centred


def frequencies(size: int, spacing: int = 1) -> Tensor:
    """Returns the frequencies of a centred spectrum's axis.

    Args:
        size: of the axis, >= 1.
        spacing: of its pixels in pixels of the original image, >= 1.

    Returns:
        `(size,)` in float64, cycles/pixel of the original image, ascending.

    Examples:
        >>> frequencies(4).tolist(), frequencies(2, spacing=4).tolist()
        ([-0.5, -0.25, 0.0, 0.25], [-0.125, 0.0])
    """
    ordered = torch.fft.fftfreq(size, float(spacing), dtype=torch.float64)
    centred: Tensor = torch.fft.fftshift(ordered)
    return centred


def log_magnitude(energy: Tensor, floor: float = -80.0) -> Tensor:
    """Returns energies in decibels below the greatest of each spectrum.

    Args:
        energy: `(N, *size)`, >= 0, from `energy_spectrum`.
        floor: in dB, what is lower is drawn as this.

    Returns:
        `(N, *size)`, from `floor` to 0; `floor` where there is no energy at all.

    Examples:
        >>> log_magnitude(torch.tensor([[1.0, 0.1, 0.0]])).tolist()
        [[0.0, -10.0, -80.0]]
    """
    greatest = energy.flatten(1).amax(1).view(-1, *[1] * (energy.ndim - 1))
    share = torch.where(greatest > 0, energy / greatest, 0.0)
    return (10 * share.log10()).clamp(min=floor)


def radial_average(energy: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean energy at each distance from frequency 0.

    Args:
        energy: `(N, H, W)`, from `energy_spectrum`.

    Returns:
        Frequencies `(R,)` in cycles/pixel, the middles of rings one step of the coarser axis wide,
        up to 0.5; and the mean energy of each ring, `(N, R)`.

    Raises:
        ValueError: for another shape.

    Examples:
        >>> radial_average(torch.ones(1, 8, 8))[1].tolist()
        [[1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    if energy.ndim != 3 or energy.numel() == 0:
        raise ValueError(f"radial_average: expected (N, H, W), got {tuple(energy.shape)}")
    height, width = energy.shape[1:]
    radius = torch.hypot(frequencies(height)[:, None], frequencies(width)).to(energy.device)
    rings = min(height, width)
    ring = (radius * rings).round().long().flatten()
    count = rings // 2 + 1
    kept = ring < count
    sums = energy.new_zeros(len(energy), count).index_add_(
        1, ring[kept], energy.flatten(1)[:, kept]
    )
    numbers = torch.bincount(ring[kept], minlength=count)
    return torch.arange(count, dtype=torch.float64) / rings, sums / numbers.clamp(min=1)
