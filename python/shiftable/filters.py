"""Taps of low-pass filters."""

from math import comb


def binomial(size: int) -> tuple[float, ...]:
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
    if size < 1:
        raise ValueError(f"binomial: expected size >= 1, got {size}")
    return tuple(comb(size - 1, k) / 2 ** (size - 1) for k in range(size))
