"""blur_downsample: right values, right gradients, registered right, compiles once."""

import pytest
import reference
import torch
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
)
from shiftable import _C
from shiftable._ops import ops
from shiftable.filters import binomial
from shiftable.functional import blur_downsample
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

IMAGE = (2, 3, 9, 8)
# (shape, number of taps along (height, width), stride, pad)
CASES = [
    *[(IMAGE, (taps, taps), (2, 2), None) for taps in range(1, 10)],
    *[(IMAGE, taps, (2, 2), None) for taps in [(70, 1), (1, 70)]],
    *[(IMAGE, (2, 5), (stride, stride), None) for stride in (1, 3, 4)],
    *[(IMAGE, (4, 3), stride, None) for stride in [(1, 3), (4, 2), (20, 1)]],
    *[
        (IMAGE, (3, 4), (2, 1), pad)
        for pad in [
            (0, 0, 0, 0), (1, 2, 0, 3), (-2, 0, -1, -3), (13, 20, 21, 9), (-3, 12, 25, -4),
            (-10, 20, 40, -12),
        ]
    ],
    *[(shape, (5, 4), (2, 2), None) for shape in SHAPES],
    # Pixels of many channels, and rows of many of them.
    *[((1, 37, 9, 8), (taps, taps), (2, 2), None) for taps in range(2, 8)],
    *[((1, 19, 5, 70), (taps, taps), (2, 2), None) for taps in (2, 5, 7)],
    *[((1, 67, 6, 9), (taps, taps), (3, 3), None) for taps in (2, 5, 7)],
    ((1, 67, 6, 9), (4, 3), (2, 2), (3, 0, -1, 2)),
]  # fmt: skip
TAPS = (asymmetric(3), asymmetric(4))
ARGUMENTS = (*TAPS, [2, 1], "reflect", [1, 2, 0, 3])  # of the operators themselves


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_reference(device, dtype, border, case):
    """In values and in the transpose's, that is in gradients."""
    shape, taps, stride, pad = case
    arguments = (*map(asymmetric, taps), stride, border, pad)
    for image in layouts(torch.randn(shape, device=device).to(dtype)):
        got = blur_downsample(image, arguments[:2], stride, border=border, pad=pad)
        assert (got.dtype, got.device) == (image.dtype, image.device)
        assert_matches(got, reference.blur_downsample(image.cpu().double(), *arguments))
        assert_format(got, format_of(image))
    for grad in layouts(torch.randn_like(got)):
        got = ops.blur_downsample_transpose(grad, *shape[-2:], *arguments)
        assert (got.dtype, got.device) == (grad.dtype, grad.device)
        want = reference.blur_downsample_transpose(grad.cpu().double(), shape[-2:], *arguments)
        assert_matches(got, want)
        assert_format(got, format_of(grad))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("stride", [1, 2])
def test_large_images_match_reference(device, dtype, layout, stride):
    """Planes of several parts, rows of several strips."""
    image = LAYOUTS[layout](torch.randn(1, 2, 301, 517, device=device).to(dtype))
    arguments = (*TAPS, (stride, stride), "reflect", None)
    got = ops.blur_downsample(image, *arguments)
    assert_matches(got, reference.blur_downsample(image.cpu().double(), *arguments))
    grad = torch.randn_like(got)
    got = ops.blur_downsample_transpose(grad, 301, 517, *arguments)
    want = reference.blur_downsample_transpose(grad.cpu().double(), (301, 517), *arguments)
    assert_matches(got, want)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose_is_adjoint(border, case):
    shape, taps, stride, pad = case
    arguments = (*map(asymmetric, taps), stride, border, pad)
    image = torch.randn(shape, dtype=torch.float64)
    result = ops.blur_downsample(image, *arguments)
    grad = torch.randn_like(result)
    transposed = ops.blur_downsample_transpose(grad, *shape[-2:], *arguments)
    assert_adjoint(image, transposed, result, grad)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(border, layout):
    image = LAYOUTS[layout](torch.randn(2, 2, 5, 4, dtype=torch.float64)).requires_grad_()

    def blurred(image):
        return blur_downsample(image, TAPS, (2, 1), border=border)

    assert gradcheck(blurred, image)
    assert gradgradcheck(blurred, image)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
def test_formats_agree_bit_for_bit(dtype, border):
    for shape in SHAPES:
        if len(shape) == 4:
            assert_formats_agree(
                lambda image: blur_downsample(image, TAPS, border=border),
                torch.randn(shape).to(dtype),
            )


def test_gradient_of_channels_last_is_channels_last():
    image = channels_last(torch.randn(IMAGE)).requires_grad_()
    blur_downsample(image, TAPS).square().sum().backward()
    assert_format(image.grad, torch.channels_last)


