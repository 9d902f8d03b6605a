"""Results written to memory that is there: the same bits, nothing around them, refused where they do not fit."""

import pytest
import torch
from cases import DTYPES, asymmetric
from operators import LAYOUTS
from shiftable._ops import ops
from shiftable.functional import blur_downsample, max_blur_downsample

TAPS = (asymmetric(3), asymmetric(4))
BLUR = (*TAPS, [2, 2], "reflect", None)
POOL = ([2, 3], *BLUR, [1, 1], [1, 1], False)
SHAPES = [(2, 3, 9, 8), (2, 37, 9, 8), (1, 2, 21, 33), (5, 9, 8)]


def prologue(image):
    channels = image.shape[-3]
    scale, bias = torch.linspace(-1, 2, channels), torch.linspace(1, -1, channels)
    return {"prologue_scale": scale, "prologue_bias": bias, "prologue_relu": True}


# (the new result, the result written to `out`) of an image
FORMS = {
    "blur_downsample": (
        lambda image: blur_downsample(image, TAPS),
        lambda image, out: blur_downsample(image, TAPS, out=out),
    ),
    "blur_downsample with a prologue": (
        lambda image: blur_downsample(image, TAPS, **prologue(image)),
        lambda image, out: blur_downsample(image, TAPS, **prologue(image), out=out),
    ),
    "max_blur_downsample": (
        lambda image: max_blur_downsample(image, (2, 3), TAPS, max_pad=1),
        lambda image, out: max_blur_downsample(image, (2, 3), TAPS, max_pad=1, out=out),
    ),
    "blur_downsample_transpose": (
        lambda grad: ops.blur_downsample_transpose(grad, grad.shape[-2] * 2, grad.shape[-1] * 2 - 1, *BLUR),
        lambda grad, out: ops.blur_downsample_transpose_out(grad, *BLUR, out) or out,
    ),
    "max_blur_downsample_transpose": (
        lambda image: ops.max_blur_downsample_transpose(ops.max_blur_downsample(image, *POOL), image, *POOL),
        lambda image, out: ops.max_blur_downsample_transpose_out(ops.max_blur_downsample(image, *POOL), image, *POOL, out) or out,
    ),
}  # fmt: skip


def surrounded(like):
    """Memory for a tensor like this one in the midst of more, and that memory."""
    whole = torch.full((like.numel() + 64,), 77, dtype=like.dtype)
    return torch.as_strided(whole, like.shape, like.stride(), 32), whole


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_out_holds_the_result(form, shape, layout, dtype):
    new, into = FORMS[form]
    image = LAYOUTS[layout](torch.randn(shape).to(dtype))
    want = new(image)
    out, whole = surrounded(want)
    got = into(image, out)
    assert got is out
    assert torch.equal(out, want)
    assert (whole[:32] == 77).all()
    assert (whole[-32:] == 77).all()


@pytest.mark.parametrize("form", FORMS)
def test_out_is_refused_where_it_does_not_fit(form):
    new, into = FORMS[form]
    image = torch.randn(2, 3, 9, 8)
    good = new(image)
    for bad, message in [
        (good[:1], "expected .* shape"),
        (good.double(), "out of shape .* and the image's dtype, got"),
        (good.contiguous(memory_format=torch.channels_last), "expected out dense and contiguous"),
        (good.repeat_interleave(2, 3)[..., ::2], "expected out dense and contiguous"),
    ]:
        with pytest.raises(ValueError, match=message):
            into(image, bad)


@pytest.mark.parametrize("form", [name for name in FORMS if "transpose" not in name])
def test_out_is_refused_in_the_memory_of_the_image(form):
    new, into = FORMS[form]
    image = torch.randn(2, 3, 9, 8)
    want = new(image)
    with pytest.raises(ValueError, match="expected out in memory of its own"):
        into(image, image.view(-1)[: want.numel()].view(want.shape))


@pytest.mark.parametrize("form", [name for name in FORMS if "transpose" not in name])
def test_out_is_refused_where_a_gradient_is_wanted(form):
    new, into = FORMS[form]
    image = torch.randn(2, 3, 9, 8, requires_grad=True)
    out = new(image.detach())
    with pytest.raises(ValueError, match="expected no gradient with out"):
        into(image, out)
    with torch.no_grad():
        assert into(image, out) is out
