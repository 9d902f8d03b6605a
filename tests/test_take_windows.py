"""take_windows: right values, right gradients, registered right, compiles once."""

from typing import get_args

import pytest
import reference
import torch
from cases import DTYPES, assert_matches, channels_last, format_of
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
from shiftable.functional import Interpolation, take_windows
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck
from torch.testing import assert_close

INTERPOLATIONS = get_args(Interpolation)
# Inside, across each edge, far outside; whole, between pixels, and just before one.
CORNERS = torch.tensor(
    [[1, 0], [-7.5, 3.25], [2, -1.75], [40.125, -33.5], [-0.001, 2.999], [-2, 5]],
    dtype=torch.float64,
)
WHOLE = CORNERS.floor().long()
# (shape of the images, size of a window)
CASES = [
    ((2, 3, 6, 5), (4, 7)), ((1, 2, 3, 4), (1, 1)), ((3, 1, 7, 2), (9, 2)), ((1, 1, 1, 1), (2, 3)),
    ((1, 2, 1, 6), (3, 1)), ((0, 3, 4, 4), (2, 2)), ((2, 0, 4, 4), (2, 2)), ((1, 1, 3, 40), (2, 65)),
    ((1, 17, 5, 33), (3, 31)),
]  # fmt: skip
# Of the operators themselves, for (2, 3, 6, 5) images.
ARGUMENTS = ([4, 3], "reflect", None, "cubic", [2.0, 3.0, 4.0], [1.0], torch.float64, True)
TRANSPOSE_ARGUMENTS = (6, 5, "reflect", "cubic", [2.0, 3.0, 4.0], torch.float32, True)


def per_image(corners, images):
    """(N, S, 2): a different step further for every image."""
    steps = torch.arange(len(images))[:, None, None] * torch.tensor([1, -2])
    return (corners + steps.to(corners)).to(images.device)


def numpy(corners, count):
    """(N, S, 2) for the reference, whether given for every image or not."""
    return corners.cpu().double().expand(count, -1, -1).numpy()


def expected(images, corners, *arguments):
    """The reference's windows."""
    pixels = images.cpu().double().numpy()
    windows = reference.take_windows(pixels, numpy(corners, len(pixels)), *arguments)
    return torch.from_numpy(windows)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_reference(device, dtype, border, interpolation, case):
    shape, size = case
    fill = [float(c) for c in range(shape[1])]
    for images in layouts(torch.randn(shape, device=device).to(dtype)):
        for corners in (CORNERS.to(device), per_image(CORNERS, images)):
            got = take_windows(
                images, corners, size, border=border, interpolation=interpolation, fill=fill
            )
            assert (got.dtype, got.device) == (images.dtype, images.device)
            assert_matches(got, expected(images, corners, size, border, fill, interpolation))
            assert_format(got.flatten(0, 1), format_of(images))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose_matches_reference(device, dtype, border, interpolation, case):
    """The gradient with respect to the images."""
    shape, size = case
    n, c = shape[:2]
    for grad in layouts(torch.randn(n * len(CORNERS), c, *size, device=device).to(dtype)):
        grad = grad.unflatten(0, (n, len(CORNERS)))
        for corners in (CORNERS.to(device), per_image(CORNERS, grad)):
            want = reference.take_windows_transpose(
                grad.cpu().double(), numpy(corners, n), shape[-2:], border, interpolation
            )
            for last in (False, True):
                got = ops.take_windows_transpose(
                    grad, corners, *shape[-2:], border, interpolation, None, dtype, last
                )
                assert (got.dtype, got.device) == (grad.dtype, grad.device)
                assert_matches(got / 16, want / 16)  # where many windows add up in one pixel
                assert_format(got, torch.channels_last if last else torch.contiguous_format)


