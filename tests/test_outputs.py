"""Equivariance of maps, images and other outputs, on networks whose answer is known."""

import math
import weakref

import numpy as np
import pytest
import torch
from shiftable import Sweep, by_image, diagonal, grid, line, listed, random_groups, sizes
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


def test_of_a_canvas_what_both_show_is_compared():
    sweep = Sweep("embed", grid(2), (16, 15), fill=0.5)
    found = compare_outputs(lambda x: x, IMAGES, sweep, squared_error())
    assert found.estimate().value == 0
    for (dy, dx), below in zip(sweep.plan.shifts, found.below[0], strict=True):
        if (dy, dx) != (0, 0):
            assert below == 2 * (16 - abs(dy)) * (15 - abs(dx))
    narrower = compare_outputs(lambda x: x, IMAGES, sweep, squared_error(margin=3))
    assert narrower.below[0, sweep.plan.shifts.index((-1, 2))] == 2 * (16 - 1 - 6) * (15 - 2 - 6)


def test_an_output_that_stays_where_it_is():
    """Of a network that ignores its input: the overlap of a ramp with itself, moved."""
    ramp = torch.arange(10.0).expand(1, 12, 10)
    sweep = Sweep("circular", line((0, 3)), (12, 10))
    found = compare_outputs(
        lambda x: ramp.expand(len(x), 1, 12, 10), IMAGES, sweep, squared_error()
    )
    assert found.above[1, 1:].tolist() == [12 * 9 * 1, 12 * 8 * 4, 12 * 7 * 9]
    assert found.below[1, 1:].tolist() == [12 * 9, 12 * 8, 12 * 7]


@pytest.mark.parametrize(
    ("model", "comparison"),
    [
        (every_second, squared_error(circular=True)),
        (every_second, squared_error(margin=1)),
        (every_second, map_agreement(circular=True)),
        (every_second, similarity(psnr(), circular=True)),
        (lambda x: x[..., 0, 0], relative_difference),
    ],
    ids=["circular", "overlap", "agreement", "similarity", "regression"],
)
def test_batches_do_not_matter_in_any_bit(model, comparison):
    one, *others = [
        compare_outputs(model, IMAGES, CIRCULAR, comparison, batch=batch) for batch in (1, 5, 64)
    ]
    assert one.estimate().value not in (0, 1)
    for found in others:
        np.testing.assert_array_equal(found.above, one.above)
        np.testing.assert_array_equal(found.below, one.below)


def test_a_batch_that_does_not_fit_is_shown_in_halves():
    def model(x):
        if len(x) > 3:
            raise RuntimeError("CUDA out of memory")
        return {"map": every_second(x), "none": None}

    def compare(unshifted, shifted, shifts):
        return squared_error(circular=True)(unshifted["map"], shifted["map"], shifts)

    found = compare_outputs(model, IMAGES, CIRCULAR, compare, batch=16)
    wanted = compare_outputs(every_second, IMAGES, CIRCULAR, squared_error(circular=True))
    np.testing.assert_array_equal(found.above, wanted.above)


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_images_at_rest_are_compared_with_nothing(batch):
    sweep = Sweep("circular", random_groups(4, 3, 2, at_rest=True), (12, 10))
    found = compare_outputs(every_second, IMAGES, sweep, squared_error(circular=True), batch=batch)
    for image in range(3):
        rest = (sweep.plan.shifts_for(image) == 0).all(1)
        assert rest.sum() == 4
        assert (np.isnan(found.below[image]) == rest).all()


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
    several = compare_outputs(every_second, IMAGES, CIRCULAR, squared_error(circular=True))
    best, error = equivariance_psnr(several, 1.0), several.estimate()
    assert best.low < best.value < best.high
    assert best.low == pytest.approx(-10 * math.log10(error.high))


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
    assert all(first[0] == shifts[0] for _, first, shifts in kept)
    assert sum(shifts[0] for _, _, shifts in kept) == 3 * 24


