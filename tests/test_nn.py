"""The layers: operators with their arguments kept. `test_peers` compares them with others."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from operators import values_and_gradient
from shiftable import nn
from shiftable.filters import binomial, named
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
        (nn.BlurPool2d(8), "BlurPool2d(binomial, filter_size=4, stride=2, border='reflect')"),
        (nn.BlurPool1d(8, 3), "BlurPool1d(binomial, filter_size=3, stride=2, border='reflect')"),
        (
            nn.MaxBlurPool2d(3, border="constant", max_pad=1),
            "MaxBlurPool2d(kernel_size=3, binomial, filter_size=4, stride=2, border='constant', max_pad=1, "
            "dilation=1, ceil_mode=False)",
        ),
    ],
)
def test_layers_show_their_arguments_and_keep_no_state(layer, shown):
    assert repr(layer) == shown
    assert layer.state_dict() == {}


BORDERS = ("reflect", "replicate", "circular", "constant")


@pytest.mark.parametrize("shape", [(2, 3, 5, 8, 9), (3, 4, 6, 7)])
def test_blur_pool_3d_is_three_lines_after_another(shape):
    volume = torch.randn(shape)
    want = volume
    for axis, stride in ((-3, 1), (-2, 2), (-1, 3)):
        line = want.movedim(axis, -1)
        flat = nn.BlurPool1d(None, 5, stride)(line.reshape(1, -1, line.shape[-1]))
        want = flat.view(*line.shape[:-1], -1).movedim(-1, axis)
    assert_close(nn.BlurPool3d(None, 5, (1, 2, 3))(volume), want)


@pytest.mark.parametrize("filter", ["box", "kaiser", (0.2, 0.5, 0.3), ("triangle", (1.0,))])
def test_any_filter(filter):
    image = torch.randn(1, 2, 9, 11)
    pair = filter if isinstance(filter[0], str | tuple) and not isinstance(filter, str) else None
    vertical, horizontal = pair or (filter, filter)
    taps = tuple(named(one, 4) for one in (vertical, horizontal))
    assert torch.equal(nn.BlurPool2d(filter=filter)(image), blur_downsample(image, taps))


@pytest.mark.parametrize("order", ["after", "before"])
@pytest.mark.parametrize("stride", [2, (2, 1), 3])
def test_blur_convolution(order, stride):
    settings = {"stride": stride, "padding": 1, "groups": 2, "padding_mode": "circular"}
    plain = torch.nn.Conv2d(4, 6, 3, **settings)
    layer = nn.BlurConv2d(4, 6, 3, **settings, filter_size=3, order=order, activation=F.relu)
    layer.load_state_dict(plain.state_dict())
    image = torch.randn(2, 4, 9, 10)
    taps = binomial(3)
    steps = (stride, stride) if isinstance(stride, int) else stride
    pair = tuple(taps if step > 1 else (1.0,) for step in steps)
    if order == "before":
        want = plain(blur_downsample(image, pair, 1)).relu()
    else:
        plain.stride = (1, 1)
        want = blur_downsample(plain(image).relu(), pair, stride)
    assert_close(layer(image), want)
    with pytest.raises(ValueError, match="unknown order 'behind'; known: after, before"):
        nn.BlurConv2d(1, 1, 3, order="behind")


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, (2, 1), 3])
def test_upsampling(border, size, stride):
    """A constant image stays one; for two borders it is the pool's transpose, times the stride."""
    layer = nn.BlurUpsample2d(size, stride, border)
    strides = (stride, stride) if isinstance(stride, int) else stride
    large = torch.randn(1, 2, 6 * strides[0], 6 * strides[1], dtype=torch.float64)
    pair = tuple(binomial(size) if step > 1 else (1.0,) for step in strides)
    small = blur_downsample(large, pair, stride, border=border)
    other = torch.randn_like(small)
    gain = strides[0] * strides[1]
    if border in ("constant", "circular"):
        assert_close((small * other).sum() * gain, (large * layer(other)).sum())
    if border != "constant" and max(strides) < 3:  # of binomials
        assert_close(layer(torch.ones_like(small)), torch.ones_like(large))
    assert layer(other, (large.shape[2], large.shape[3])).shape == large.shape


