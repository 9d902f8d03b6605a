"""Taps of low-pass filters. Each sums to 1, so that a constant image stays as it is."""

from collections.abc import Callable, Sequence
from math import comb, pi
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Taps = tuple[float, ...]
Name = Literal["binomial", "box", "triangle", "kaiser", "lanczos"]
NAMES: tuple[Name, ...] = get_args(Name)
Filter = Name | Sequence[float]


def binomial(size: int) -> Taps:
    """Returns the binomial low-pass filter of `size` taps, which sum to 1.

    Args:
        size: number of taps, >= 1.

    Returns:
        `size` taps, `comb(size - 1, k) / 2 ** (size - 1)`.

    Raises:
        ValueError: if `size` is less than 1.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.3.

    Examples:
        >>> binomial(4)
        (0.125, 0.375, 0.375, 0.125)
    """
    _refuse_empty("binomial", size)
    return tuple(comb(size - 1, k) / 2 ** (size - 1) for k in range(size))


def box(size: int) -> Taps:
    """Returns the moving average of `size` taps: what average pooling applies.

    Args:
        size: number of taps, >= 1.

    Returns:
        `size` taps, all `1 / size`.

    Raises:
        ValueError: if `size` is less than 1.

    Examples:
        >>> box(4)
        (0.25, 0.25, 0.25, 0.25)
    """
    _refuse_empty("box", size)
    return (1 / size,) * size


def triangle(size: int) -> Taps:
    """Returns the triangular filter of `size` taps: linear interpolation's, for an odd size.

    Args:
        size: number of taps, >= 1.

    Returns:
        `size` taps, proportional to 1, 2, 3 and so on up to the middle.

    Raises:
        ValueError: if `size` is less than 1.

    Examples:
        >>> triangle(3)
        (0.25, 0.5, 0.25)
    """
    _refuse_empty("triangle", size)
    return _normalised([min(k + 1, size - k) for k in range(size)])


def kaiser_sinc(size: int, cutoff: float = 0.25, width: float = 0.25) -> Taps:
    """Returns a sinc low-pass under a Kaiser window.

    Args:
        size: number of taps, >= 1. More of them for the same `width` attenuate more.
        cutoff: middle of the transition from pass to stop, cycles/pixel, over 0 to 0.5; the limit
            of Nyquist after a stride s is `1 / (2 * s)`.
        width: of that transition, cycles/pixel, > 0.

    Returns:
        `size` taps, symmetric.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Kaiser, Nonrecursive digital filter design using the I0-sinh window function (1974): the
        window's shape from the attenuation, and that from `size` and `width`.

    Examples:
        >>> [round(tap, 3) for tap in kaiser_sinc(5)]
        [0.0, 0.276, 0.448, 0.276, 0.0]
    """
    _refuse_empty("kaiser_sinc", size)
    if not 0 < cutoff <= 0.5 or width <= 0:
        raise ValueError(
            "kaiser_sinc: expected a cutoff over 0 to 0.5 cycles/pixel and a width > 0, got "
            f"{cutoff} and {width}"
        )
    attenuation = 2.285 * (size - 1) * 2 * pi * width + 7.95  # of the stop band, dB
    beta = 0.0
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return _normalised(np.sinc(2 * cutoff * _centred(size)) * np.kaiser(size, beta))


def lanczos(size: int, cutoff: float = 0.25) -> Taps:
    """Returns a sinc low-pass under the main lobe of a wider sinc, which ends where the taps do.

    It has `cutoff * (size + 1)` lobes a side: the usual three for a stride of 2 and 11 taps.

    Args:
        size: number of taps, >= 1.
        cutoff: as in `kaiser_sinc`.

    Returns:
        `size` taps, symmetric.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Duchon, Lanczos filtering in one and two dimensions (1979).

    Examples:
        >>> [round(tap, 3) for tap in lanczos(3)]
        [0.224, 0.552, 0.224]
    """
    _refuse_empty("lanczos", size)
    if not 0 < cutoff <= 0.5:
        raise ValueError(f"lanczos: expected a cutoff over 0 to 0.5 cycles/pixel, got {cutoff}")
    x = _centred(size)
    return _normalised(np.sinc(2 * cutoff * x) * np.sinc(2 * x / (size + 1)))


def named(filter: Filter, size: int) -> Taps:
    """Returns a filter by its name and size, or the taps that were given.

    Args:
        filter: `binomial`, `box`, `triangle`, `kaiser` (cut-off and width 0.25 cycles/pixel),
            `lanczos` (cut-off 0.25), or any taps that sum to 1, which are taken as they are.
        size: number of taps of a named one, >= 1.

    Returns:
        The taps.

    Raises:
        ValueError: for an unknown name, a size less than 1, or taps that do not sum to 1.

    Examples:
        >>> named("box", 2), named((0.2, 0.6, 0.2), 2)
        ((0.5, 0.5), (0.2, 0.6, 0.2))
    """
    if not isinstance(filter, str):
        return _given(filter)
    if filter not in _BUILDERS:
        raise ValueError(f"unknown filter '{filter}'; known: {', '.join(NAMES)}, or taps")
    return _BUILDERS[filter](size)


def for_stride(filter: Filter, size: int, stride: int) -> Taps:
    """Returns the filter that is as wide in pixels of the result as `named`'s is for a stride of 2.

    So its size grows with the stride, that of a binomial one with the stride's square; it stays odd
    or even as `size` is. Given taps serve every stride over 1.

    Args:
        filter: as in `named`.
        size: number of taps for a stride of 2, >= 1.
        stride: >= 1; for 1 nothing is filtered.

    Returns:
        The taps, `(1.0,)` for a stride of 1.

    Raises:
        ValueError: as `named`.

    Examples:
        >>> for_stride("binomial", 3, 1), len(for_stride("binomial", 3, 4))
        ((1.0,), 9)
    """
    if stride == 1:
        return (1.0,)
    if not isinstance(filter, str) or stride == 2:
        return named(filter, size)
    scale = stride / 2
    grown = round((size - 1) * scale**2) + 1 if filter == "binomial" else round(size * scale)
    grown += (grown - size) % 2
    if filter == "kaiser":
        return kaiser_sinc(grown, 1 / (2 * stride), 1 / (2 * stride))
    return lanczos(grown, 1 / (2 * stride)) if filter == "lanczos" else named(filter, grown)


_BUILDERS: dict[str, Callable[[int], Taps]] = {
    "binomial": binomial,
    "box": box,
    "triangle": triangle,
    "kaiser": kaiser_sinc,
    "lanczos": lanczos,
}


def _given(taps: Sequence[float]) -> Taps:
    if len(taps) == 0:
        raise ValueError("expected a filter's name or one tap at least, got none")
    row = tuple(float(tap) for tap in taps)
    if not abs(sum(row) - 1) < 1e-3:
        raise ValueError(
            f"expected taps that sum to 1, so that brightness stays, got {sum(row):g} in all; divide "
            "them by it, or call shiftable.functional, which takes any"
        )
    return row


def _refuse_empty(name: str, size: int) -> None:
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"{name}: expected size >= 1, got {size!r}")


def _centred(size: int) -> npt.NDArray[np.float64]:
    """Positions of the taps, with 0 in their middle."""
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


def _normalised(weights: Sequence[float] | npt.NDArray[np.float64]) -> Taps:
    total = float(np.sum(weights))
    return tuple(float(weight) / total for weight in weights)