def test_regressions():
    found = compare_outputs(
        lambda x: x[:, 0, 0, :2] + 1, IMAGES, Sweep("circular", line((0, 1)), (12, 10)), relative_difference
    )  # fmt: skip
    before, after = IMAGES[:, 0, 0, :2] + 1, torch.roll(IMAGES, 1, 3)[:, 0, 0, :2] + 1
    wanted = (after - before).abs().sum() / before.abs().sum()
    assert found.estimate().value == pytest.approx(wanted.item(), rel=1e-6)
    single = compare_outputs(
        lambda x: x[:, 0, 0, 0], IMAGES, Sweep("circular", line((0, 1)), (12, 10)), relative_difference
    )  # fmt: skip
    before, after = IMAGES[:, 0, 0, 0], IMAGES[:, 0, 0, -1]
    np.testing.assert_allclose(single.above[:, 1], (after - before).abs())
    np.testing.assert_allclose(single.below[:, 1], before.abs())


def test_similarity_by_anybodys_function():
    found = compare_outputs(every_second, IMAGES, CIRCULAR, similarity(psnr(1.0), circular=True))
    x = IMAGES[0]
    before = torch.roll(every_second(x), (1, 0), (1, 2)).double()
    after = every_second(torch.roll(x, (1, 0), (1, 2))).double()
    number = CIRCULAR.plan.shifts.index((1, 0))
    assert found.above[0, number] == pytest.approx(
        -10 * math.log10((before - after).square().mean())
    )


def test_similarity_by_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")

    def ssim(image, other):
        return metrics.structural_similarity(
            image.numpy(), other.numpy(), data_range=1, channel_axis=0
        )

    exact = compare_outputs(lambda x: x, IMAGES, CIRCULAR, similarity(ssim, circular=True))
    assert exact.estimate().value == pytest.approx(1)
    # Between columns that are not beside one another a map of 7 columns is all that both show.
    sweep = Sweep("circular", listed([(0, 0), (0, 3), (0, 1)]), (12, 10))
    found = compare_outputs(every_second, IMAGES, sweep, similarity(ssim))
    before = every_second(IMAGES[0])[:, :, :7].double().numpy()
    after = every_second(torch.roll(IMAGES[0], 3, 2))[:, :, 3:].double().numpy()
    wanted = metrics.structural_similarity(before, after, data_range=1, channel_axis=0)
    assert found.above[0, 1] == pytest.approx(wanted)
    quality = reconstruction_change(every_second, IMAGES, IMAGES, CIRCULAR, measure=ssim).quality
    assert (quality < 1).all()


def test_similarity_without_an_error_is_infinite():
    found = compare_outputs(lambda x: x, IMAGES, CIRCULAR, similarity(psnr(), circular=True))
    best = found.estimate()
    assert (best.value, best.low, best.high, best.images) == (math.inf, math.inf, math.inf, 3)
    # Only a shift by two is exact; a shift by a whole map has nothing in common.
    sweep = Sweep("circular", listed([(0, 0), (0, 1), (0, 2), (0, 10)]), (12, 10))
    found = compare_outputs(every_second, IMAGES, sweep, similarity(psnr()))
    assert found.below[0, 1:].tolist() == [1, 0 + 1, 0]
    assert found.by_distance()[1].value < 100
    assert found.by_distance()[10].value is None


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
    perfect = reconstruction_change(lambda x: x, IMAGES, IMAGES, CIRCULAR)
    assert (perfect.quality == math.inf).all()
    assert perfect.estimate().value == 0
    once = reconstruction_change(  # right at rest alone
        lambda x: torch.where((x == IMAGES[:1]).all((1, 2, 3), True), x, x + 0.1),
        IMAGES[:1], IMAGES[:1], CIRCULAR,
    )  # fmt: skip
    assert once.estimate().value == math.inf


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_reconstruction_of_other_dtypes_in_any_batch(batch):
    raw = (255 * IMAGES).round().to(torch.uint8)
    network, done = nn.Conv2d(2, 2, 1, dtype=torch.float64).eval(), []
    found = reconstruction_change(
        network, raw, raw, CIRCULAR, scale=1 / 255, batch=batch, progress=done.append
    )
    with torch.no_grad():
        output = network(raw[2:].double() / 255)[0]
    wanted = psnr()(output, raw[2])  # what acts on each pixel does not care where it is
    assert found.quality[2] == pytest.approx(wanted)
    assert sum(done) == 3 * 25


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


