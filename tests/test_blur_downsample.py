"""blur_downsample: right value, right gradient, registered right, compiles once."""

import pytest
import reference
import torch
from shiftable import _C, _ops
from shiftable.functional import blur_downsample
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

TAPS = (0.1, 0.4, 0.3, 0.2)
ARGS = ([0.25, 0.5, 0.25], [0.125, 0.375, 0.375, 0.125], [2, 2])


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize(
    "shape", [(2, 3, 9, 8), (3, 5, 7), (1, 1, 1, 1), (1, 2, 2, 1), (0, 3, 4, 4)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_matches_reference(border, shape, dtype):
    image = torch.randn(shape).to(dtype)
    got = _ops.ops.blur_downsample(image, *ARGS, border, None)
    want = torch.from_numpy(reference.blur_downsample(image.double().numpy(), *ARGS, border))
    tolerance = (
        {"rtol": 1e-2, "atol": 1e-2} if dtype.itemsize == 2 else {"rtol": 1e-5, "atol": 1e-6}
    )
    torch.testing.assert_close(got.double(), want, **tolerance)


def test_gradients():
    image = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    for border in _C.borders():
        assert gradcheck(lambda x, b=border: blur_downsample(x, TAPS, border=b), image)
        assert gradgradcheck(lambda x, b=border: blur_downsample(x, TAPS, border=b), image)


def test_registration():
    image = torch.randn(2, 3, 8, 6).contiguous(memory_format=torch.channels_last)
    opcheck(_ops.ops.blur_downsample.default, (image.requires_grad_(), *ARGS, "reflect", None))
