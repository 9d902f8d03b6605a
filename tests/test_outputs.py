"""Equivariance of maps, images and other outputs, on networks whose answer is known."""

import math
import weakref

import numpy as np
import pytest
import torch
from shiftable import Sweep, diagonal, grid, line
from shiftable.canvas import fourier_shifted
from shiftable.outputs import (
    compare_outputs,
    equivariance_psnr,
    map_agreement,
    psnr,
    reconstruction_change,
    relative_difference,
    similarity,
    squared_error,
)
from torch import nn

IMAGES = torch.rand(3, 2, 12, 10, generator=torch.Generator().manual_seed(3))
CIRCULAR = Sweep("circular", grid(2), (12, 10))
CROP = Sweep("crop", grid(2), (8, 6))


def point_wise():
    torch.manual_seed(1)
    return nn.Conv2d(2, 5, 1).eval()


def every_second(x):
    """Keeps every second pixel and repeats it: equivariant to even shifts only."""
    return x[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.mark.parametrize("sweep", [CIRCULAR, CROP], ids=["circular", "crop"])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_what_acts_on_each_pixel_is_equivariant(sweep, batch):
    circular = sweep.protocol == "circular"
    agreement = compare_outputs(
        point_wise(), IMAGES, sweep, map_agreement(circular=circular), batch=batch
    )
    assert agreement.estimate().value == 1
    shifts = len(sweep.plan) - 1
    if circular:
        assert (np.nansum(agreement.below, axis=1) == shifts * 120).all()
    error = compare_outputs(
        lambda x: 2 * x, IMAGES, sweep, squared_error(circular=circular), batch=batch
    )
    assert error.estimate().value == 0
    assert equivariance_psnr(error).value == math.inf
    assert np.isnan(error.above[:, sweep.plan.origin]).all()


def test_a_bare_stride_by_hand():
    """A row of eight; kept and repeated: x0 x0 x2 x2 ...; moved by one: x7 x7 x1 x1 ..."""
    row = torch.arange(8.0).view(1, 1, 1, 8).repeat(1, 1, 2, 1)
    sweep = Sweep("circular", line((0, 2)), (2, 8))
    found = compare_outputs(every_second, row, sweep, squared_error(circular=True))
    # Moved output: x6 x0 x0 x2 x2 x4 x4 x6; output of the moved: x7 x7 x1 x1 x3 x3 x5 x5.
    moved, of_moved = np.array([6, 0, 0, 2, 2, 4, 4, 6]), np.array([7, 7, 1, 1, 3, 3, 5, 5])
    one = 2 * ((moved - of_moved) ** 2).sum()
    assert found.above[0, 1:].tolist() == [one, 0]  # a shift of two is exact
    assert found.below[0, 1:].tolist() == [16, 16]
    assert found.estimate().value == pytest.approx(one / 32)
    by_distance = found.by_distance()
    assert (by_distance[1].value, by_distance[2].value) == (pytest.approx(one / 16), 0)
    decibels = 20 * math.log10(2) - 10 * math.log10(one / 32)
    assert equivariance_psnr(found).value == pytest.approx(decibels)


def test_maps_of_lower_resolution():
    sweep = Sweep("circular", grid(2, spacing=2), (12, 10))
    stride = compare_outputs(
        lambda x: x[..., ::2, ::2], IMAGES, sweep, map_agreement(2, circular=True)
    )
    assert stride.estimate().value == 1
    with pytest.raises(ValueError, match="multiples of the map's stride, 2"):
        compare_outputs(lambda x: x[..., ::2, ::2], IMAGES, CIRCULAR, map_agreement(2))
    # Against a map that never moves.
    still = torch.rand(1, 4, 12, 10, generator=torch.Generator().manual_seed(4))
    found = compare_outputs(
        lambda x: still.expand(len(x), -1, -1, -1), IMAGES, CROP, map_agreement()
    )
    classes = still[0].argmax(0)
    agree = sum(
        (classes[max(-dy, 0) : 12 - max(dy, 0), max(-dx, 0) : 10 - max(dx, 0)]
         == classes[max(dy, 0) : 12 + min(dy, 0), max(dx, 0) : 10 + min(dx, 0)]).sum().item()
        for dy, dx in grid(2).shifts if (dy, dx) != (0, 0)
    )  # fmt: skip
    assert np.nansum(found.above[0]) == agree


def smooth(height, width):
    """Band-limited far below the highest frequency."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    wave = (2 * torch.pi * (2 * y / height + x / width)).sin() + (4 * torch.pi * x / width).cos()
    return wave[None, None] / 2


def test_shifts_between_pixels():
    image = smooth(33, 24)
    plan = diagonal(1, spacing=0.25)
    sweep = Sweep("circular", plan, (33, 24), interpolation="fourier")
    found = compare_outputs(lambda x: x, image, sweep, squared_error(circular=True))
    assert equivariance_psnr(found).value > 100
    # A bare stride aliases even so low a frequency somewhat, and noise far more.
    strided = compare_outputs(every_second, smooth(32, 24), Sweep("circular", plan, (32, 24), interpolation="fourier"), squared_error(circular=True))  # fmt: skip
    assert equivariance_psnr(strided).value < 30
    crop = Sweep("crop", plan, (25, 16), interpolation="lanczos3")
    cut = compare_outputs(lambda x: x, image, crop, squared_error())
    assert equivariance_psnr(cut).value > 40
    assert (cut.below[0, : plan.origin] < 25 * 16).all()


def test_a_users_function_and_nested_outputs():
    def model(x):
        return {"mean": x.mean((1, 2, 3)), "first": (x[:, :, 0, 0],)}

    kept = []

    def compare(unshifted, shifted, shifts):
        kept.append((unshifted["mean"].shape, shifted["first"][0].shape, shifts.shape))
        return (shifted["mean"] - unshifted["mean"]).abs(), torch.ones(len(shifts))

    found = compare_outputs(model, IMAGES, CIRCULAR, compare, batch=7)
    assert found.estimate().value == pytest.approx(0, abs=1e-6)
    assert all(shape == () for shape, _, _ in kept)
    assert sum(shifts[0] for _, _, shifts in kept) == 3 * 24


def test_regressions():
    found = compare_outputs(
        lambda x: x[:, 0, 0, :2] + 1, IMAGES, Sweep("circular", line((0, 1)), (12, 10)), relative_difference
    )  # fmt: skip
    before, after = IMAGES[:, 0, 0, :2] + 1, torch.roll(IMAGES, 1, 3)[:, 0, 0, :2] + 1
    wanted = (after - before).abs().sum() / before.abs().sum()
    assert found.estimate().value == pytest.approx(wanted.item(), rel=1e-6)


def test_similarity_by_anybodys_function():
    found = compare_outputs(every_second, IMAGES, CIRCULAR, similarity(psnr(1.0), circular=True))
    x = IMAGES[0]
    before = torch.roll(every_second(x), (1, 0), (1, 2)).double()
    after = every_second(torch.roll(x, (1, 0), (1, 2))).double()
    number = CIRCULAR.plan.shifts.index((1, 0))
    assert found.above[0, number] == pytest.approx(
        -10 * math.log10((before - after).square().mean())
    )


def test_reconstruction():
    """Of a network that is right at even places only; the target moves along."""
    targets = IMAGES
    found = reconstruction_change(every_second, IMAGES, targets, CIRCULAR, measure=psnr(1.0))
    for number, (dy, dx) in enumerate(CIRCULAR.plan.shifts):
        moved = torch.roll(IMAGES[1], (dy, dx), (1, 2))
        wanted = psnr(1.0)(every_second(moved), moved)
        assert found.quality[1, number] == pytest.approx(wanted)
    rest = found.quality[:, CIRCULAR.plan.origin]
    assert found.change == pytest.approx(np.abs(found.quality - rest[:, None]).max(1))
    assert found.estimate().value > 0
    exact = reconstruction_change(lambda x: x + 0.1, IMAGES, IMAGES, CIRCULAR)
    assert exact.estimate().value == pytest.approx(0, abs=1e-4)


def test_no_more_is_kept_than_one_unshifted_output():
    made, alive = [], []

    class Counted(nn.Module):
        def forward(self, x):
            alive.append(sum(out() is not None for out in made))
            out = x.clone()
            made.append(weakref.ref(out))
            return out

    compare_outputs(Counted().eval(), IMAGES, CIRCULAR, squared_error(circular=True), batch=2)
    assert len(made) > 30
    assert max(alive) <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_outputs(lambda x: x, IMAGES, Sweep("circular", line((1, 2)), (12, 10)), squared_error()), r"the shift \(0, 0\)"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, lambda a, b, c: (b, b)), r"two tensors \(\d+,\)"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, lambda a, b, c: 3), "two tensors"),
        (lambda: compare_outputs(lambda x: x @ x, IMAGES, CIRCULAR, squared_error()), "the network failed"),
        (lambda: compare_outputs(nn.Conv2d(2, 2, 1), IMAGES, CIRCULAR, squared_error()), "eval mode"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, squared_error(), names=["a"]), "as many images as names"),
        (lambda: reconstruction_change(lambda x: x, IMAGES, IMAGES[:2], CIRCULAR), "as many targets"),
        (lambda: reconstruction_change(lambda x: x[..., :3], IMAGES, IMAGES, CIRCULAR), "as the targets are"),
    ],
)  # fmt: skip
def test_rejects_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_fourier_and_roll_agree_on_which_way_is_which():
    shifted = fourier_shifted(IMAGES[0], torch.tensor([[1, 2]]))[0]
    torch.testing.assert_close(shifted, torch.roll(IMAGES[0], (1, 2), (1, 2)), atol=1e-5, rtol=0)
