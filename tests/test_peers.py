"""Each peer's own convention, in values and gradients: the same filters at the same pixels."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from operators import values_and_gradient
from peers import peer
from shiftable import nn
from shiftable.filters import binomial
from shiftable.functional import blur_downsample, max_blur_downsample
from torch.testing import assert_close

IMAGE, SIGNAL = (2, 3, 17, 12), (2, 3, 17)


def assert_same(ours, theirs, shape=IMAGE):
    image = torch.randn(shape)
    got, want = values_and_gradient(ours, image), values_and_gradient(theirs, image)
    assert_close(got, want, rtol=1e-6, atol=1e-6)


# -- antialiased-cnns: (k - 1) // 2 before and k // 2 after, and pad_off on all sides -------------

ADOBE = {"reflect": "reflect", "replicate": "replicate", "constant": "zero"}


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("border", ADOBE)
@pytest.mark.parametrize("offset", [0, 1])
def test_antialiased_cnns(size, stride, border, offset):
    theirs = peer("antialiased_cnns").BlurPool(3, ADOBE[border], size, stride, offset)
    pad = ((size - 1) // 2 + offset, size // 2 + offset) * 2
    assert_same(
        lambda image: blur_downsample(image, binomial(size), stride, border=border, pad=pad), theirs
    )
    if offset == 0:
        assert_same(nn.BlurPool2d(None, size, stride, border), theirs)


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("border", ADOBE)
@pytest.mark.parametrize("offset", [0, 1])
def test_antialiased_cnns_1d(size, stride, border, offset):
    theirs = peer("antialiased_cnns.blurpool").BlurPool1D(3, ADOBE[border], size, stride, offset)
    pad = ((size - 1) // 2 + offset, size // 2 + offset, 0, 0)

    def ours(signal):
        row, taps = signal.unsqueeze(2), ((1.0,), binomial(size))
        return blur_downsample(row, taps, (1, stride), border=border, pad=pad).squeeze(2)

    assert_same(ours, theirs, SIGNAL)
    if offset == 0:
        assert_same(nn.BlurPool1d(None, size, stride, border), theirs, SIGNAL)


# -- kornia: zero outside ------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_kornia(size, stride):
    theirs = peer("kornia").filters.BlurPool2D(size, stride)
    assert_same(nn.BlurPool2d(None, size, stride, "constant"), theirs)


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_kornia_max(size, stride, kernel_size):
    theirs = peer("kornia").filters.MaxBlurPool2D(size, stride, kernel_size)
    assert_same(nn.MaxBlurPool2d(kernel_size, size, stride, "constant"), theirs)


def zero_padded(image, size, stride, pad):
    """A binomial filter as kornia and composer apply it, in torch alone."""
    channels = image.shape[1]
    taps = torch.tensor(binomial(size))
    weight = taps.outer(taps).expand(channels, 1, size, size)
    return F.conv2d(F.pad(image, (pad,) * 4), weight, stride=stride, groups=channels)


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_kornia_before_0_9(size, stride):
    """Its padding was (k - 1) // 2 after as well as before."""
    pad = (size - 1) // 2
    assert_same(
        lambda image: blur_downsample(
            image, binomial(size), stride, border="constant", pad=(pad,) * 4
        ),
        lambda image: zero_padded(image, size, stride, pad),
    )


# -- composer: max-pool at stride 1, then three taps over zeros -------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel_size", "max_pad", "dilation"), [(2, 0, 1), (3, 1, 1), (3, 1, 2), ((2, 3), (1, 0), 1)]
)
def test_composer_max(stride, kernel_size, max_pad, dilation):
    def theirs(image):
        return zero_padded(F.max_pool2d(image, kernel_size, 1, max_pad, dilation), 3, stride, 1)

    assert_same(
        lambda image: max_blur_downsample(
            image, kernel_size, binomial(3), stride,
            border="constant", max_pad=max_pad, dilation=dilation,
        ),
        theirs,
    )  # fmt: skip


# -- timm: ((s - 1) + (k - 1)) // 2 on all sides ---------------------------------------------------


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("border", ["reflect", "replicate", "constant", "circular"])
def test_timm(size, stride, border):
    theirs = peer("timm.layers").BlurPool2d(3, size, stride, border)
    pad = (stride - 1 + size - 1) // 2
    assert_same(
        lambda image: blur_downsample(image, binomial(size), stride, border=border, pad=(pad,) * 4),
        theirs,
    )


# -- torch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, (2, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
def test_average_pooling(size, stride):
    height, width = (size, size) if isinstance(size, int) else size
    taps = ([1 / height] * height, [1 / width] * width)
    assert_same(
        lambda image: blur_downsample(image, taps, stride, pad=(0, 0, 0, 0)),
        lambda image: F.avg_pool2d(image, size, stride),
    )


def test_interpolation_to_half_the_size():
    """Bilinear with antialias is the filter 1 3 3 1, but at its border it leaves taps out."""

    def halved(image):
        half = F.interpolate(
            image, scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False
        )
        return half[..., 1:-1, 1:-1]

    assert_same(
        lambda image: blur_downsample(image, binomial(4))[..., 1:-1, 1:-1], halved, (2, 3, 16, 12)
    )
