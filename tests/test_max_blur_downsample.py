"""max_blur_downsample: right values, right gradients, registered right, compiles once."""

import pytest
import reference
import torch
import torch.nn.functional as F  # noqa: N812
from cases import DTYPES, SHAPES, assert_matches, asymmetric, channels_last, format_of
from operators import (
    LAYOUTS,
    assert_adjoint,
    assert_compiles_once,
    assert_cpu_and_cuda_agree,
    assert_exports,
    assert_fake_agrees,
    assert_format,
    assert_formats_agree,
    assert_ignores_threads,
    layouts,
    registered,
    values_and_gradient,
)
from shiftable import _C
from shiftable._ops import ops
from shiftable.filters import binomial
from shiftable.functional import blur_downsample, max_blur_downsample
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck
from torch.testing import assert_close

IMAGE = (2, 3, 9, 8)
# (shape, kernel size, max pad, dilation, number of taps, stride, pad, ceil mode)
CASES = [
    (IMAGE, (2, 2), (0, 0), (1, 1), (4, 4), (2, 2), None, False),
    (IMAGE, (1, 1), (0, 0), (1, 1), (3, 3), (2, 2), None, False),
    (IMAGE, (3, 2), (1, 0), (1, 1), (1, 5), (1, 3), None, False),
    (IMAGE, (2, 3), (1, 1), (2, 3), (2, 3), (3, 2), None, False),
    (IMAGE, (9, 8), (4, 4), (1, 1), (9, 7), (4, 1), None, False),
    (IMAGE, (3, 3), (0, 0), (4, 3), (6, 8), (2, 2), (3, 4, 9, 2), False),
    (IMAGE, (2, 2), (1, 1), (1, 1), (3, 4), (2, 1), (-2, 0, -1, -3), False),
    (IMAGE, (2, 2), (1, 0), (1, 1), (3, 4), (2, 3), (20, 13, -3, 17), True),
    *[(IMAGE, (3, 3), (0, 0), (1, 1), (1, 1), (s, s), (0, 0, 0, 0), True) for s in (1, 2, 3, 4)],
    *[(shape, (2, 3), (1, 1), (1, 1), (5, 4), (2, 2), None, False) for shape in SHAPES],
]
TAPS = (asymmetric(3), asymmetric(4))
# Of the operators themselves.
ARGUMENTS = ([2, 3], *TAPS, [2, 1], "reflect", [1, 2, 0, 3], [1, 0], [1, 1], True)
# For an image of one row: every window reaches over it, from the padding above to that below.
NOTHING_TO_SEE = ([2, 1], [1.0], [0.5, 0.5], [1, 1], "reflect", None, [1, 0], [2, 1], False)


def arguments_of(case, border):
    """The arguments of the operators for one of the CASES."""
    _, kernel_size, max_pad, dilation, taps, stride, pad, ceil_mode = case
    return kernel_size, *map(asymmetric, taps), stride, border, pad, max_pad, dilation, ceil_mode


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_reference(device, dtype, border, case):
    """In values and in the transpose's, that is in gradients."""
    shape, kernel_size, max_pad, dilation, taps, stride, pad, ceil_mode = case
    blur = (*map(asymmetric, taps), stride, border, pad)
    window = (kernel_size, max_pad, dilation)
    for image in layouts(torch.randn(shape, device=device).to(dtype)):
        got = max_blur_downsample(
            image, kernel_size, blur[:2], stride, border=border, pad=pad,
            max_pad=max_pad, dilation=dilation, ceil_mode=ceil_mode,
        )  # fmt: skip
        pixels = image.cpu().double().numpy()
        largest = reference.max_map(pixels, *window)
        assert (got.dtype, got.device) == (image.dtype, image.device)
        assert_matches(got, reference.blur_downsample(largest, *blur, ceil_mode))
        assert_format(got, format_of(image))

        grad = torch.randn_like(got)
        got = ops.max_blur_downsample_transpose(grad, image, *arguments_of(case, border))
        on_map = reference.blur_downsample_transpose(
            grad.cpu().double(), largest.shape[-2:], *blur, ceil_mode
        )
        assert (got.dtype, got.device) == (image.dtype, image.device)
        assert_matches(got, reference.max_map_transpose(on_map, pixels, *window))
        assert_format(got, format_of(image))


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose_is_adjoint(border, case):
    """That of the gather: the operator is linear in its values, where the maxima stay."""
    arguments = arguments_of(case, border)
    for image in layouts(torch.randn(case[0], dtype=torch.float64)):
        values = torch.randn_like(image)
        result = ops.max_blur_downsample_gather(values, image, *arguments)
        grad = torch.randn_like(result)
        transposed = ops.max_blur_downsample_transpose(grad, image, *arguments)
        assert_adjoint(values, transposed, result, grad)
        assert_format(result, format_of(image))


