"""The share of energy above the limit of Nyquist."""

import numpy as np
import pytest
import torch
from shiftable.spectrum import aliasing_share


def wave(frequency, size=64, axis=-1):
    """(1, 1, size, size)."""
    row = torch.cos(torch.arange(size) * 2 * torch.pi * frequency + 0.3)
    return (row if axis == -1 else row[:, None]).expand(1, 1, size, size)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_sinusoids_are_all_above_or_all_below(stride):
    """But for the window's leakage, which is why they keep away from the limit."""
    limit = 1 / (2 * stride)
    assert aliasing_share(wave(limit - 0.08), stride).item() < 1e-4
    assert aliasing_share(wave(limit + 0.08), stride).item() > 1 - 1e-4


def test_it_is_the_formula():
    """Written with numpy: mean taken off, Kaiser window, energies of channels added."""
    maps = torch.randn(3, 4, 15, 20)
    window = np.outer(np.kaiser(17, 8)[1:-1], np.kaiser(22, 8)[1:-1])
    outside = np.logical_or.outer(
        np.abs(np.fft.fftfreq(15)) >= 1 / 4, np.abs(np.fft.fftfreq(20)) >= 1 / 6
    )
    for got, one in zip(aliasing_share(maps, (2, 3)), maps.double().numpy(), strict=True):
        mean = (one * window).sum((1, 2), keepdims=True) / window.sum()
        energy = np.abs(np.fft.fft2((one - mean) * window)) ** 2
        assert got.item() == pytest.approx(energy[:, outside].sum() / energy.sum(), rel=1e-10)


def test_axes_of_stride_1_lose_nothing():
    assert aliasing_share(wave(0.4), (2, 1)).item() < 1e-4
    assert aliasing_share(wave(0.4), (1, 2)).item() > 1 - 1e-4
    assert aliasing_share(wave(0.4, axis=-2), (2, 1)).item() > 1 - 1e-4
    assert aliasing_share(torch.randn(2, 3, 8, 8), 1).tolist() == [0, 0]


def test_other_numbers_of_axes():
    line = torch.cos(torch.arange(64) * 2 * torch.pi * 0.4).expand(2, 3, 64)
    assert (aliasing_share(line, (2,)) > 1 - 1e-4).all()
    assert aliasing_share(torch.randn(1, 2, 4, 6, 8), (1, 2, 2)).shape == (1,)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 1, 9), (0, 3, 8, 8)])
def test_constant_tiny_and_empty_maps(shape):
    assert (aliasing_share(torch.full(shape, 3.0), 2) < 1e-20).all()
    assert aliasing_share(torch.randn(shape), 2).shape == shape[:1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    share = aliasing_share(wave(0.4).to(dtype), 2)
    assert share.dtype == torch.float64
    assert share.item() > 0.99


@pytest.mark.parametrize("arguments", [(torch.randn(3, 8, 8), 2), (torch.randn(1, 3, 8, 8), 0)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="aliasing_share: expected maps"):
        aliasing_share(*arguments)