def _full():
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_outputs(lambda x: x, IMAGES, Sweep("circular", line((1, 2)), (12, 10)), squared_error()), r"the shift \(0, 0\)"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, lambda a, b, c: (b, b)), r"two tensors \(\d+,\)"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, lambda a, b, c: 3), "two tensors"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, lambda a, b, c: (b[:, 0, 0, 0] * torch.nan, b[:, 0, 0, 0])), "others for 0; does the network answer with NaN"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, lambda a, b, c: (torch.ones(len(b)), -torch.ones(len(b)))), "denominators >= 0"),
        (lambda: compare_outputs(lambda x: x * torch.nan, IMAGES, CIRCULAR, squared_error(circular=True)), "NaN"),
        (lambda: compare_outputs(lambda x: x * torch.nan, IMAGES, CIRCULAR, map_agreement()), "expected scores, got NaN"),
        (lambda: compare_outputs(lambda x: x[:, :1], IMAGES, CIRCULAR, map_agreement()), "K >= 2 classes"),
        (lambda: compare_outputs(lambda x: x.flatten(1), IMAGES, CIRCULAR, map_agreement()), r"\(B, C, h, w\), got \(\d+, 240\)"),
        (lambda: compare_outputs(lambda x: (x,), IMAGES, CIRCULAR, squared_error()), "got tuple"),
        (lambda: compare_outputs(lambda x: (x,), IMAGES, CIRCULAR, relative_difference), r"\(B, \.\.\.\), got tuple"),
        (lambda: compare_outputs(lambda x: x[:1], IMAGES, CIRCULAR, squared_error(), batch=4), r"tensors \(4, \.\.\.\) from the network, got \(1, 2, 12, 10\)"),
        (lambda: compare_outputs(lambda x: None, IMAGES, CIRCULAR, squared_error()), "got NoneType"),
        (lambda: compare_outputs(lambda x: 1 / 0 if len(x) > 99 else _full(), IMAGES, CIRCULAR, squared_error()), "out of memory on a single window of 0"),
        (lambda: compare_outputs(lambda x: x, torch.rand(1, 1, 20, 20), Sweep("crop", sizes(2), (8, 8)), squared_error()), "one of several sizes"),
        (lambda: compare_outputs(lambda x: x, IMAGES, Sweep("circular", by_image([[(0, 0), (1, 1)]]), (12, 10)), squared_error()), "expected 1 images by the plan, got 3"),
        (lambda: compare_outputs(lambda x: x, IMAGES[:0], CIRCULAR, squared_error()), "got 0 and 0"),
        (lambda: compare_outputs(lambda x: x, IMAGES, CIRCULAR, squared_error(), names="aba"), "distinct names"),
        (lambda: squared_error(0), "squared_error: expected a stride > 0 pixels, got 0"),
        (lambda: similarity(psnr(), margin=-1), "similarity: expected a margin of whole pixels >= 0, got -1"),
        (lambda: map_agreement(-2), "map_agreement: expected a stride"),
        (lambda: psnr(0), "range of values > 0, got 0"),
        (lambda: equivariance_psnr(compare_outputs(lambda x: x, IMAGES, CIRCULAR, squared_error()), -1), "range of values > 0, got -1"),
        (lambda: reconstruction_change(lambda x: x, IMAGES, IMAGES, CIRCULAR, measure=lambda a, b: math.nan), "a measure that is a number"),
        (lambda: reconstruction_change(lambda x: (x,), IMAGES, IMAGES, CIRCULAR), "got tuple"),
        (lambda: reconstruction_change(lambda x: x, IMAGES, IMAGES, Sweep("circular", line((1, 2)), (12, 10))), r"the shift \(0, 0\)"),
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