@pytest.mark.parametrize("name", registered("blur_downsample"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_registration(name, layout, requires_grad):
    if requires_grad and name.endswith("_out"):
        pytest.skip("no gradient passes out")
    given = LAYOUTS[layout](torch.randn(2, 3, 8, 6))
    image, grad = given, LAYOUTS[layout](ops.blur_downsample(given, *ARGUMENTS))
    scale, bias = torch.randn(2, 3)
    first, *arguments = {
        "blur_downsample": (image, *ARGUMENTS),
        "blur_downsample_out": (image, *ARGUMENTS, ops.blur_downsample(image, *ARGUMENTS)),
        "blur_downsample_transpose": (grad, 8, 6, *ARGUMENTS),
        "blur_downsample_transpose_out": (
            grad, *ARGUMENTS, ops.blur_downsample_transpose(grad, 8, 6, *ARGUMENTS),
        ),
        "blur_downsample_prologue": (image, scale, bias, True, *ARGUMENTS),
        "blur_downsample_prologue_out": (
            image, scale, bias, True, *ARGUMENTS, ops.blur_downsample(image, *ARGUMENTS),
        ),
        "blur_downsample_prologue_transpose": (grad, image, scale, bias, True, *ARGUMENTS),
    }[name]  # fmt: skip
    opcheck(getattr(ops, name), (first.requires_grad_(requires_grad), *arguments))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fake_size_is_the_real_one(case):
    shape, taps, stride, pad = case
    arguments = (*map(asymmetric, taps), stride, "reflect", pad)
    for image in layouts(torch.randn(shape)):
        assert_fake_agrees(ops.blur_downsample, [image], *arguments)
    for grad in layouts(ops.blur_downsample(image, *arguments)):
        assert_fake_agrees(ops.blur_downsample_transpose, [grad], *shape[-2:], *arguments)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("pad", [None, (1, 0, 2, 3)])
def test_compiles_once(layout, pad):
    # Results of one pixel are left out: torch compiles anew for a size of 1, whatever has it.
    shapes = [(2, 3, 8, 6), (3, 2, 7, 9), (4, 5, 3, 6), (2, 4, 21, 16)]
    assert_compiles_once(
        lambda image: blur_downsample(image, TAPS, (2, 3), pad=pad),
        [LAYOUTS[layout](torch.randn(shape)) for shape in shapes],
    )


def test_exports():
    assert_exports(
        lambda image: blur_downsample(image, TAPS),
        torch.randn(2, 3, 8, 6),
        torch.randn(4, 5, 13, 7),
    )


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_does_not_depend_on_threads(threads, border, layout):
    for shape in [(8, 6, 61, 64), (1, 2, 301, 517)]:
        image = LAYOUTS[layout](torch.randn(shape))
        assert_ignores_threads(
            threads, lambda image: blur_downsample(image, TAPS, border=border), image
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cpu_and_cuda_agree(cuda, dtype, border, layout):
    assert_cpu_and_cuda_agree(
        cuda,
        lambda image: blur_downsample(image, TAPS, (2, 3), border=border),
        LAYOUTS[layout](torch.randn(4, 5, 67, 130).to(dtype)),
    )


@pytest.mark.parametrize(
    ("changes", "exception", "message"),
    [
        ({"image": torch.zeros(4, 5)}, ValueError, r"expected an image .* got shape \(4, 5\)"),
        ({"image": torch.zeros(1, 1, 1, 4, 5)}, ValueError, "expected an image"),
        ({"image": torch.zeros(1, 2, 0, 5)}, ValueError, r"expected H >= 1 and W >= 1, got shape"),
        ({"image": torch.zeros(1, 2, 4, 0)}, ValueError, r"expected H >= 1 and W >= 1, got shape"),
        ({"image": torch.zeros(1, 4, 5).int()}, ValueError, "expected dtype float32, .* got .* Int"),
        ({"image": torch.zeros(1, 4, 5).byte()}, ValueError, "expected dtype float32, .* got .* Byte"),
        ({"image": torch.zeros(1, 4, 5) + 0j}, ValueError, "expected dtype float32"),
        ({"border": "wrap"}, ValueError, f"unknown border 'wrap'; known: {', '.join(_C.borders())}$"),
        ({"taps": ()}, ValueError, "expected at least one tap along the height, got none"),
        ({"taps": ([1], [])}, ValueError, "expected at least one tap along the width, got none"),
        ({"taps": ([1], [1], [1])}, ValueError, "one sequence or a pair of them, got 3 sequences"),
        ({"taps": (float("nan"),)}, ValueError, "expected finite taps along the height, got nan"),
        ({"taps": ([1], [float("inf")])}, ValueError, "expected finite taps along the width, got inf"),
        ({"stride": 0}, ValueError, "expected stride from 1 to 2\\^20 along the height, got 0"),
        ({"stride": (1, -2)}, ValueError, "expected stride from 1 to 2\\^20 along the width, got -2"),
        ({"stride": (1, 2, 3)}, ValueError, "expected stride as an int or a pair, got 3 values"),
        ({"stride": 2.0}, TypeError, r"got 2\.0"),
        ({"stride": (2.5, 2)}, TypeError, r"got \(2\.5, 2\)"),
        ({"pad": (1, 1)}, ValueError, r"expected pad \(left, right, top, bottom\), got 2 values"),
        ({"pad": ()}, ValueError, "got 0 values"),
        ({"pad": (-2, -1, 0, 0)}, ValueError, "3 taps to fit into the width, got 5 pixels padded by -2 and -1"),
        ({"pad": (0, 0, -9, 0)}, ValueError, "3 taps to fit into the height, got 4 pixels padded by -9 and 0"),
        ({"pad": (2**40, 0, 0, 0)}, ValueError, r"expected pad within 2\^20 pixels along the width"),
        ({"pad": (0, 0, 0, 0), "taps": asymmetric(5)}, ValueError, "5 taps to fit into the height"),
    ],
)  # fmt: skip
def test_rejects_bad_arguments(changes, exception, message):
    good = {"image": torch.zeros(1, 2, 4, 5), "taps": asymmetric(3)}
    assert blur_downsample(**good).shape == (1, 2, 2, 3)
    with pytest.raises(exception, match=message):
        blur_downsample(**good | changes)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 5, 3), (4, 3)])
