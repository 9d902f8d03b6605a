"""polyphase_norms and polyphase_downsample: right values, right gradients, registered right, compile once."""

from typing import get_args

import pytest
import reference
import torch
from cases import DTYPES, SHAPES, assert_matches, asymmetric, format_of
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
from shiftable.functional import Norm, blur_downsample, polyphase_downsample, polyphase_norms
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

NORMS = get_args(Norm)
IMAGE = (3, 3, 9, 8)
# (shape, number of taps along (height, width), stride)
CASES = [
    *[(IMAGE, (taps, taps), (2, 2)) for taps in (1, 2, 3, 4, 5, 7, 9)],
    *[(IMAGE, (3, 4), stride) for stride in [(1, 1), (1, 3), (3, 2), (4, 4), (5, 16)]],
    (IMAGE, (40, 1), (2, 2)),
    *[(shape, (3, 4), (2, 3)) for shape in SHAPES if len(shape) == 4],
    ((2, 37, 6, 7), (3, 3), (2, 2)),
]
TAPS = (asymmetric(3), asymmetric(4))


def phases_for(shape, stride):
    return torch.arange(shape[0]) * 7 % (stride[0] * stride[1])


def assert_norms(got, want):
    """Sums of many numbers, rounded on the way."""
    tolerance = 1e-12 if got.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(
        got.cpu().double(), torch.as_tensor(want), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_reference(device, dtype, border, case):
    """In norms, components and the transpose's values, that is gradients."""
    shape, taps, stride = case
    filtered = (*map(asymmetric, taps), stride, border)
    phase = phases_for(shape, stride)
    for image in layouts(torch.randn(shape, device=device).to(dtype)):
        for norm in NORMS:
            got = polyphase_norms(image, filtered[:2], stride, border=border, norm=norm)
            sums = torch.float64 if dtype == torch.float64 else torch.float32
            assert (got.dtype, got.device) == (sums, image.device)
            assert_norms(got, reference.polyphase_norms(image.cpu().double(), *filtered, norm))
        for given in (phase, phase[-1:]):
            got = ops.polyphase_downsample(image, given.to(device), *filtered)
            assert (got.dtype, got.device) == (image.dtype, image.device)
            want = reference.polyphase_downsample(image.cpu().double(), given, *filtered)
            assert_matches(got, want)
            assert_format(got, format_of(image))
            if shape[0] == 0:
                break
    for grad in layouts(torch.randn_like(got)):
        got = ops.polyphase_downsample_transpose(grad, phase.to(device), *shape[-2:], *filtered)
        assert (got.dtype, got.device) == (grad.dtype, grad.device)
        assert_matches(
            got,
            reference.polyphase_downsample_transpose(
                grad.cpu().double(), phase, shape[-2:], *filtered
            ),
        )
        assert_format(got, format_of(grad))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("norm", NORMS)
def test_norms_of_large_images_match_reference(layout, norm):
    """Planes of several parts."""
    image = LAYOUTS[layout](torch.randn(1, 2, 301, 517))
    got = polyphase_norms(image, TAPS, (2, 3), norm=norm)
    assert_norms(got, reference.polyphase_norms(image.double(), *TAPS, (2, 3), "circular", norm))


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_blur_downsample_with_its_pad_shifted(border, case):
    """Bit for bit."""
    shape, taps, stride = case
    filtered = tuple(map(asymmetric, taps))
    for image in layouts(torch.randn(shape)):
        for p in range(stride[0] * stride[1]):
            i, j = divmod(p, stride[1])
            pad = (
                (taps[1] - 1) // 2 - j,
                taps[1] // 2 + j,
                (taps[0] - 1) // 2 - i,
                taps[0] // 2 + i,
            )
            want = blur_downsample(image, filtered, stride, border=border, pad=pad)
            got, _ = polyphase_downsample(
                image, filtered, stride, border=border, phase=torch.tensor(p)
            )
            assert torch.equal(got, want)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("stride", [1, 2, (2, 3), 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("taps", [(1.0,), binomial(3), TAPS], ids=["one", "binomial 3", "any"])
def test_rolling_a_circular_image_rolls_the_component(norm, stride, dtype, taps):
    """By any whole number of pixels, bit for bit."""
    sy, sx = (stride, stride) if isinstance(stride, int) else stride
    images = torch.randn(4, 3, 12, 24)
    images[:, 1, 5, 4] = 9  # alone the largest, which in 16 bits two components may share otherwise
    for image in layouts(images.to(dtype)):
        before, chosen = polyphase_downsample(image, taps, stride, norm=norm)
        for dy, dx in [(1, 0), (0, 1), (1, 1), (-1, 2), (3, -5), (7, 11)]:
            rolled = torch.roll(image, (dy, dx), (2, 3))
            after, moved = polyphase_downsample(rolled, taps, stride, norm=norm)
            for n in range(len(image)):
                y, x = int(chosen[n]) // sx + dy, int(chosen[n]) % sx + dx
                assert moved[n] == y % sy * sx + x % sx
                assert torch.equal(after[n], torch.roll(before[n], (y // sy, x // sx), (1, 2)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_tap_chooses_among_slices(layout):
    image = LAYOUTS[layout](torch.randn(5, 3, 8, 6))
    slices = [image[..., i::2, j::2] for i in range(2) for j in range(2)]
    norms = torch.stack([s.flatten(1).norm(dim=1) for s in slices], 1)
    component, phase = polyphase_downsample(image)
    assert torch.equal(phase, norms.argmax(1))
    assert torch.equal(component, torch.stack([slices[p][n] for n, p in enumerate(phase)]))


def test_one_image_is_a_batch_of_one():
    image = torch.randn(3, 9, 8)
    component, phase = polyphase_downsample(image, TAPS)
    batch, phases = polyphase_downsample(image[None], TAPS)
    assert torch.equal(component, batch[0])
    assert torch.equal(phase, phases[0])
    assert phase.shape == ()
    for given in (phase, phase[None]):
        assert torch.equal(polyphase_downsample(image, TAPS, phase=given)[0], component)
    assert torch.equal(polyphase_norms(image, TAPS), polyphase_norms(image[None], TAPS)[0])


def test_the_first_of_equals_is_chosen():
    assert polyphase_downsample(torch.ones(2, 3, 4, 4), binomial(3))[1].tolist() == [0, 0]
    image = torch.zeros(1, 1, 4, 4)
    image[..., 0, 1] = image[..., 1, 0] = 1
    assert polyphase_downsample(image)[1].tolist() == [1]


@pytest.mark.parametrize("norm", NORMS)
def test_a_nan_is_the_largest(norm):
    image = torch.randn(1, 2, 16, 40)
    image[0, 1, 7, 20] = torch.nan
    assert polyphase_norms(image, norm=norm).isnan().tolist() == [[False, False, True, False]]


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose_is_adjoint(border, case):
    shape, taps, stride = case
    filtered = (*map(asymmetric, taps), stride, border)
    image, phase = torch.randn(shape, dtype=torch.float64), phases_for(shape, stride)
    result = ops.polyphase_downsample(image, phase, *filtered)
    grad = torch.randn_like(result)
    transposed = ops.polyphase_downsample_transpose(grad, phase, *shape[-2:], *filtered)
    assert_adjoint(image, transposed, result, grad)


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(border, layout):
    image = LAYOUTS[layout](torch.randn(2, 2, 5, 4, dtype=torch.float64)).requires_grad_()

    def component(image):
        return polyphase_downsample(image, TAPS, (2, 1), border=border)[0]

    assert gradcheck(component, image)
    assert gradgradcheck(component, image)


def test_norms_have_no_gradient():
    image = torch.randn(2, 3, 8, 8, requires_grad=True)
    assert not polyphase_norms(image).requires_grad
    assert not ops.polyphase_norms(image, *TAPS, [2, 2], "circular", "l2").requires_grad


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
def test_formats_agree_bit_for_bit(dtype, border):
    for shape in SHAPES:
        if len(shape) == 4:
            phase = phases_for(shape, (2, 2))
            assert_formats_agree(
                lambda image, phase=phase: polyphase_downsample(
                    image, TAPS, border=border, phase=phase
                )[0],
                torch.randn(shape).to(dtype),
            )


@pytest.mark.parametrize("name", registered("polyphase"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_registration(name, layout, requires_grad):
    image, phase = LAYOUTS[layout](torch.randn(2, 3, 8, 6)), torch.tensor([1, 0])
    filtered = (*TAPS, [2, 1], "reflect")
    first, *arguments = {
        "polyphase_norms": (image, *filtered, "l1"),
        "polyphase_downsample": (image, phase, *filtered),
        "polyphase_downsample_transpose": (
            LAYOUTS[layout](torch.randn(2, 3, 4, 6)), phase, 8, 6, *filtered,
        ),
    }[name]  # fmt: skip
    opcheck(getattr(ops, name), (first.requires_grad_(requires_grad), *arguments))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fake_size_is_the_real_one(case):
    shape, taps, stride = case
    filtered = (*map(asymmetric, taps), stride, "reflect")
    phase = phases_for(shape, stride)
    for image in layouts(torch.randn(shape)):
        assert_fake_agrees(ops.polyphase_norms, [image], *filtered, "l2")
        assert_fake_agrees(ops.polyphase_downsample, [image, phase], *filtered)
    for grad in layouts(ops.polyphase_downsample(image, phase, *filtered)):
        assert_fake_agrees(
            ops.polyphase_downsample_transpose, [grad, phase], *shape[-2:], *filtered
        )


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_compiles_once(layout):
    shapes = [(2, 3, 8, 6), (3, 2, 7, 9), (4, 5, 3, 6), (2, 4, 21, 16)]
    assert_compiles_once(
        lambda image: polyphase_downsample(image, TAPS, (2, 3))[0],
        [LAYOUTS[layout](torch.randn(shape)) for shape in shapes],
    )


def test_exports():
    assert_exports(
        lambda image: polyphase_downsample(image, TAPS)[0],
        torch.randn(2, 3, 8, 6),
        torch.randn(4, 5, 13, 7),
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_does_not_depend_on_threads(threads, norm, layout):
    for shape in [(40, 6, 21, 24), (8, 6, 61, 64), (1, 2, 301, 517)]:
        image = LAYOUTS[layout](torch.randn(shape))
        assert_ignores_threads(
            threads, lambda image: polyphase_downsample(image, TAPS, norm=norm)[0], image
        )
        norms = []
        for count in (1, 2, 3):
            threads(count)
            norms.append(polyphase_norms(image, TAPS, norm=norm))
        assert torch.equal(norms[1], norms[0])
        assert torch.equal(norms[2], norms[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cpu_and_cuda_agree(cuda, dtype, border, layout):
    image = LAYOUTS[layout](torch.randn(4, 5, 67, 130).to(dtype))
    phase = phases_for(image.shape, (2, 3))
    assert_cpu_and_cuda_agree(
        cuda,
        lambda image: polyphase_downsample(
            image, TAPS, (2, 3), border=border, phase=phase.to(image.device)
        )[0],
        image,
    )
    for norm in NORMS:
        on_cpu, on_cuda = (
            polyphase_norms(given, TAPS, (2, 3), border=border, norm=norm)
            for given in (image, image.to(cuda))
        )
        assert_norms(on_cuda, on_cpu.double())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": torch.zeros(4, 5)}, r"expected an image .* got shape \(4, 5\)"),
        ({"image": torch.zeros(1, 2, 0, 5)}, r"expected H >= 1 and W >= 1, got shape"),
        ({"image": torch.zeros(1, 2, 4, 5).int()}, "expected dtype float32, .* got .* Int"),
        ({"border": "wrap"}, f"unknown border 'wrap'; known: {', '.join(_C.borders())}$"),
        ({"norm": "l3"}, f"unknown norm 'l3'; known: {', '.join(NORMS)}$"),
        ({"taps": ()}, "expected at least one tap along the height, got none"),
        ({"taps": (float("nan"),)}, "expected finite taps along the height, got nan"),
        ({"stride": 0}, r"expected stride from 1 to 2\^20 along the height, got 0"),
        ({"stride": (1, 2, 3)}, "expected stride as an int or a pair, got 3 values"),
        ({"stride": (2, 65)}, "expected stride from 1 to 64, got 2 and 65"),
        ({"phase": torch.tensor([0, 4])}, "expected phases from 0 to 3, got 4"),
        ({"phase": torch.tensor([-1])}, "expected phases from 0 to 3, got -1"),
        ({"phase": torch.tensor([0.0, 1.0])}, "expected phase of dtype int64, got .* Float"),
        ({"phase": torch.tensor([0, 1, 2])}, r"phase of shape \(2,\), \(1,\) or \(\), got shape \(3,\)"),
        ({"phase": torch.zeros(2, 1).long()}, r"phase of shape .* got shape \(2, 1\)"),
    ],
)  # fmt: skip
def test_rejects_bad_arguments(changes, message):
    good = {"image": torch.zeros(2, 2, 4, 5), "taps": asymmetric(3)}
    assert polyphase_downsample(**good)[0].shape == (2, 2, 2, 3)
    with pytest.raises(ValueError, match=message):
        polyphase_downsample(**good | changes)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 5, 3), (4, 3)])
def test_transpose_rejects_a_gradient_of_another_shape(shape):
    phase = torch.tensor(0)
    with pytest.raises(ValueError, match=r"expected .*, got (shape )?\(\d"):
        ops.polyphase_downsample_transpose(torch.zeros(shape), phase, 8, 6, *TAPS, [2, 2], "reflect")  # fmt: skip