def test_transpose_is_adjoint_where_a_window_sees_no_pixel():
    image, values = torch.randn(2, 1, 1, 1, 2, dtype=torch.float64)
    result = ops.max_blur_downsample_gather(values, image, *NOTHING_TO_SEE)
    grad = torch.randn_like(result)
    transposed = ops.max_blur_downsample_transpose(grad, image, *NOTHING_TO_SEE)
    assert_adjoint(values, transposed, result, grad)


@pytest.mark.parametrize("border", _C.borders())
def test_gather_at_its_own_maxima_is_the_operator(border):
    image = torch.randn(IMAGE)
    for case in (case for case in CASES if case[0] == IMAGE):
        arguments = arguments_of(case, border)
        want = ops.max_blur_downsample(image, *arguments)
        assert torch.equal(ops.max_blur_downsample_gather(image, image, *arguments), want)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(border, layout):
    # Whole numbers, all different: a small step changes no maximum.
    image = torch.randperm(40, dtype=torch.float64).view(2, 1, 5, 4)
    image = LAYOUTS[layout](torch.cat([image, image.flip(3)], 1)).requires_grad_()

    def pooled(image):
        return max_blur_downsample(image, (2, 3), TAPS, (2, 1), border=border, max_pad=(0, 1))

    assert gradcheck(pooled, image)
    assert gradgradcheck(pooled, image)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
def test_formats_agree_bit_for_bit(dtype, border):
    for shape in SHAPES:
        if len(shape) == 4:
            assert_formats_agree(
                lambda image: max_blur_downsample(
                    image, (1, 2), TAPS, border=border, max_pad=(0, 1)
                ),
                torch.randn(shape).to(dtype),
            )


def test_gradient_of_channels_last_is_channels_last():
    image = channels_last(torch.randn(IMAGE)).requires_grad_()
    max_blur_downsample(image, 2, TAPS).square().sum().backward()
    assert_format(image.grad, torch.channels_last)