def test_transpose_rejects_a_gradient_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"expected .*, got (shape )?\(\d"):
        ops.blur_downsample_transpose(torch.zeros(shape), 8, 6, asymmetric(3), asymmetric(3), [2, 2], "reflect", None)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", [b for b in _C.borders() if b != "constant"])
def test_a_constant_stays_constant(dtype, border):
    image = torch.full((1, 2, 7, 5), 3.0, dtype=dtype)
    for taps in range(1, 8):
        blurred = blur_downsample(image, binomial(taps), border=border, pad=(9, 8, 9, 8))
        assert torch.equal(blurred, torch.full_like(blurred, 3))


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rolling_a_circular_image_rolls_the_result(stride, dtype):
    for image in layouts(torch.randn(2, 3, 12, 36).to(dtype)):
        blurred = blur_downsample(image, TAPS, stride, border="circular")
        for k in range(-2, 4):
            rolled = torch.roll(image, (k * stride, -k * stride), (2, 3))
            got = blur_downsample(rolled, TAPS, stride, border="circular")
            assert torch.equal(got, torch.roll(blurred, (k, -k), (2, 3)))


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_one_tap_of_one_is_slicing(border, stride):
    image = torch.randn(IMAGE)
    got = blur_downsample(image, (1.0,), stride, border=border)
    assert torch.equal(got, image[..., ::stride, ::stride])
    assert got.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("size", [1, 2, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("taps", range(1, 10))
def test_default_pad_gives_the_ceiling_of_the_size(size, stride, taps):
    got = blur_downsample(torch.zeros(1, size, size), asymmetric(taps), stride)
    assert got.shape[-2:] == (-(-size // stride),) * 2


@pytest.mark.parametrize(
    "change",
    [
        {"taps": asymmetric(3)[::-1]}, {"stride": 3}, {"border": "circular"}, {"size": 3},
        {"pad": (0, 2, 0, 2)}, {"pad": (2, 0, 2, 0)},
    ],
    ids=str,
)  # fmt: skip
def test_calls_that_differ_in_one_argument_share_nothing(change):
    """All of them are of 2x2 pixels, so that a table kept from another call would fit."""
    base = {"size": 4, "taps": asymmetric(3), "stride": 2, "border": "reflect", "pad": (1, 1, 1, 1)}
    for call in (base, base | change, base):
        size, taps, stride, border, pad = call.values()
        image = torch.randn(1, size, size, dtype=torch.float64)
        want = reference.blur_downsample(image.numpy(), taps, taps, (stride, stride), border, pad)
        assert want.shape == (1, 2, 2)
        assert_matches(blur_downsample(image, taps, stride, border=border, pad=pad), want)


def test_one_filter_and_one_stride_serve_both_axes():
    image = torch.randn(IMAGE)
    want = blur_downsample(
        image, (asymmetric(3), asymmetric(3)), (2, 2), border="reflect", pad=(1, 1, 1, 1)
    )
    assert torch.equal(blur_downsample(image, asymmetric(3)), want)
    assert torch.equal(
        blur_downsample(image, torch.tensor(asymmetric(3), dtype=torch.float64), 2), want
    )


def test_what_lies_outside_a_constant_border_is_never_multiplied():
    """Zero outside is no pixel: infinity and NaN inside stay where their taps reach."""
    image = torch.zeros(1, 5, 5)
    image[0, 0, 0] = float("inf")
    blurred = blur_downsample(image, (0.25, 0.5, 0.25), 1, border="constant")
    assert blurred.isinf().sum() == 4
    assert not blurred.isnan().any()