@pytest.mark.parametrize("dtype", [torch.uint8, *DTYPES], ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_whole_corners_read_exact_values(device, dtype, border, case):
    """Given as integers or as floats, with any interpolation; bytes stay bytes."""
    shape, size = case
    for images in layouts(torch.randint(0, 256, shape, device=device).to(dtype)):
        corners = per_image(WHOLE, images)
        want = expected(images, corners, size, border, 7)
        for given in (corners, corners.int()):
            got = take_windows(images, given, size, border=border, fill=7)
            assert got.dtype == dtype
            assert torch.equal(got.cpu().double(), want)
            assert_format(got.flatten(0, 1), format_of(images))
        for interpolation in INTERPOLATIONS:
            got = take_windows(
                images, corners.float(), size, border=border, fill=7, interpolation=interpolation
            )
            assert got.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
            assert torch.equal(got.cpu().double(), want)


@pytest.mark.parametrize("dtype", [torch.uint8, *DTYPES], ids=str)
@pytest.mark.parametrize("to", DTYPES, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_scale_bias_dtype_and_format_are_those_asked_for(device, dtype, to, memory_format):
    scale, bias = [0.25, 0.5, 2.0], [1.0, -3.0, 0.5]
    for images in layouts(torch.randint(0, 256, (2, 3, 6, 5), device=device).to(dtype)):
        for corners in (WHOLE.to(device), CORNERS.to(device)):
            got = take_windows(
                images, corners, (4, 7), scale=scale, bias=bias, fill=4, dtype=to,
                memory_format=memory_format,
            )  # fmt: skip
            want = expected(images, corners, (4, 7), "constant", 4)
            want = want * torch.tensor(scale).view(3, 1, 1) + torch.tensor(bias).view(3, 1, 1)
            assert got.dtype == to
            assert_matches(got / 256, want / 256)  # bytes round as much coarser as they are larger
            assert_format(got.flatten(0, 1), memory_format)


def test_default_dtype():
    """The images' own; bytes become float32 where a result need not be a byte."""
    images = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    assert take_windows(images, WHOLE, (2, 2)).dtype == torch.uint8
    assert take_windows(images, CORNERS, (2, 2)).dtype == torch.float32
    assert take_windows(images, WHOLE, (2, 2), scale=1).dtype == torch.float32
    assert take_windows(images, WHOLE, (2, 2), bias=0).dtype == torch.float32
    assert take_windows(images.bfloat16(), CORNERS, (2, 2), scale=2).dtype == torch.bfloat16


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose_is_adjoint(border, interpolation, case):
    shape, size = case
    images = torch.randn(shape, dtype=torch.float64)
    scale = [float(c + 1) for c in range(shape[1])]
    for corners in (CORNERS, WHOLE, per_image(CORNERS, images)):
        windows = ops.take_windows(
            images, corners, size, border, None, interpolation, scale, None, images.dtype, False
        )
        grad = torch.randn_like(windows)
        transposed = ops.take_windows_transpose(
            grad, corners, *shape[-2:], border, interpolation, scale, grad.dtype, False
        )
        assert_adjoint(images, transposed, windows, grad)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(border, interpolation, layout):
    images = LAYOUTS[layout](torch.randn(2, 2, 4, 3, dtype=torch.float64)).requires_grad_()

    def windows(images):
        return take_windows(
            images, per_image(CORNERS[1:4], images), (3, 2), border=border, fill=2,
            interpolation=interpolation, scale=[2.0, 3.0], bias=5,
        )  # fmt: skip

    assert gradcheck(windows, images)
    assert gradgradcheck(windows, images)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("to", DTYPES, ids=str)
@pytest.mark.parametrize("corners", [CORNERS, WHOLE], ids=["between", "whole"])
def test_formats_agree_bit_for_bit(dtype, to, corners):
    for shape, size in CASES:
        assert_formats_agree(
            lambda images, size=size: take_windows(
                images, corners, size, border="reflect", scale=3, dtype=to
            ),
            torch.randn(shape).to(dtype),
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("to", DTYPES, ids=str)
def test_gradient_has_the_dtype_and_format_of_the_images(dtype, to):
    images = channels_last(torch.randn(2, 3, 6, 5)).to(dtype).requires_grad_()
    take_windows(images, CORNERS, (4, 3), dtype=to).square().sum().backward()
    assert images.grad.dtype == dtype
    assert_format(images.grad, torch.channels_last)


@pytest.mark.parametrize("name", registered("take_windows"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("corners", [CORNERS, WHOLE.expand(2, -1, -1)], ids=["shared", "own"])
def test_registration(name, layout, requires_grad, corners):
    tensor, arguments = {
        "take_windows": (LAYOUTS[layout](torch.randn(2, 3, 6, 5)), ARGUMENTS),
        "take_windows_transpose": (
            LAYOUTS[layout](torch.randn(12, 3, 4, 3)).unflatten(0, (2, 6)),
            TRANSPOSE_ARGUMENTS,
        ),
        "take_windows_out": (
            LAYOUTS[layout](torch.randn(2, 3, 6, 5)),
            ("reflect", None, "linear", None, None, torch.empty(2, corners.shape[-2], 3, 4, 7)),
        ),
    }[name]
    if requires_grad and name == "take_windows_out":
        pytest.skip("no gradient passes out")
    opcheck(getattr(ops, name), (tensor.requires_grad_(requires_grad), corners, *arguments))


def test_registration_of_bytes():
    images = torch.randint(0, 256, (2, 3, 6, 5), dtype=torch.uint8)
    opcheck(ops.take_windows, (images, WHOLE, *ARGUMENTS))
    exact = ([4, 3], "constant", [7.0], "linear", None, None, torch.uint8, False)
    opcheck(ops.take_windows, (images, WHOLE, *exact))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("corners", [CORNERS, WHOLE[:0]], ids=["some", "none"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fake_size_is_the_real_one(case, corners, channels_last, dtype):
    shape, size = case
    images = torch.randn(shape)
    for given in (corners, corners.expand(shape[0], -1, -1)):
        arguments = (size, "reflect", None, "linear", None, [1.0], dtype, channels_last)
        assert_fake_agrees(ops.take_windows, [images, given], *arguments)
        grad = ops.take_windows(images, given, *arguments)
        arguments = (*shape[-2:], "reflect", "linear", None, dtype, channels_last)
        assert_fake_agrees(ops.take_windows_transpose, [grad, given], *arguments)


# At first no two sizes are alike, those of the corners among them: torch would take them for one.
SHAPES = [(5, 3, 8, 7), (2, 2, 7, 9), (4, 5, 2, 3), (2, 4, 21, 16)]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("corners", [CORNERS, WHOLE], ids=["between", "whole"])
def test_compiles_once(layout, corners):
    assert_compiles_once(
        lambda images: take_windows(images, corners, (4, 5), border="circular"),
        [LAYOUTS[layout](torch.randn(shape)) for shape in SHAPES],
    )


def test_compiles_once_at_the_size_of_the_images():
    assert_compiles_once(
        lambda images: take_windows(images, WHOLE, images.shape[-2:], border="circular"),
        [torch.randn(shape) for shape in SHAPES],
    )


def test_exports():
    assert_exports(
        lambda images: take_windows(images, CORNERS, (4, 5), border="reflect"),
        torch.randn(2, 3, 8, 6),
        torch.randn(4, 5, 13, 7),
    )


@pytest.mark.parametrize("corners", [CORNERS, WHOLE], ids=["between", "whole"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_does_not_depend_on_threads(threads, corners, layout):
    images = LAYOUTS[layout](torch.randn(6, 3, 40, 50))
    assert_ignores_threads(
        threads, lambda images: take_windows(images, corners, (64, 40), border="reflect"), images
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("corners", [CORNERS, WHOLE], ids=["between", "whole"])
def test_cpu_and_cuda_agree(cuda, dtype, border, interpolation, corners):
    for images in layouts(torch.randn(4, 5, 37, 66).to(dtype)):
        assert_cpu_and_cuda_agree(
            cuda,
            lambda images: take_windows(
                images, corners.to(images.device), (33, 70), border=border,
                interpolation=interpolation, fill=2, scale=3, bias=1,
            ),
            images,
        )  # fmt: skip


BYTES = torch.zeros(1, 2, 4, 5, dtype=torch.uint8)
HALFWAY = torch.tensor([[0.5, 0.0]])


@pytest.mark.parametrize(
    ("changes", "exception", "message"),
    [
        ({"images": torch.zeros(2, 4, 5)}, ValueError, r"expected images \(N, C, H, W\), got shape \(2, 4, 5\)"),
        ({"images": torch.zeros(1, 2, 0, 5)}, ValueError, "expected H >= 1 and W >= 1, got shape"),
        ({"images": torch.zeros(1, 2, 4, 5).int()}, ValueError, "expected dtype float32, .* or uint8, got .* Int"),
        ({"corners": torch.tensor(1)}, ValueError, r"expected corners \(S, 2\) or \(N, S, 2\) for images"),
        ({"corners": torch.tensor([0, 0])}, ValueError, r"expected corners .* got shape \(2,\)"),
        ({"corners": torch.zeros(1, 3)}, ValueError, r"expected corners .* got shape \(1, 3\)"),
        ({"corners": torch.zeros(2, 1, 2)}, ValueError, r"expected corners .* got shape \(2, 1, 2\)"),
        ({"corners": torch.zeros(1, 1, 1, 2)}, ValueError, "expected corners"),
        ({"corners": torch.zeros(1, 2, requires_grad=True)}, ValueError, r"without gradient.*corners\.detach\(\)"),
        ({"corners": torch.tensor([[0, float("nan")]])}, ValueError, r"corners within 2\^40 pixels, got nan"),
        ({"corners": torch.tensor([[float("inf"), 0]])}, ValueError, r"corners within 2\^40 pixels, got inf"),
        ({"corners": torch.tensor([[0, -(2**40) - 1]])}, ValueError, r"corners within 2\^40 pixels, got -1.09951e\+12"),
        ({"corners": torch.zeros(1, 2, dtype=torch.complex64)}, (TypeError, ValueError), "corners"),
        ({"corners": HALFWAY.to(torch.float8_e4m3fn)}, (TypeError, ValueError), "corners"),
        ({"size": (0, 2)}, ValueError, r"expected size as \(h, w\), both >= 1"),
        ({"size": (2, -1)}, ValueError, r"expected size as \(h, w\), both >= 1"),
        ({"size": (2,)}, ValueError, r"expected size as \(h, w\)"),
        ({"size": (2, 2, 2)}, ValueError, r"expected size as \(h, w\)"),
        ({"size": 2}, TypeError, "int"),
        ({"border": "wrap"}, ValueError, f"unknown border 'wrap'; known: {', '.join(_C.borders())}$"),
        ({"interpolation": "nearest"}, ValueError, f"'nearest'; known: {', '.join(INTERPOLATIONS)}$"),
        ({"fill": (1, 2, 3)}, ValueError, "expected fill as one value or one for each of 2 channels, got 3"),
        ({"scale": ()}, ValueError, "expected scale as one value or one for each of 2 channels, got 0"),
        ({"bias": (1, 2, 3)}, ValueError, "expected bias as one value or one for each of 2 channels, got 3"),
        ({"fill": float("nan")}, ValueError, "expected a finite fill, got nan"),
        ({"scale": float("inf")}, ValueError, "expected a finite scale, got inf"),
        ({"bias": (0, -float("inf"))}, ValueError, "expected a finite bias, got -inf"),
        ({"dtype": torch.int32}, ValueError, "expected dtype float32, .* got .* Int"),
        ({"dtype": torch.uint8}, ValueError, "expected a floating dtype for a floating image, got uint8"),
        ({"images": BYTES, "corners": HALFWAY, "dtype": torch.uint8}, ValueError, "expected whole corners"),
        ({"images": BYTES, "scale": 2, "dtype": torch.uint8}, ValueError, "no scale or bias for a uint8 result"),
        ({"images": BYTES, "fill": 256}, ValueError, "a fill of whole numbers from 0 to 255 .* got 256"),
        ({"images": BYTES, "fill": -1}, ValueError, "a fill of whole numbers from 0 to 255 .* got -1"),
        ({"images": BYTES, "fill": 0.5}, ValueError, "a fill of whole numbers from 0 to 255 .* got 0.5"),
        ({"memory_format": torch.channels_last_3d}, (TypeError, ValueError), "memory_format"),
    ],
)  # fmt: skip
def test_rejects_bad_arguments(changes, exception, message):
    good = {
        "images": torch.zeros(1, 2, 4, 5),
        "corners": torch.tensor([[0, 0]]),
        "size": (2, 3),
    }
    assert take_windows(**good).shape == (1, 1, 2, 2, 3)
    with pytest.raises(exception, match=message):
        take_windows(**good | changes)


@pytest.mark.parametrize(
    ("shape", "corners"), [((2, 3, 4, 3), CORNERS), ((2, 5, 3, 4, 3), CORNERS), ((1, 6, 3, 4, 3), CORNERS[None].expand(2, -1, -1))]
)  # fmt: skip
def test_transpose_rejects_a_gradient_of_another_shape(shape, corners):
    with pytest.raises(ValueError, match="take_windows_transpose: expected "):
        ops.take_windows_transpose(torch.zeros(shape), corners, *TRANSPOSE_ARGUMENTS)


@pytest.mark.parametrize("dtype", [torch.uint8, *DTYPES], ids=str)
def test_circular_windows_equal_roll(dtype):
    images = torch.randint(0, 256, (2, 3, 5, 6)).to(dtype)
    shifts = [(dy, dx) for dy in range(-6, 7) for dx in range(-7, 8)]
    corners = -torch.tensor(shifts)
    windows = take_windows(images, corners, (5, 6), border="circular")
    for s, shift in enumerate(shifts):
        assert torch.equal(windows[:, s], torch.roll(images, shift, (2, 3)))


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("dtype", [torch.uint8, *DTYPES], ids=str)
def test_a_shift_of_zero_is_the_identity(border, dtype):
    images = torch.randint(0, 256, (2, 3, 5, 6)).to(dtype)
    for given in layouts(images):
        windows = take_windows(given, torch.tensor([[0, 0]]), (5, 6), border=border)
        assert torch.equal(windows[:, 0], given)


@pytest.mark.parametrize("border", _C.borders())
def test_windows_inside_are_slices(border):
    images = torch.randn(2, 3, 7, 6)
    images[0, 0, 3, 3] = float("nan")
    images[1, 2, 2, 2] = float("inf")
    corners = [(y, x) for y in range(5) for x in range(3)]
    for given in (torch.tensor(corners), torch.tensor(corners).float()):
        windows = take_windows(images, given, (3, 4), border=border)
        for s, (y, x) in enumerate(corners):
            want = images[..., y : y + 3, x : x + 4]
            assert_close(windows[:, s], want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_constant_stays_constant(border, interpolation):
    """Between pixels too, since the taps sum to 1; outside as well, for that fill."""
    corners = torch.rand(50, 2, dtype=torch.float64) * 40 - 20
    images = torch.full((1, 2, 5, 6), 3.0, dtype=torch.float64)
    windows = take_windows(
        images, corners, (4, 3), border=border, interpolation=interpolation, fill=3
    )
    assert_close(windows, torch.full_like(windows, 3), rtol=1e-14, atol=0)


@pytest.mark.parametrize(("border", "period"), [("circular", (5, 6)), ("reflect", (8, 10))])
def test_an_image_repeats_without_end(border, period):
    images = torch.randn(1, 2, 5, 6)
    want = take_windows(images, WHOLE, (5, 6), border=border)
    for times in (1, -3, 10**11):
        far = WHOLE + times * torch.tensor(period)
        assert torch.equal(take_windows(images, far, (5, 6), border=border), want)


def test_corners_for_every_image_are_its_own():
    images = torch.randn(3, 2, 5, 6)
    corners = per_image(CORNERS, images)
    windows = take_windows(images, corners, (4, 3), border="reflect")
    for image, own, seen in zip(images, corners, windows, strict=True):
        assert torch.equal(take_windows(image[None], own, (4, 3), border="reflect")[0], seen)
    shared = take_windows(images, CORNERS, (4, 3))
    assert torch.equal(take_windows(images, CORNERS.expand(3, -1, -1), (4, 3)), shared)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, *DTYPES], ids=str)
def test_corners_of_any_dtype(dtype):
    images = torch.randn(1, 2, 5, 6)
    corners = torch.tensor([[0, 0], [3, 1], [40, 2]])
    want = take_windows(images, corners, (4, 3))
    assert torch.equal(take_windows(images, corners.to(dtype), (4, 3)), want)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("corners", [CORNERS, WHOLE], ids=["between", "whole"])
def test_out_is_written(layout, dtype, corners):
    images = torch.randint(256, (2, 3, 6, 5)).to(torch.uint8)
    if dtype == torch.uint8 and corners.is_floating_point():
        pytest.skip("uint8 has nothing between pixels")
    options = {"border": "reflect"} if dtype == torch.uint8 else {"border": "reflect", "scale": 0.5}
    want = take_windows(images, corners, (4, 7), dtype=dtype, **options)
    guard = 7
    flat = torch.full((2 * len(corners) + 2, 3, 4, 7), guard, dtype=dtype)
    flat = LAYOUTS[layout](flat)
    out = flat[1:-1].unflatten(0, (2, len(corners)))
    got = take_windows(images, corners, (4, 7), out=out, **options)
    assert got is out
    assert torch.equal(out, want)
    assert (flat[0] == guard).all()  # nothing past its ends
    assert (flat[-1] == guard).all()


@pytest.mark.parametrize(
    ("images", "out", "message"),
    [
        (torch.zeros(1, 3, 8, 8), torch.empty(1, 1, 3, 4, 5), "expected out of size"),
        (torch.zeros(1, 3, 8, 8), torch.empty(1, 2, 3, 4, 4), r"expected out of shape \(1, 1, 3"),
        (torch.zeros(1, 3, 8, 8), torch.empty(1, 3, 4, 4), r"\(N, S, C, h, w\)"),
        (torch.zeros(1, 3, 8, 8), torch.empty(1, 1, 3, 4, 8)[..., ::2], "dense"),
        (torch.zeros(1, 3, 8, 8), torch.empty(1, 1, 3, 4, 4, dtype=torch.uint8), "floating out"),
        (torch.zeros(1, 3, 8, 8, requires_grad=True), torch.empty(1, 1, 3, 4, 4), "no gradient"),
    ],
)
def test_out_is_refused(images, out, message):
    with pytest.raises(ValueError, match=message):
        take_windows(images, torch.tensor([[0, 0]]), (4, 4), out=out)


def test_out_may_not_be_the_images():
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="memory of its own"):
        take_windows(images, torch.tensor([[0, 0]]), (8, 8), out=images[:, None])


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16], ids=str)
def test_many_windows_are_each_its_own(border, layout, dtype):
    """Those with the same fraction are cut from one large window; the bits stay the same."""
    images = LAYOUTS[layout](torch.randint(1, 200, (2, 3, 9, 20)).to(dtype))
    whole = torch.cartesian_prod(torch.arange(-3.0, 4), torch.arange(-2.0, 5))
    alone = torch.tensor([[0.3, 0.1], [400.0, -300.5], [2.5, 1.7]])
    # First some whose canvas would be too large, also with the fraction of those behind them.
    far = torch.tensor([[-30000.0, 5.0], [9.0, 40000.0]])
    corners = torch.cat([far, whole, whole + 0.5, alone, whole + torch.tensor([0.25, 0.0])])
    options = {"border": border, "fill": (7.0, 8.0, 9.0), "scale": (0.5, 1.5, 2.5), "bias": 0.25}
    got = take_windows(images, corners, (7, 18), dtype=torch.float32, **options)
    for number, corner in enumerate(corners):
        want = take_windows(images, corner[None], (7, 18), dtype=torch.float32, **options)
        assert torch.equal(got[:, number], want[:, 0])


@pytest.mark.parametrize("size", [(64, 96), (61, 37)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fraction", [0, 0.5])
def test_results_larger_than_the_cache(size, memory_format, dtype, fraction):
    """They are written around it; in parts they are not, and their bits are the same."""
    corners = torch.cartesian_prod(torch.arange(60), torch.arange(60))
    corners = corners[: (36 << 20) // (3 * size[0] * size[1] * dtype.itemsize) + 1] + fraction
    images = torch.randn(1, 3, 50, 70).to(dtype)
    options = {"border": "reflect", "memory_format": memory_format, "dtype": dtype}
    got = take_windows(images, corners, size, **options)
    assert got.numel() * dtype.itemsize > 32 << 20
    parts = [take_windows(images, part, size, **options) for part in corners.split(100)]
    assert torch.equal(got, torch.cat(parts, 1))