@pytest.mark.parametrize("name", registered("max_blur_downsample"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_registration(name, layout, requires_grad):
    if requires_grad and name.endswith("_out"):
        pytest.skip("no gradient passes out")
    image = LAYOUTS[layout](torch.randn(2, 3, 8, 6))
    grad = LAYOUTS[layout](torch.randn_like(ops.max_blur_downsample(image, *ARGUMENTS)))
    out = ops.max_blur_downsample(image, *ARGUMENTS)
    first, *others = {
        "max_blur_downsample": (image, *ARGUMENTS),
        "max_blur_downsample_out": (image, *ARGUMENTS, out),
        "max_blur_downsample_gather": (torch.randn_like(image), image, *ARGUMENTS),
        "max_blur_downsample_transpose": (grad, image, *ARGUMENTS),
        "max_blur_downsample_transpose_out": (
            grad, image, *ARGUMENTS, ops.max_blur_downsample_transpose(grad, image, *ARGUMENTS),
        ),
    }[name]  # fmt: skip
    opcheck(getattr(ops, name), (first.requires_grad_(requires_grad), *others))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fake_size_is_the_real_one(case):
    arguments = arguments_of(case, "reflect")
    for image in layouts(torch.randn(case[0])):
        grad = ops.max_blur_downsample(image, *arguments)
        assert_fake_agrees(ops.max_blur_downsample, [image], *arguments)
        assert_fake_agrees(ops.max_blur_downsample_gather, [image, image], *arguments)
        assert_fake_agrees(ops.max_blur_downsample_transpose, [grad, image], *arguments)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_compiles_once(layout, ceil_mode):
    # Results of one pixel are left out: torch compiles anew for a size of 1, whatever has it.
    shapes = [(2, 3, 8, 6), (3, 2, 7, 9), (4, 5, 4, 5), (2, 4, 21, 16)]
    assert_compiles_once(
        lambda image: max_blur_downsample(image, 2, TAPS, ceil_mode=ceil_mode),
        [LAYOUTS[layout](torch.randn(shape)) for shape in shapes],
    )


def test_exports():
    assert_exports(
        lambda image: max_blur_downsample(image, 3, TAPS, max_pad=1),
        torch.randn(2, 3, 8, 6),
        torch.randn(4, 5, 13, 7),
    )


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_does_not_depend_on_threads(threads, border, layout):
    for shape in [(8, 6, 61, 64), (1, 2, 301, 517)]:
        image = LAYOUTS[layout](torch.randn(shape))
        assert_ignores_threads(
            threads, lambda image: max_blur_downsample(image, 3, TAPS, border=border), image
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cpu_and_cuda_agree(cuda, dtype, border, layout):
    # In 16 bits many of these are equal: ties must fall alike.
    assert_cpu_and_cuda_agree(
        cuda,
        lambda image: max_blur_downsample(image, 3, TAPS, border=border, max_pad=1),
        LAYOUTS[layout](torch.randn(4, 5, 67, 130).to(dtype)),
    )


@pytest.mark.parametrize(
    ("changes", "exception", "message"),
    [
        ({"image": torch.zeros(4, 5)}, ValueError, r"expected an image .* got shape \(4, 5\)"),
        ({"image": torch.zeros(1, 1, 1, 4, 5)}, ValueError, "expected an image"),
        ({"image": torch.zeros(1, 2, 0, 5)}, ValueError, "expected H >= 1 and W >= 1, got shape"),
        ({"image": torch.zeros(1, 4, 5).long()}, ValueError, "expected dtype float32, .* got .* Long"),
        ({"kernel_size": 0}, ValueError, "expected kernel_size .* along the height, got 0"),
        ({"kernel_size": (1, -1)}, ValueError, "expected kernel_size .* along the width, got -1"),
        ({"kernel_size": (2, 2, 2)}, ValueError, "expected kernel_size, max_pad and dilation as an int or a pair"),
        ({"kernel_size": 6}, ValueError, "a max window of 6 pixels to fit into the height, got 4 pixels"),
        ({"kernel_size": (1, 6)}, ValueError, "to fit into the width, got 5 pixels padded by 0"),
        ({"kernel_size": (2**32 + 1, 1), "dilation": (2**32, 1)}, ValueError, "expected kernel_size"),
        ({"dilation": 0}, ValueError, "expected dilation .* along the height, got 0"),
        ({"dilation": (1, 5)}, ValueError, "a max window of 6 pixels to fit into the width"),
        ({"max_pad": 2}, ValueError, r"expected max_pad from 0 to half the window \(1\) along the height, got 2"),
        ({"max_pad": (0, -1)}, ValueError, r"half the window \(1\) along the width, got -1"),
        ({"border": "wrap"}, ValueError, f"unknown border 'wrap'; known: {', '.join(_C.borders())}$"),
        ({"taps": ()}, ValueError, "expected at least one tap along the height, got none"),
        ({"taps": ([1], [float("nan")])}, ValueError, "expected finite taps along the width, got nan"),
        ({"stride": 0}, ValueError, "expected stride from 1 to 2\\^20 along the height, got 0"),
        ({"stride": (2.5, 2)}, TypeError, r"got \(2\.5, 2\)"),
        ({"kernel_size": 2.0}, TypeError, r"got 2\.0"),
        ({"pad": (1, 1)}, ValueError, r"expected pad \(left, right, top, bottom\), got 2 values"),
        ({"pad": (-2, -1, 0, 0)}, ValueError, "4 taps to fit into the width, got 4 pixels padded by -2 and -1"),
        ({"pad": (0, 0, 0, -1), "ceil_mode": True}, ValueError, "3 taps to fit into the height, got 3 pixels"),
    ],
)  # fmt: skip
def test_rejects_bad_arguments(changes, exception, message):
    good = {"image": torch.zeros(0, 2, 4, 5), "kernel_size": 2, "taps": TAPS}
    assert max_blur_downsample(**good).shape == (0, 2, 2, 2)
    with pytest.raises(exception, match=message):
        max_blur_downsample(**good | changes)


@pytest.mark.parametrize("name", ["max_blur_downsample_gather", "max_blur_downsample_transpose"])
@pytest.mark.parametrize("tensor", [torch.zeros(2, 3, 5, 7), torch.zeros(2, 3, 6, 4).double()])
def test_gather_and_transpose_reject_another_shape_or_dtype(name, tensor):
    with pytest.raises(ValueError, match=rf"{name}: expected .* image's .*, got \(2, 3, "):
        getattr(ops, name)(tensor, torch.zeros(2, 3, 8, 6), *ARGUMENTS)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize(
    ("kernel_size", "max_pad"), [(1, 0), (2, 0), (2, 1), ((3, 2), 1), ((3, 2), (1, 0))]
)
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_equals_max_pool_then_blur(border, kernel_size, max_pad, dilation):
    """Values bit for bit, NaN and infinities too, and gradients, where many values are equal."""
    image = torch.randint(-2, 3, (2, 3, 11, 13)).float()
    where = torch.rand(image.shape)
    special = image.clone()
    special[where < 0.02] = float("nan")
    special[where > 0.6] = -float("inf")
    special[where > 0.98] = float("inf")

    def ours(image):
        return max_blur_downsample(
            image, kernel_size, TAPS, border=border, max_pad=max_pad, dilation=dilation
        )

    def theirs(image):
        pooled = F.max_pool2d(image, kernel_size, 1, max_pad, dilation)
        return blur_downsample(pooled, TAPS, border=border)

    assert_close(ours(special), theirs(special), rtol=0, atol=0, equal_nan=True)
    assert ours(special).isnan().any()
    assert_close(values_and_gradient(ours, image), values_and_gradient(theirs, image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("stride", [1, 2])
def test_large_images_equal_max_pool_then_blur(dtype, layout, stride):
    """Planes of several parts, rows of several strips."""
    image = LAYOUTS[layout](torch.randn(1, 2, 301, 517, dtype=dtype))
    got = values_and_gradient(lambda image: max_blur_downsample(image, 3, TAPS, stride), image)
    want = values_and_gradient(
        lambda image: blur_downsample(F.max_pool2d(image, 3, 1), TAPS, stride), image
    )
    assert_close(got, want)


def test_a_window_that_sees_no_pixel_is_minus_infinity_as_in_max_pool():
    image = torch.randn(1, 1, 1, 2)
    pooled = F.max_pool2d(image, (2, 1), 1, (1, 0), (2, 1))
    got = ops.max_blur_downsample(image, *NOTHING_TO_SEE)
    assert pooled.isinf().all()
    assert torch.equal(got, pooled)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_first_of_equal_values_receives_the_gradient(layout):
    image = LAYOUTS[layout](torch.zeros(1, 2, 4, 5)).requires_grad_()
    max_blur_downsample(image, (2, 3), (1.0,), 1).sum().backward()
    want = torch.zeros(4, 5)
    want[:3, :3] = 1  # the top left of each of the 3x3 windows
    assert torch.equal(image.grad, want.expand(1, 2, 4, 5))


def test_minus_zero_is_no_smaller_than_zero():
    image = torch.tensor([[[-0.0, 0.0, -0.0]]], requires_grad=True)
    max_blur_downsample(image, (1, 3), (1.0,), 1).sum().backward()
    assert torch.equal(image.grad, torch.tensor([[[1.0, 0.0, 0.0]]]))


def test_the_first_nan_receives_the_gradient():
    image = torch.tensor([[[1.0, float("nan")], [float("nan"), float("inf")]]], requires_grad=True)
    result = max_blur_downsample(image, 2, (1.0,), 1)
    assert result.isnan().all()
    result.sum().backward()
    assert torch.equal(image.grad, torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]))


@pytest.mark.parametrize("border", [b for b in _C.borders() if b != "constant"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_constant_stays_constant(border, dtype):
    image = torch.full((1, 2, 7, 5), 3.0, dtype=dtype)
    for taps in range(1, 8):
        pooled = max_blur_downsample(
            image, 3, binomial(taps), border=border, max_pad=1, pad=(9, 8, 9, 8)
        )
        assert torch.equal(pooled, torch.full_like(pooled, 3))


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_window_of_one_pixel_is_the_blur(border, stride):
    image = torch.randn(IMAGE)
    want = blur_downsample(image, TAPS, stride, border=border)
    assert torch.equal(max_blur_downsample(image, 1, TAPS, stride, border=border), want)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_moving_the_content_by_k_strides_moves_the_result_by_k(stride):
    """Bit for bit, where neither the image's edge nor the map's is in sight."""
    image = torch.zeros(1, 2, 40, 40)
    image[..., 12:20, 12:20] = torch.rand(2, 8, 8)
    result = max_blur_downsample(image, 3, TAPS, stride)
    for k in (-2, 1, 3):
        moved = max_blur_downsample(image.roll((k * stride, k * stride), (2, 3)), 3, TAPS, stride)
        assert torch.equal(moved, result.roll((k, k), (2, 3)))


# Where torch's last window starts in its padding it drops that window; these pools have none.
@pytest.mark.parametrize(
    ("kernel_size", "max_pad", "stride"),
    [(2, 0, 1), (2, 0, 2), (3, 0, 2), (3, 1, 1), (3, 1, 2), (3, 0, 3), (5, 2, 3)],
)
def test_ceil_mode_keeps_the_size_of_a_ceil_mode_pool(kernel_size, max_pad, stride):
    for size in range(5, 12):
        image = torch.zeros(1, size, size)
        want = F.max_pool2d(image, kernel_size, stride, max_pad, ceil_mode=True).shape
        got = max_blur_downsample(image, kernel_size, TAPS, stride, max_pad=max_pad, ceil_mode=True)
        assert got.shape == want
