"""take_windows: right value, right gradient, registered right, compiles once."""

import pytest
import reference
import torch
from shiftable import _C
from shiftable.functional import take_windows
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

INTERPOLATIONS = ["linear", "cubic", "lanczos3"]
CORNERS = torch.tensor([[0.0, 0.0], [-7.5, 3.25], [2.0, -1.75], [40.125, -33.5]])


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (1, 1, 1, 1), (1, 2, 2, 9), (0, 3, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_matches_reference(border, interpolation, shape, dtype):
    images = torch.randn(shape).to(dtype)
    got = take_windows(images, CORNERS, (4, 7), border=border, interpolation=interpolation, fill=2)
    corners = CORNERS.expand(shape[0], -1, 2).double().numpy()
    want = reference.take_windows(
        images.double().numpy(), corners, (4, 7), border, 2.0, interpolation
    )
    tolerance = 2e-2 if dtype.itemsize == 2 else 1e-5
    torch.testing.assert_close(got.double(), torch.from_numpy(want), rtol=tolerance, atol=tolerance)


def test_circular_windows_equal_roll():
    image = torch.randn(1, 2, 5, 6)
    got = take_windows(image, torch.tensor([[-1, 2]]), (5, 6), border="circular")
    assert torch.equal(got[0, 0], torch.roll(image[0], (1, -2), (1, 2)))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_gradients(interpolation):
    images = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)

    def windows(images):
        return take_windows(
            images, CORNERS, (3, 4), border="reflect", interpolation=interpolation, scale=[2.0, 3.0]
        )

    assert gradcheck(windows, images)
    assert gradgradcheck(windows, images)


def test_registration():
    images = torch.randn(2, 3, 6, 5, requires_grad=True)
    arguments = (CORNERS, [4, 4], "reflect", None, "cubic", [2.0], None, torch.float32, True)
    opcheck(torch.ops.shiftable.take_windows.default, (images, *arguments))
