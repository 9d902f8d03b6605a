"""What is done to one image before windows are cut from it: continued, resized, or shifted whole."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from shiftable.filters import binomial
from shiftable.functional import blur_downsample

_TAPS = 11  # [1/2, 1/2] convolved with itself ten times
_REACH = _TAPS // 2


def inpainted(image: Tensor, room: tuple[int, int, int, int]) -> Tensor:
    """Continues an image beyond its edges by an iterated normalised blur.

    Known pixels are blurred, unknown ones counting for nothing; what the blur reaches becomes
    known, and the image's own pixels are put back; until nothing is unknown.

    Args:
        image: (C, H, W), uint8 or floating.
        room: pixels to add, as (left, right, top, bottom), each >= 0.

    Returns:
        (C, top + H + bottom, left + W + right), of the image's dtype; uint8 is rounded.

    Raises:
        ValueError: for another shape or dtype, or less than no room.

    References:
        Azulay & Weiss (JMLR 2019), section 2: the in-painted background.

    Examples:
        >>> inpainted(torch.full((1, 2, 2), 7, dtype=torch.uint8), (1, 0, 0, 1)).flatten().tolist()
        [7, 7, 7, 7, 7, 7, 7, 7, 7]
    """
    _refuse_others("inpainted", image)
    if len(room) != 4 or min(room) < 0:
        raise ValueError(f"inpainted: expected (left, right, top, bottom) >= 0, got {room}")
    own = _floating(image)
    mask = pad(torch.ones_like(own[:1]), room)
    known = mask.bool()
    original = pad(own, room)
    filled = original
    for _ in range(-(-max(room) // _REACH)):  # each round reaches so many pixels further
        blurred, weight = _blurred(filled * mask), _blurred(mask)
        filled = torch.where(known, original, blurred / weight.where(weight > 0, 1))
        mask = (known | (weight > 0)).to(own.dtype)
    return _as_before(filled, image)


def _blurred(image: Tensor) -> Tensor:
    taps = binomial(_TAPS)
    return blur_downsample(image[None], taps, stride=1, border="constant")[0]


def grown(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Returns the size of an image whose shorter side is so many pixels longer, its aspect kept.

    Args:
        size: (H, W) in pixels.
        pixels: added to the shorter side; negative for a smaller image.

    Raises:
        ValueError: for a size below 1, or if less than a pixel would be left.

    Examples:
        >>> grown((100, 150), 1), grown((150, 100), -1)
        ((101, 152), (149, 99))
    """
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"sizes: expected an image of (H, W) >= 1 pixels, got {tuple(size)}")
    short = min(size)
    if short + pixels < 1:
        raise ValueError(
            f"sizes: expected at least one pixel to be left of a {size[0]}x{size[1]} image, got "
            f"{pixels} pixels more"
        )
    height, width = ((2 * side * (short + pixels) + short) // (2 * short) for side in size)
    return height, width


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes an image by an anti-aliased bicubic filter.

    Args:
        image: (C, H, W), uint8 or floating.
        size: (H', W') in pixels.

    Returns:
        (C, H', W'), of the image's dtype; uint8 is rounded, and stays within 0..255.

    Raises:
        ValueError: for another shape or dtype, or a size below 1.

    Examples:
        >>> resized(torch.full((3, 8, 8), 5, dtype=torch.uint8), (4, 9)).unique().tolist()
        [5]
    """
    _refuse_others("resized", image)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"resized: expected a size (H, W) >= 1, got {tuple(size)}")
    if tuple(image.shape[1:]) == tuple(size):
        return image
    result = interpolate(_floating(image)[None], size, mode="bicubic", antialias=True)[0]
    return _as_before(result, image)


def fourier_shifted(image: Tensor, shifts: Tensor) -> Tensor:
    """Shifts an image ideally: as the band-limited periodic function through its pixels.

    Args:
        image: (C, H, W), uint8 or floating; any height and width.
        shifts: (S, 2) floating or whole (dy, dx) in pixels; positive ones move the content down and
            right.

    Returns:
        (S, C, H, W), float32, or float64 of a float64 image. It may go past the image's own range.

    Raises:
        ValueError: for another shape or dtype, or shifts that are not finite.

    Examples:
        >>> image = torch.arange(6.0).reshape(1, 2, 3)
        >>> fourier_shifted(image, torch.tensor([[1, 2]]))[0].round().tolist()
        [[[4.0, 5.0, 3.0], [1.0, 2.0, 0.0]]]
    """
    _refuse_others("fourier_shifted", image)
    if shifts.ndim != 2 or shifts.shape[1] != 2:
        raise ValueError(f"fourier_shifted: expected shifts (S, 2), got {tuple(shifts.shape)}")
    unfit = shifts[~shifts.isfinite().all(1)]
    if len(unfit):
        raise ValueError(f"fourier_shifted: expected finite shifts, got {unfit[0].tolist()}")
    own = _floating(image)
    height, width = own.shape[1:]
    if not len(shifts):  # MKL has no transform of nothing
        return own.new_empty((0, *own.shape))
    spectrum = torch.fft.rfft2(own)
    dy, dx = shifts.double().to(own.device).unbind(1)
    rows = _phases(dy, torch.fft.fftfreq(height, dtype=torch.float64, device=own.device))
    columns = _phases(dx, torch.fft.rfftfreq(width, dtype=torch.float64, device=own.device))
    phase = (rows[:, :, None] * columns[:, None, :]).to(spectrum.dtype)
    shifted: Tensor = torch.fft.irfft2(spectrum * phase[:, None], s=(height, width))
    return shifted


def _phases(shift: Tensor, frequency: Tensor) -> Tensor:
    """(S, F): what a shift multiplies each frequency (cycles/pixel) by, complex128."""
    angle = -2 * torch.pi * shift[:, None] * frequency
    # The highest frequency of an even size stands for itself and its negative, which turn in
    # opposite ways, and the pixels do not say how it is shared among them. Halves give the
    # cosine, the smallest of the real functions through the pixels: all others add a sine to it
    # that is 0 at every pixel. On rows and columns alike, as the function is their product.
    imaginary = angle.sin().where(frequency.abs() != 0.5, 0)
    return torch.complex(angle.cos(), imaginary)


def _floating(image: Tensor) -> Tensor:
    return image if image.dtype == torch.float64 else image.float()


def _as_before(result: Tensor, image: Tensor) -> Tensor:
    if image.is_floating_point():
        return result.to(image.dtype)
    return result.round().clamp(0, 255).to(image.dtype)


def _refuse_others(what: str, image: Tensor) -> None:
    if image.ndim != 3 or image.shape[1] < 1 or image.shape[2] < 1:
        raise ValueError(f"{what}: expected an image (C, H, W), got {tuple(image.shape)}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ValueError(f"{what}: expected an image of uint8 or floating, got {image.dtype}")
