"""The layers: operators with their arguments kept. `test_peers` compares them with others."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from operators import values_and_gradient
from shiftable import nn
from shiftable.filters import binomial
from shiftable.functional import blur_downsample, max_blur_downsample
from torch.testing import assert_close


def test_layers_are_the_operators():
    image = torch.randn(2, 3, 11, 13)
    assert torch.equal(nn.BlurPool2d()(image), blur_downsample(image, binomial(4)))
    assert torch.equal(
        nn.BlurPool2d(3, 5, (1, 3), "circular")(image),
        blur_downsample(image, binomial(5), (1, 3), border="circular"),
    )
    assert torch.equal(
        nn.MaxBlurPool2d(3, 5, (1, 3), "replicate", 1, (1, 2), True)(image),
        max_blur_downsample(
            image, 3, binomial(5), (1, 3), border="replicate", max_pad=1, dilation=(1, 2),
            ceil_mode=True,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("max_pad", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_max_blur_equals_max_pool_then_blur(kernel_size, max_pad, dilation):
    image = torch.randn(2, 3, 11, 13)
    layer = nn.MaxBlurPool2d(kernel_size, max_pad=max_pad, dilation=dilation)
    pool = torch.nn.MaxPool2d(kernel_size, 1, max_pad, dilation)
    two = torch.nn.Sequential(pool, nn.BlurPool2d())
    assert_close(values_and_gradient(layer, image), values_and_gradient(two, image))


@pytest.mark.parametrize("size", [6, 7, 8, 13])
def test_ceil_mode_keeps_the_size_of_a_ceil_mode_pool(size):
    image = torch.randn(1, 2, size, size)
    pool = F.max_pool2d(image, 3, 2, ceil_mode=True)
    assert nn.MaxBlurPool2d(3, ceil_mode=True)(image).shape == pool.shape


@pytest.mark.parametrize("shape", [(2, 3, 11), (3, 10)])
def test_blur_pool_1d_is_one_row_of_2d(shape):
    signal = torch.randn(shape)
    rows = signal.unsqueeze(-2).expand(*shape[:-1], 5, -1)
    want = nn.BlurPool2d(stride=(1, 2))(rows)[..., 2, :]
    assert_close(nn.BlurPool1d()(signal), want)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (nn.BlurPool2d(8), "BlurPool2d(filter_size=4, stride=2, border='reflect')"),
        (nn.BlurPool1d(8, 3), "BlurPool1d(filter_size=3, stride=2, border='reflect')"),
        (
            nn.MaxBlurPool2d(3, border="constant", max_pad=1),
            "MaxBlurPool2d(kernel_size=3, filter_size=4, stride=2, border='constant', max_pad=1, "
            "dilation=1, ceil_mode=False)",
        ),
    ],
)
def test_layers_show_their_arguments_and_keep_no_state(layer, shown):
    assert repr(layer) == shown
    assert layer.state_dict() == {}
