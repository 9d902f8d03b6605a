"""What the peers' own published tests of these layers ask, asked of ours in our own words.

kornia: tests/filters/test_blur_pool.py, all but its edge-aware layer. timm: TestBlurPool of
tests/test_layers_pool.py, and what it asks of pooling layers in common. composer:
tests/algorithms/test_blurpool_layers.py. antialiased-cnns publishes no tests: what its page shows
stands for them. One case is turned round: filters of two sizes, which kornia refuses.
"""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from shiftable.compat import antialiased_cnns, composer, kornia, timm
from shiftable.filters import binomial
from torch.testing import assert_close

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
dtypes = pytest.mark.parametrize("dtype", DTYPES)
batches = pytest.mark.parametrize("batch", [1, 2])


def by_definition(image, size, stride):
    """One output pixel at a time, in float64: a binomial over zeros, (size - 1) // 2 before it."""
    taps = torch.tensor(binomial(size), dtype=torch.float64)
    before, after = (size - 1) // 2, size // 2
    padded = F.pad(image.double(), (before, after, before, after))
    rows = [
        [
            torch.einsum("ncyx,y,x->nc", padded[..., y : y + size, x : x + size], taps, taps)
            for x in range(0, image.shape[-1], stride)
        ]
        for y in range(0, image.shape[-2], stride)
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2).to(image.dtype)


# -- kornia ----------------------------------------------------------------------------------------


