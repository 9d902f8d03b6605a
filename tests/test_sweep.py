"""Plans and protocols: which pixels a network sees."""

import json

import pytest
import torch
from shiftable.sweep import Sweep, diagonal, grid, line, random_pairs

IMAGE = torch.arange(2 * 8 * 8, dtype=torch.float32).reshape(2, 8, 8)


def windows(sweep, image=IMAGE):
    return sweep.windows(image, sweep.corners(tuple(image.shape[-2:])))


def test_crop_moves_content_by_the_shift():
    seen = windows(Sweep("crop", grid(1), (4, 4)))
    for (dy, dx), window in zip(grid(1).shifts, seen, strict=True):
        assert torch.equal(window, IMAGE[:, 2 - dy : 6 - dy, 2 - dx : 6 - dx])


def test_embed_moves_the_whole_image_over_its_colour():
    seen = windows(Sweep("embed", grid(1), (12, 12), fill=(7.0, 9.0)))
    for (dy, dx), window in zip(grid(1).shifts, seen, strict=True):
        want = torch.tensor([7.0, 9.0])[:, None, None].repeat(1, 12, 12)
        want[:, 2 + dy : 10 + dy, 2 + dx : 10 + dx] = IMAGE
        assert torch.equal(window, want)


def test_circular_equals_roll():
    seen = windows(Sweep("circular", grid(2), (8, 8)))
    for shift, window in zip(grid(2).shifts, seen, strict=True):
        assert torch.equal(window, torch.roll(IMAGE, shift, (1, 2)))


@pytest.mark.parametrize(("size", "radius"), [((6, 6), 2), ((5, 6), 2), ((8, 8), 1)])
def test_crop_refuses_shifts_past_the_image(size, radius):
    with pytest.raises(ValueError, match="take smaller shifts or larger images"):
        windows(Sweep("crop", grid(radius), size))


def test_embed_refuses_shifts_past_the_canvas():
    with pytest.raises(ValueError, match="take smaller shifts or smaller images"):
        windows(Sweep("embed", grid(3), (12, 12)))


def test_random_pairs_are_distinct_differ_by_image_and_reach_both_ends():
    plan = random_pairs(200, radius=2, seed=3)
    first, second = plan.shifts_for(0)[::2], plan.shifts_for(0)[1::2]
    assert (first != second).any(axis=1).all()
    assert first.min() == -2
    assert first.max() == 2
    assert (plan.shifts_for(0) != plan.shifts_for(1)).any()
    assert (plan.shifts_for(0) == plan.shifts_for(0)).all()


@pytest.mark.parametrize("plan", [grid(1), line(2), diagonal(3), random_pairs(4, 2)])
def test_survives_json(plan):
    sweep = Sweep("shift", plan, (8, 9), border="reflect", fill=(1.0, 2.0))
    again = Sweep.from_dict(json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert again.digest == sweep.digest


def test_neighbours_are_one_step_on():
    plan = line(1)
    right = plan.directions.index((0, 1))
    assert plan.neighbours()[:, right].tolist() == [1, 2, -1]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("chunk", [1, 4, 9, 100])
def test_batches_refill_one_buffer_with_the_windows(memory_format, chunk):
    sweep = Sweep("shift", grid(1), (8, 8), border="reflect")
    images = [IMAGE.to(torch.uint8), IMAGE.flip(1).to(torch.uint8)]
    seen, buffers = [], set()
    for number, shifts, windows in sweep.batches(
        images, chunk, scale=(0.5, 2.0), memory_format=memory_format
    ):
        corners = sweep.corners((8, 8), number)[list(shifts)]
        want = sweep.windows(images[number], corners, scale=(0.5, 2.0))
        assert torch.equal(windows, want)
        assert windows.is_contiguous(memory_format=memory_format)
        buffers.add(windows.data_ptr())
        seen += [(number, shift) for shift in shifts]
    assert seen == [(number, shift) for number in range(2) for shift in range(9)]
    assert len(buffers) == 1


@pytest.mark.parametrize(
    ("images", "chunk", "message"),
    [([IMAGE], 0, "chunk >= 1"), ([IMAGE[0]], 1, r"\(C, H, W\)"), ([IMAGE[:, :4]], 1, "4x8 image")],
)
def test_batches_reject(images, chunk, message):
    with pytest.raises(ValueError, match=message):
        list(Sweep("circular", grid(1), (8, 8)).batches(images, chunk))