def test_upsampling_to_odd_sizes():
    layer = nn.BlurUpsample2d()
    assert torch.equal(layer(torch.ones(1, 1, 4, 5), (7, 10)), torch.ones(1, 1, 7, 10))
    with pytest.raises(ValueError, match=r"takes to \(4, 5\), got \(9, 10\)"):
        layer(torch.ones(1, 1, 4, 5), (9, 10))


@pytest.mark.parametrize("shape", [(8, 12), (7, 9), (1, 1), (30, 17)])
@pytest.mark.parametrize("stride", [1, 2, 3, (4, 2)])
def test_the_ideal_filter_is_that_of_the_spectrum(shape, stride):
    image = torch.randn(2, 3, *shape, dtype=torch.float64)
    strides = (stride, stride) if isinstance(stride, int) else stride
    keep = [
        torch.fft.fftfreq(n).abs() < (1 / (2 * s) - 1e-9 if s > 1 else 1)
        for n, s in zip(shape, strides, strict=True)
    ]
    passed = torch.fft.ifft2(torch.fft.fft2(image) * keep[0][:, None] * keep[1]).real
    want = passed[..., :: strides[0], :: strides[1]]
    assert_close(nn.IdealDownsample2d(stride)(image), want)


def test_the_ideal_filter_follows_every_shift():
    """Rolled by a whole stride it rolls; by one pixel, the energy stays: nothing aliases."""
    image = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    layer = nn.IdealDownsample2d()
    assert_close(layer(image.roll((2, 4), (2, 3))), layer(image).roll((1, 2), (2, 3)))
    assert_close(layer(image.roll(1, 3)).square().sum(), layer(image).square().sum())


@pytest.mark.parametrize("stride", [0, (2, 0), (1, 2, 3)])
def test_the_ideal_filter_refuses(stride):
    with pytest.raises(ValueError, match="expected stride >= 1"):
        nn.IdealDownsample2d(stride)


@pytest.mark.parametrize("filter_size", [1, 3])
def test_polyphase_networks_are_invariant_to_rolls(filter_size):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
            self.pool = nn.PolyphaseDownsample2d(filter_size, return_phase=True)

        def forward(self, image):
            main, phase = self.pool(self.conv(image).relu())
            shortcut, same = self.pool(image, phase)
            assert torch.equal(same, phase)
            return main.mean((2, 3)), shortcut.mean((2, 3)), phase

    net = Net().double()
    image = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    first = net(image)[:2]
    phases = set()
    for dy in range(2):
        for dx in range(2):
            *rolled, phase = net(image.roll((dy, dx), (2, 3)))
            phases.add(tuple(phase.tolist()))
            assert_close(rolled, list(first))
    assert len(phases) == 4
    assert isinstance(nn.PolyphaseDownsample2d()(image), torch.Tensor)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.BlurPool2d(border="zero"), "unknown border 'zero'; known: reflect, replicate"),
        (lambda: nn.BlurPool2d(filter="gauss"), "unknown filter 'gauss'"),
        (lambda: nn.BlurPool3d(stride=(2, 2)), "expected stride as an int or three"),
        (lambda: nn.BlurPool3d()(torch.ones(8, 8, 8)), "expected .N, C, D, H, W. or .C, D, H, W."),
        (lambda: nn.BlurConv2d(3, 4, 3, 0), "BlurConv2d: expected stride >= 1, got 0"),
        (lambda: nn.BlurConv2d(3, 4, 3, border="zero"), "unknown border 'zero'"),
        (lambda: nn.BlurUpsample2d(stride=0), "BlurUpsample2d: expected stride >= 1, got 0"),
        (lambda: nn.PolyphaseDownsample2d(norm="l3"), "unknown norm 'l3'; known: l1, l2, linf"),
        (
            lambda: nn.IdealDownsample2d()(torch.ones(1, 8, 8, dtype=torch.int32)),
            "a floating image",
        ),
        (lambda: nn.IdealDownsample2d()(torch.ones(8, 8)), "expected a floating image"),
    ],
)
def test_bad_arguments_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()
