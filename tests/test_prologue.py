"""The prologue of blur_downsample: what happens to pixels as they are read, and its gradients."""

import pytest
import torch
from cases import DTYPES, SHAPES, asymmetric
from operators import LAYOUTS, assert_compiles_once, assert_exports, layouts
from shiftable import _C
from shiftable.functional import blur_downsample
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

TAPS = (asymmetric(3), asymmetric(4))
WIDE = [(1, 37, 9, 8), (1, 19, 5, 70), (2, 3, 40, 50), (1, 2, 301, 517)]


def affine(image, dtype=None):
    """A scale and a bias for the image's channels; one channel's scale is zero."""
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(2, image.shape[-3], generator=generator, dtype=torch.float64)
    values[0, -1:] = 0
    dtype = dtype or (torch.float64 if image.dtype == torch.float64 else torch.float32)
    return values.to(dtype)


def in_steps(image, scale, bias, relu, **options):
    """The prologue by torch, then the blur."""
    y = image * scale[:, None, None] + bias[:, None, None]
    return blur_downsample(y.relu() if relu else y, TAPS, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_equals_the_steps(dtype, border, relu, stride):
    """In values and in all gradients."""
    for shape in [*SHAPES, *WIDE[:3]]:
        for image in layouts(torch.randn(shape).to(dtype)):
            given = [t.detach().requires_grad_() for t in (image, *affine(image))]
            exact = [t.detach().double().requires_grad_() for t in given]
            options = {"stride": stride, "border": border}
            got = blur_downsample(
                given[0], TAPS, prologue_scale=given[1], prologue_bias=given[2],
                prologue_relu=relu, **options,
            )  # fmt: skip
            want = in_steps(*exact, relu, **options)
            assert got.dtype == dtype
            rtol = torch.finfo(dtype).eps
            atol = 1e-12 if dtype == torch.float64 else 1e-5
            assert_close(got.double(), want, rtol=rtol, atol=atol)
            grad = torch.randn_like(got)
            grads = torch.autograd.grad(got, given, grad)
            wanted = torch.autograd.grad(want, exact, grad.double())
            assert [g.dtype for g in grads] == [t.dtype for t in given]
            assert_close(grads[0].double(), wanted[0], rtol=rtol, atol=atol)
            for g, w in zip(grads[1:], wanted[1:], strict=True):
                assert_close(g.double(), w, rtol=1e-5, atol=10 * atol)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("relu", [False, True])
def test_gradients(layout, relu):
    image = LAYOUTS[layout](torch.randn(2, 3, 5, 4, dtype=torch.float64)).requires_grad_()
    scale, bias = (t.clone().requires_grad_() for t in affine(image))

    def blurred(image, scale, bias):
        return blur_downsample(
            image, TAPS, prologue_scale=scale, prologue_bias=bias, prologue_relu=relu
        )

    assert gradcheck(blurred, (image, scale, bias))
    assert gradgradcheck(blurred, (image, scale, bias))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_one_part_alone(layout):
    image = LAYOUTS[layout](torch.randn(2, 20, 9, 8))
    scale, bias = affine(image)
    one, zero = torch.ones(20), torch.zeros(20)
    for options, parts in [
        ({"prologue_scale": scale}, (scale, zero, False)),
        ({"prologue_bias": bias}, (one, bias, False)),
        ({"prologue_relu": True}, (one, zero, True)),
    ]:
        assert_close(blur_downsample(image, TAPS, **options), in_steps(image, *parts))


def test_the_border_acts_on_its_result():
    """Outside a constant border there is zero, not the bias."""
    image = torch.zeros(1, 1, 4, 4)
    got = blur_downsample(
        image, (0.25, 0.5, 0.25), 1, border="constant", prologue_bias=torch.ones(1)
    )
    assert_close(got[0, 0, 0], torch.tensor([0.5625, 0.75, 0.75, 0.5625]))


def test_batch_norm_relu_and_blur_in_one():
    norm = nn.BatchNorm2d(20).eval()
    for values in (norm.weight, norm.bias, norm.running_mean):
        values.data.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    image = torch.randn(2, 20, 9, 8)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    got = blur_downsample(
        image, TAPS, prologue_scale=scale, prologue_bias=norm.bias - norm.running_mean * scale,
        prologue_relu=True,
    )  # fmt: skip
    assert_close(got, blur_downsample(norm(image).relu(), TAPS))
    got.sum().backward()
    assert norm.weight.grad.abs().sum() > 0


def test_a_nan_stays():
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 2] = float("nan")
    for given in layouts(image.expand(1, 20, 5, 5).contiguous()):
        assert blur_downsample(given, (1, 1, 1), prologue_relu=True).isnan().any()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_does_not_depend_on_threads(threads, layout):
    for shape in WIDE:
        image = LAYOUTS[layout](torch.randn(shape))
        found = []
        for count in (1, 2, 3):
            threads(count)
            given = [t.detach().requires_grad_() for t in (image, *affine(image))]
            result = blur_downsample(
                given[0], TAPS, prologue_scale=given[1], prologue_bias=given[2], prologue_relu=True
            )
            grads = torch.autograd.grad(
                result, given, torch.linspace(0, 1, result.numel()).view(result.shape)
            )
            found.append([result, *grads])
        assert_close(found[1:], [found[0]] * 2, rtol=0, atol=0)


def test_formats_agree_bit_for_bit():
    """In values and the image's gradient; sums over an image run in the order of its memory."""
    for shape in [shape for shape in SHAPES if len(shape) == 4] + WIDE[:3]:
        image = torch.randn(shape)
        scale, bias = affine(image)
        found = []
        for layout in ("contiguous", "channels_last"):
            given = LAYOUTS[layout](image).requires_grad_()
            result = blur_downsample(
                given, TAPS, prologue_scale=scale, prologue_bias=bias, prologue_relu=True
            )
            found.append((result, *torch.autograd.grad(result.square().sum(), given)))
        for one, other in zip(*found, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_compiles_once(layout):
    scale, bias = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.25])
    assert_compiles_once(
        lambda image: blur_downsample(
            image, TAPS, prologue_scale=scale, prologue_bias=bias, prologue_relu=True
        ),
        [LAYOUTS[layout](torch.randn(s)) for s in [(5, 2, 8, 6), (3, 2, 7, 9), (4, 2, 21, 16)]],
    )


def test_exports():
    assert_exports(
        lambda image: blur_downsample(image, TAPS, prologue_relu=True),
        torch.randn(2, 3, 8, 6),
        torch.randn(4, 3, 13, 7),
    )


@pytest.mark.parametrize("name", ["prologue_scale", "prologue_bias"])
@pytest.mark.parametrize(
    "values", [torch.ones(2), torch.ones(3, 1), torch.ones(3).int(), torch.tensor(1.0)], ids=str
)
def test_rejects_another_shape_or_dtype(name, values):
    with pytest.raises(ValueError, match=rf"expected {name} of shape \(3,\) and a floating dtype"):
        blur_downsample(torch.zeros(1, 3, 4, 4), TAPS, **{name: values})
