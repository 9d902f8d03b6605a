"""The layers, against the installed antialiased-cnns, kornia and torch."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import nn
from shiftable.functional import max_blur_downsample


def peer(name):
    """An installed peer module, or a visible skip."""
    return pytest.importorskip(name, exc_type=ImportError)


PADS = {"reflect": "reflect", "replicate": "replicate", "constant": "zero"}


@pytest.mark.parametrize("filter_size", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("border", PADS)
def test_equals_antialiased_cnns(filter_size, stride, border):
    blurpool = peer("antialiased_cnns")
    image = torch.randn(2, 3, 17, 12, requires_grad=True)
    theirs = blurpool.BlurPool(3, PADS[border], filter_size, stride)(image)
    ours = nn.BlurPool2d(3, filter_size, stride, border)(image)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    grad = torch.randn_like(ours)
    (got,) = torch.autograd.grad(ours, image, grad)
    (want,) = torch.autograd.grad(theirs, image, grad)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("max_pad", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_max_blur_equals_max_pool_then_blur(kernel_size, max_pad, dilation):
    image = torch.randn(2, 3, 11, 13, requires_grad=True)
    pooled = F.max_pool2d(image, kernel_size, 1, max_pad, dilation)
    want = nn.BlurPool2d()(pooled)
    got = nn.MaxBlurPool2d(kernel_size, max_pad=max_pad, dilation=dilation)(image)
    torch.testing.assert_close(got, want)
    grad = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad(got, image, grad)[0], torch.autograd.grad(want, image, grad)[0]
    )


@pytest.mark.parametrize("size", [6, 7, 8, 13])
def test_ceil_mode_keeps_the_size_of_a_ceil_mode_pool(size):
    image = torch.randn(1, 2, size, size)
    pool = F.max_pool2d(image, 3, 2, ceil_mode=True)
    # One tap without padding is the strided max itself.
    ours = max_blur_downsample(image, 3, (1.0,), 2, pad=(0, 0, 0, 0), ceil_mode=True)
    assert ours.shape == pool.shape


def test_blur_pool_1d_is_one_row_of_2d():
    signal = torch.randn(2, 3, 11)
    want = nn.BlurPool2d(stride=(1, 2))(signal.unsqueeze(-2).expand(-1, -1, 5, -1))[..., 2, :]
    torch.testing.assert_close(nn.BlurPool1d()(signal), want)
