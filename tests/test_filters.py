"""Low-pass filters by name."""

import numpy as np
import pytest
from shiftable import filters


@pytest.mark.parametrize("name", filters.NAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12])
def test_named_filters_keep_a_constant_and_are_symmetric(name, size):
    taps = filters.named(name, size)
    assert len(taps) == size
    assert sum(taps) == pytest.approx(1, abs=1e-15)
    assert taps == pytest.approx(taps[::-1], abs=1e-15)


def response(taps, frequency):
    """Magnitude at a frequency in cycles/pixel."""
    return abs(np.sum(np.array(taps) * np.exp(-2j * np.pi * frequency * np.arange(len(taps)))))


def test_values():
    assert filters.binomial(5) == (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    assert filters.box(3) == (1 / 3,) * 3
    assert filters.triangle(5) == pytest.approx((1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9))
    assert filters.triangle(4) == pytest.approx((1 / 6, 2 / 6, 2 / 6, 1 / 6))
    sinc = np.sinc(np.arange(-5, 6) / 2) * np.sinc(np.arange(-5, 6) / 6)
    assert filters.lanczos(11) == pytest.approx(sinc / sinc.sum(), abs=1e-15)


@pytest.mark.parametrize(("cutoff", "width"), [(0.25, 0.1), (0.125, 0.1), (0.35, 0.2)])
def test_kaiser_passes_and_stops_as_far_as_it_says(cutoff, width):
    """33 taps and these widths: at least 45 dB, by Kaiser's formula."""
    taps = filters.kaiser_sinc(33, cutoff, width)
    for frequency in np.linspace(0, cutoff - width / 2, 20):
        assert response(taps, frequency) == pytest.approx(1, abs=0.01)
    for frequency in np.linspace(cutoff + width / 2, 0.5, 20):
        assert response(taps, frequency) < 0.01
    assert response(taps, cutoff) == pytest.approx(0.5, abs=0.02)


def test_given_taps_are_taken():
    assert filters.named([2, -1], 7) == (2.0, -1.0)
    assert filters.for_stride((0.2, 0.6, 0.2), 5, 4) == (0.2, 0.6, 0.2)


@pytest.mark.parametrize("name", filters.NAMES)
@pytest.mark.parametrize("stride", [3, 4, 8])
def test_filters_for_larger_strides_are_as_wide_in_the_new_pixels(name, stride):
    """The frequency where the response is a half goes as 1 / stride."""

    def half(taps):
        frequencies = np.linspace(0, 0.5, 4001)
        return frequencies[[response(taps, f) for f in frequencies].index(
            next(r for f in frequencies if (r := response(taps, f)) < 0.5))]  # fmt: skip

    for size in (8, 9):
        base = filters.for_stride(name, size, 2)
        wide = filters.for_stride(name, size, stride)
        assert half(wide) * stride / 2 == pytest.approx(half(base), rel=0.15)


@pytest.mark.parametrize("name", filters.NAMES)
@pytest.mark.parametrize("size", [3, 4, 5, 8])
@pytest.mark.parametrize("stride", [2, 3, 4, 5, 8])
def test_all_of_them_are_low_passes_and_stay_odd_or_even(name, size, stride):
    taps = filters.for_stride(name, size, stride)
    assert len(taps) % 2 == size % 2
    assert response(taps, 0.5) < 0.35  # a box of 3 has a third


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filters.named("gauss", 3), "unknown filter 'gauss'; known: binomial, box"),
        (lambda: filters.named("box", 0), "box: expected size >= 1, got 0"),
        (lambda: filters.named((1, 2, 1), 3), "expected taps that sum to 1, .* got 4 in all"),
        (lambda: filters.named((), 3), "expected a filter's name or one tap at least"),
        (lambda: filters.kaiser_sinc(5, 0.6), "expected a cutoff over 0 to 0.5"),
        (lambda: filters.kaiser_sinc(5, 0.2, 0), "and a width > 0"),
        (lambda: filters.lanczos(5, 0), "lanczos: expected a cutoff over 0 to 0.5"),
        (lambda: filters.named("box", "3"), "box: expected size >= 1, got '3'"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