# kornia pins: BlurPool2D divides a size that its stride divides, for sizes as int or pair.
@dtypes
@pytest.mark.parametrize("size", [3, (5, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 10, 10), (1, 4, 4, 8), (2, 4, 4, 8)])
def test_kornia_blur_sizes(dtype, size, stride, shape):
    n, c, h, w = shape
    result = kornia.BlurPool2D(size, stride=stride)(torch.rand(shape).to(dtype))
    assert (result.shape, result.dtype) == ((n, c, h // stride, w // stride), dtype)


# kornia pins: MaxBlurPool2D halves even sizes, whatever ceil_mode says.
@dtypes
@pytest.mark.parametrize("size", [3, (5, 5)])
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 10, 10), (1, 4, 4, 8), (2, 4, 4, 8)])
def test_kornia_max_blur_sizes(dtype, size, ceil_mode, shape):
    n, c, h, w = shape
    layer = kornia.MaxBlurPool2D(size, ceil_mode=ceil_mode)
    assert layer(torch.rand(shape).to(dtype)).shape == (n, c, h // 2, w // 2)


# kornia pins: (3, 5) is refused. Here it is a filter of 3 by 5 taps, as the annotation says.
def test_kornia_filters_of_two_sizes_are_not_refused():
    image = torch.rand(1, 1, 3, 3)
    assert kornia.BlurPool2D((3, 5))(image).shape == (1, 1, 2, 2)
    assert kornia.MaxBlurPool2D((3, 5))(image).shape == (1, 1, 1, 1)


# kornia pins: the result of an image that is expanded along its batch is contiguous.
@batches
def test_kornia_expanded_images(batch):
    image = torch.rand(3, 5, 5).expand(batch, -1, -1, -1)
    for function in (kornia.blur_pool2d, kornia.max_blur_pool2d):
        result = function(image, 3)
        assert result.is_contiguous()
        assert_close(result, function(image.contiguous(), 3))


# kornia pins: gradcheck, for an odd and an even filter.
@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("function", [kornia.blur_pool2d, kornia.max_blur_pool2d])
def test_kornia_gradients(size, function):
    image = torch.rand(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (image, size), fast_mode=True)


# kornia pins: the layer is the function.
@batches
@dtypes
@pytest.mark.parametrize("size", [3, (3, 3), 5, (5, 5)])
def test_kornia_layers_are_the_functions(batch, dtype, size):
    image = torch.rand(batch, 3, 4, 5).to(dtype)
    assert torch.equal(kornia.BlurPool2D(size)(image), kornia.blur_pool2d(image, size))
    assert torch.equal(kornia.MaxBlurPool2D(size)(image), kornia.max_blur_pool2d(image, size))


# kornia pins: compiled, the layers give what they give.
@batches
@pytest.mark.parametrize("size", [3, 4, (5, 5)])
@pytest.mark.parametrize(
    "make",
    [
        kornia.BlurPool2D,
        lambda size: kornia.BlurPool2D(size, stride=1),
        kornia.MaxBlurPool2D,
        lambda size: kornia.MaxBlurPool2D(size, ceil_mode=True),
    ],
)
def test_kornia_compiled(batch, size, make):
    torch._dynamo.reset()
    layer, image = make(size), torch.ones(batch, 3, 10, 10)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_close(compiled(image), layer(image))


# kornia pins: ceil(H / stride) for every filter, even ones too.
@dtypes
@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_kornia_sizes_are_rounded_up(dtype, size, stride):
    result = kornia.blur_pool2d(torch.rand(1, 2, 7, 10).to(dtype), size, stride=stride)
    assert result.shape == (1, 2, math.ceil(7 / stride), math.ceil(10 / stride))


# kornia pins: the same of the max map, which has max_pool_size - 1 rows fewer.
@dtypes
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_kornia_max_is_a_pool_at_stride_1_and_a_blur(dtype, size, stride, window):
    image = torch.rand(1, 2, 7, 10).to(dtype)
    result = kornia.max_blur_pool2d(image, size, stride=stride, max_pool_size=window)
    assert result.shape == (1, 2, *(math.ceil((n - window + 1) / stride) for n in (7, 10)))
    assert_close(result, by_definition(F.max_pool2d(image, window, 1), size, stride))
    assert torch.equal(kornia.MaxBlurPool2D(size, stride, window)(image), result)


# kornia pins: values over zeros, pixel by pixel, in float64.
@dtypes
@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_kornia_values(dtype, size, stride):
    image = torch.rand(2, 3, 7, 10).to(dtype)
    assert_close(kornia.blur_pool2d(image, size, stride=stride), by_definition(image, size, stride))


# kornia pins: long filters in 16 bits are those of float32, rounded once.
@dtypes
@pytest.mark.parametrize("size", [5, 7, 9, 11, 17])
@pytest.mark.parametrize("function", [kornia.blur_pool2d, kornia.max_blur_pool2d])
def test_kornia_long_filters_in_16_bits(dtype, size, function):
    image = torch.ones(1, 2, 32, 32, dtype=dtype)
    assert_close(function(image, size), function(image.float(), size).to(dtype))


# kornia pins: a stride keeps pixels 0, s, 2s, ... of the blur at stride 1; so for even filters too.
@dtypes
@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("stride", [2, 3])
def test_kornia_strides_keep_pixels_of_the_dense_blur(dtype, size, stride):
    image = torch.rand(1, 2, 7, 10).to(dtype)
    dense = kornia.blur_pool2d(image, size, stride=1)
    assert dense.shape == image.shape
    assert kornia.max_blur_pool2d(image, size, stride=1, max_pool_size=1).shape == image.shape
    assert_close(kornia.BlurPool2D(size, stride=stride)(image), dense[..., ::stride, ::stride])


# kornia pins: a white image darkens towards its border, and where by how much.
@dtypes
def test_kornia_borders_darken(dtype):
    white = torch.ones(1, 1, 7, 10, dtype=dtype)
    blurred = kornia.blur_pool2d(white, 3)[0, 0]
    assert blurred[0].tolist() == [0.5625, 0.75, 0.75, 0.75, 0.75]
    assert blurred[:, 0].tolist() == [0.5625, 0.75, 0.75, 0.5625]
    assert bool((blurred[1:-1, 1:] == 1).all())


# kornia pins: an even filter reaches one pixel further after than before.
@dtypes
@pytest.mark.parametrize(("size", "reach"), [(2, [-1, 0]), (3, [-1, 0, 1]), (4, [-2, -1, 0, 1])])
def test_kornia_a_point_spreads(dtype, size, reach):
    image = torch.zeros(1, 1, 7, 9, dtype=dtype)
    image[..., 3, 4] = 1
    rows, columns = kornia.blur_pool2d(image, size, stride=1)[0, 0].nonzero().unbind(1)
    assert rows.unique().tolist() == [3 + step for step in reach]
    assert columns.unique().tolist() == [4 + step for step in reach]


# kornia pins: ceil_mode changes nothing, and gives no warning (0.9.0 itself does warn).
@pytest.mark.parametrize("shape", [(7, 10), (8, 11)])
def test_kornia_ceil_mode_changes_nothing(shape):
    image = torch.rand(1, 2, *shape)
    want = kornia.max_blur_pool2d(image, 3, stride=2, max_pool_size=2, ceil_mode=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = kornia.MaxBlurPool2D(3, stride=2, max_pool_size=2, ceil_mode=True)
        assert torch.equal(kornia.max_blur_pool2d(image, 3, 2, 2, ceil_mode=True), want)
        assert torch.equal(layer(image), want)


# -- timm ------------------------------------------------------------------------------------------


# timm pins: 14 becomes 7 by default, and 28 at stride 4 becomes 8: pads (4 - 1 + 3 - 1) // 2.
@pytest.mark.parametrize(("size", "arguments", "want"), [(14, {}, 7), (28, {"stride": 4}, 8)])
def test_timm_sizes(size, arguments, want):
    layer = timm.BlurPool2d(channels=64, **arguments)
    assert layer(torch.randn(2, 64, size, size)).shape == (2, 64, want, want)


# timm pins of pooling layers: gradients arrive.
def test_timm_gradients_arrive():
    image = torch.randn(2, 64, 7, 7, requires_grad=True)
    timm.BlurPool2d(64)(image).sum().backward()
    assert bool((image.grad != 0).all())


# timm pins of pooling layers: twice the same, in evaluation.
def test_timm_repeats():
    layer, image = timm.BlurPool2d(64).eval(), torch.randn(2, 64, 7, 7)
    assert torch.equal(layer(image), layer(image))


# timm pins of pooling layers: one layer for every size, 1x1 too (which its own blur refuses).
@pytest.mark.parametrize(("h", "w"), [(7, 7), (14, 14), (1, 1), (3, 5)])
def test_timm_any_size(h, w):
    result = timm.BlurPool2d(64)(torch.randn(2, 64, h, w))
    assert result.shape == (2, 64, math.ceil(h / 2), math.ceil(w / 2))


# -- composer --------------------------------------------------------------------------------------

shapes = pytest.mark.parametrize("shape", [(3, 3), (3, 7), (4, 4)])
windows = pytest.mark.parametrize("window", [(1, 1), (1, 3), (3, 3)])
strides = pytest.mark.parametrize("stride", [1, 2])


# composer pins: the size of torch's max pool of the same arguments.
@shapes
@windows
@strides
def test_composer_max_pool_sizes(shape, window, stride):
    image, arguments = torch.randn(2, 2, *shape), {"kernel_size": window, "stride": stride}
    want = torch.nn.MaxPool2d(**arguments, dilation=1)(image).shape
    assert composer.BlurMaxPool2d(**arguments, dilation=1)(image).shape == want


# composer pins: the size of torch's convolution of the same arguments, blurred before or after.
@shapes
@windows
@strides
@pytest.mark.parametrize("blur_first", [True, False])
def test_composer_convolution_sizes(shape, window, stride, blur_first):
    arguments = {"in_channels": 2, "out_channels": 3, "kernel_size": window, "stride": stride}
    image = torch.randn(2, 2, *shape)
    want = torch.nn.Conv2d(**arguments)(image).shape
    assert composer.BlurConv2d(**arguments, blur_first=blur_first)(image).shape == want


# composer pins: a blur at stride 1 keeps the size, and never spreads the values further.
@shapes
def test_composer_blurs(shape):
    image = torch.randn(2, 2, *shape)
    blurred = composer.BlurPool2d(2, stride=1)(image)
    assert blurred.shape == image.shape
    assert blurred.std() <= image.std()


# composer pins: the filter is 1 2 1 times 1 2 1, and sums to 1.
def test_composer_filter():
    row = torch.tensor([1.0, 2, 1]) / 4
    for layer, key in (
        (composer.BlurPool2d(), "blur_filter"),
        (composer.BlurMaxPool2d(2), "filt2d"),
        (composer.BlurConv2d(1, 1, 3), "blur_filter"),
    ):
        assert_close(layer.state_dict()[key], row.outer(row)[None, None])


# composer pins: a layer made from a convolution has its weights, and they learn.
def test_composer_keeps_weights():
    plain = torch.nn.Conv2d(16, 32, 3, bias=True)
    layer = composer.BlurConv2d.from_conv2d(plain)
    assert torch.equal(layer.conv.weight, plain.weight)
    assert torch.equal(layer.conv.bias, plain.bias)
    assert layer.conv.weight.requires_grad
    assert layer.conv.bias.requires_grad


# -- antialiased-cnns ------------------------------------------------------------------------------


# antialiased-cnns' page shows: a blur of stride 2 after a dense max pool, ReLU or nothing.
@pytest.mark.parametrize("before", [torch.nn.MaxPool2d(2, 1), torch.nn.ReLU(), torch.nn.Identity()])
def test_antialiased_cnns_in_its_recipes(before):
    image = torch.randn(10, 8, 32, 32)
    result = torch.nn.Sequential(before, antialiased_cnns.BlurPool(8, stride=2))(image)
    assert result.shape == (10, 8, 16, 16)
