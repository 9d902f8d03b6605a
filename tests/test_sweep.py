"""Plans and protocols: which pixels a network sees."""

import json

import numpy as np
import pytest
import torch
from shiftable import (
    Sweep,
    by_image,
    diagonal,
    grid,
    line,
    listed,
    random_groups,
    random_pairs,
    sizes,
)

IMAGE = torch.arange(2 * 8 * 8, dtype=torch.float32).reshape(2, 8, 8)


def windows(sweep, image=IMAGE):
    return sweep.prepare(image).windows()


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


SWEEPS = {
    "grid": Sweep("shift", grid(1), (8, 9), border="reflect"),
    "colour": Sweep("embed", line(2), (8, 9), fill=(1, 2.5)),
    "inpaint": Sweep("embed", diagonal(3), (8, 9), fill="inpaint"),
    "fractions": Sweep("circular", grid(1, spacing=0.1, step=0.5), (8, 9), interpolation="cubic"),
    "fourier": Sweep("circular", listed([(0.25, 0), (1, 1)]), (8, 9), interpolation="fourier"),
    "sizes": Sweep("crop", grid(1, sizes=(-1, 2)), (8, 9)),
    "pairs": Sweep("crop", random_pairs(4, 2), (8, 9)),
    "groups": Sweep("crop", random_groups(4, 3, 2, spacing=0.5, at_rest=True), (8, 9)),
    "by image": Sweep("crop", by_image([[(0, 0), (1, 1)], [(2, 0), (2, 0)]]), (8, 9)),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_survives_json(name):
    sweep = SWEEPS[name]
    again = Sweep.from_dict(json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert again.digest == sweep.digest
    assert (again.plan.shifts_for(1) == sweep.plan.shifts_for(1)).all()


def test_digests_differ_where_pixels_do():
    assert len({sweep.digest for sweep in SWEEPS.values()}) == len(SWEEPS)
    assert Sweep("embed", line(1), (8, 8), fill=0).digest == Sweep("embed", line(1.0), 8).digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "crop", "border": "reflect"}, "a border is of the shift protocol"),
        ({"protocol": "shift", "border": "circular"}, "is the circular protocol"),
        ({"protocol": "crop", "fill": 3}, "crop shows no fill"),
        ({"protocol": "shift", "border": "reflect", "fill": 3}, "border reflect shows no fill"),
        ({"protocol": "embed", "fill": "pink"}, "unknown fill 'pink'; known: inpaint"),
        ({"protocol": "shift", "fill": "inpaint"}, "take border reflect or replicate"),
        ({"interpolation": "cubic"}, "whole shifts need no interpolation"),
        ({"interpolation": "nearest"}, "unknown interpolation 'nearest'; known: linear"),
        ({"plan": grid(1, spacing=0.5), "protocol": "crop", "interpolation": "fourier"}, "wraps"),
        ({"plan": sizes(1), "protocol": "circular"}, "needs an image of exactly the window's"),
        ({"protocol": "roll"}, "unknown protocol 'roll'; known: crop"),
        ({"protocol": "shift", "border": "mirror"}, "unknown border 'mirror'"),
        ({"size": (0, 3)}, "whole pixels >= 1"),
    ],
)
def test_refuses_combinations_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sweep(**{"protocol": "embed", "plan": grid(1), "size": (8, 8), **arguments})


# -- between pixels -------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "lanczos3", "fourier"])
def test_whole_shifts_among_fractions_are_rolls(interpolation):
    sweep = Sweep("circular", line(1, spacing=0.5), (8, 8), interpolation=interpolation)
    seen = windows(sweep)
    for number, dx in ((0, -1), (2, 0), (4, 1)):
        torch.testing.assert_close(seen[number], torch.roll(IMAGE, dx, 2), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("interpolation", "error"), [("linear", 0.08), ("cubic", 0.03), ("lanczos3", 0.02), ("fourier", 1e-5)]
)  # fmt: skip
def test_a_sinusoid_between_pixels(interpolation, error):
    x = torch.arange(8) * 2 * torch.pi / 8
    image = x.sin().expand(1, 8, 8)
    sweep = Sweep("circular", line(2, spacing=0.25), (8, 8), interpolation=interpolation)
    for (_, dx), window in zip(sweep.plan.shifts, windows(sweep, image), strict=True):
        wanted = (x - dx * 2 * torch.pi / 8).sin().expand(1, 8, 8)
        assert (window - wanted).abs().max() <= error


def test_a_crop_between_pixels_never_shows_black():
    image = torch.full((1, 6, 6), 9.0)
    seen = windows(Sweep("crop", grid(1, spacing=0.25), (4, 4), interpolation="lanczos3"), image)
    torch.testing.assert_close(seen, torch.full_like(seen, 9.0))


# -- sizes and in-painting ------------------------------------------------------------------------


def test_sizes_keep_the_top_left_corner_and_grow_the_rest():
    image = torch.full((1, 6, 6), 9.0)
    seen = windows(Sweep("embed", grid(1, sizes=(-1, 1)), (12, 12)), image)
    plan = grid(1, sizes=(-1, 1))
    for (dy, dx), size, window in zip(plan.shifts, plan.growth, seen, strict=True):
        inside = torch.zeros(1, 12, 12)
        inside[:, 3 + dy : 9 + dy + size, 3 + dx : 9 + dx + size] = 9
        torch.testing.assert_close(window, inside, atol=1e-4, rtol=0)


def test_sizes_are_resized_with_antialiasing():
    fine = (torch.arange(64) % 2 * 255).to(torch.uint8).expand(1, 64, 64)
    sweep = Sweep("crop", grid((16, 16), sizes=(-32, -32)), (32, 32))
    seen = windows(sweep, fine)[0, 0, 8:-8, 8:-8]
    assert seen.std() < 3  # stripes too fine for half the size become grey, and no other stripes
    assert (seen.mean() - 127.5).abs() < 2


@pytest.mark.parametrize(
    ("protocol", "extent", "message"),
    [
        ("crop", (-5, 0), "grown to 3x3, got 0 to 0; take smaller shifts or larger"),
        ("crop", (-8, 0), "at least one pixel"),
        ("embed", (0, 5), "grown to 13x13"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(protocol, extent, message):
    with pytest.raises(ValueError, match=message):
        windows(Sweep(protocol, sizes(extent), (4, 4) if protocol == "crop" else (12, 12)))


def test_an_inpainted_canvas_moves_along():
    noise = torch.rand(1, 8, 8)
    sweep = Sweep("embed", grid(2), (14, 14), fill="inpaint")
    seen = windows(sweep, noise)
    rest = seen[sweep.plan.origin]
    assert torch.equal(rest[:, 3:11, 3:11], noise)
    assert rest.min() > 0  # no black anywhere
    for (dy, dx), window in zip(sweep.plan.shifts, seen, strict=True):
        both = torch.roll(window, (-dy, -dx), (1, 2))[:, 2:12, 2:12]
        assert torch.equal(both, rest[:, 2:12, 2:12])


def test_inpainting_between_pixels_and_at_sizes_shows_no_edge():
    image = torch.full((3, 8, 8), 7, dtype=torch.uint8)
    plan = grid(1, spacing=0.5, sizes=(-1, 1))
    seen = windows(Sweep("embed", plan, (14, 14), fill="inpaint"), image)
    torch.testing.assert_close(seen, torch.full_like(seen, 7.0))


# -- plans ----------------------------------------------------------------------------------------


def test_neighbours_are_one_step_on():
    plan = line(1)
    right = plan.directions.index("right")
    assert plan.neighbours[:, right].tolist() == [1, 2, -1]


def test_neighbours_are_found_by_distance():
    plan = grid(1, spacing=0.25, step=1)
    right = plan.directions.index("right")
    for shift, after in zip(plan.shifts, plan.neighbours[:, right], strict=True):
        wanted = (shift[0], shift[1] + 1)
        assert (plan.shifts[after] if after >= 0 else None) == (
            wanted if wanted in plan.shifts else None
        )
    assert (grid(1, spacing=1 / 3).neighbours >= 0).sum() == (grid(3).neighbours >= 0).sum()
    thirds = line(1, spacing=0.1)
    assert (thirds.neighbours >= 0).sum() == 2 * 20


def test_neighbours_in_size():
    plan = grid(1, sizes=(0, 1))
    larger = plan.directions.index("larger")
    assert plan.neighbours[:, larger].tolist() == [*range(9, 18), *[-1] * 9]
    smaller = plan.directions.index("smaller")
    assert plan.neighbours[:, smaller].tolist() == [*[-1] * 9, *range(9)]
    assert plan.shifts[plan.origin] == (0, 0)
    assert plan.has_origin
    assert not grid((1, 2)).has_origin


def test_members_of_a_group_follow_one_another():
    plan = random_groups(2, 3, radius=4)
    assert plan.neighbours[:, 0].tolist() == [1, 2, 0, 4, 5, 3]


@pytest.mark.parametrize("at_rest", [False, True])
def test_random_groups_are_distinct_and_reach_everything(at_rest):
    plan = random_groups(300, 3, radius=1, spacing=0.5, seed=1, at_rest=at_rest)
    groups = plan.shifts_for(0).reshape(300, 3, 2)
    for group in groups.tolist():
        assert len({tuple(shift) for shift in group}) == 3
    if at_rest:
        assert (groups[:, 0] == 0).all()
        assert (groups[:, 1:] != 0).any(2).all()
    others = groups[:, 1:].reshape(-1, 2)
    _, counts = np.unique(others, axis=0, return_counts=True)
    assert len(counts) == (24 if at_rest else 25)
    assert counts.min() > 10  # 600 draws of 24 or 25


def test_the_unshifted_image_comes_first():
    plan = grid(1)
    assert plan.order.tolist() == [4, 0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(1, spacing=0), "spacing > 0"),
        (lambda: grid(2000), "at most"),
        (lambda: grid(1, sizes="a"), "sizes: expected a radius"),
        (lambda: line(1, "across"), "unknown axis"),
        (lambda: listed([(0, 0), (0, 0.0)]), "the same one twice"),
        (lambda: listed([]), "1 to"),
        (lambda: listed([(0, float("nan"))]), "finite"),
        (lambda: listed([(0, 1)], step=0), "step > 0"),
        (lambda: random_groups(1, 1, 3), "groups of >= 2"),
        (lambda: random_groups(1, 10, 1), "10 out of 9"),
        (lambda: random_groups(1, 2, 0.5), "radius >= the spacing"),
        (lambda: by_image([[(0, 0)], [(0, 0), (1, 1)]]), "as many shifts for every image"),
        (lambda: by_image([[(0, 0)] * 3]), "divide 3"),
        (lambda: by_image([]), "as many shifts"),
        (lambda: random_pairs(10.5, 3), "whole number of groups, got 10.5"),
        (lambda: random_pairs(2, 5000, spacing=1e-6), "a million times"),
        (lambda: random_groups(1, 2000, 100), "at most 1000 shifts in a group"),
        (lambda: grid(2, step=float("inf")), "step > 0"),
    ],
)
def test_rejects_plans(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 4, 9, 100])
def test_batches_refill_one_buffer_with_the_windows(memory_format, batch):
    sweep = Sweep("shift", grid(1), (8, 8), border="reflect")
    images = [IMAGE.to(torch.uint8), IMAGE.flip(1).to(torch.uint8)]
    whole = [sweep.prepare(image).windows(scale=(0.5, 2.0)) for image in images]
    seen, buffers, sizes = [], set(), []
    for pieces, windows in sweep.batches(
        images, batch, scale=(0.5, 2.0), memory_format=memory_format
    ):
        want = torch.cat([whole[piece.image][piece.rows] for piece in pieces])
        assert torch.equal(windows, want)
        assert windows.is_contiguous(memory_format=memory_format)
        buffers.add(windows.data_ptr())
        sizes.append(len(windows))
        seen += [(piece.image, row) for piece in pieces for row in piece.rows.tolist()]
    assert seen == [(number, row) for number in range(2) for row in range(9)]
    assert len(buffers) == 1
    assert set(sizes[:-1]) <= {batch}  # every batch is full but the last, across images


def test_batches_of_images_of_different_channels():
    sweep = Sweep("circular", line(1), (8, 8))
    found = list(sweep.batches([torch.zeros(1, 8, 8), torch.zeros(3, 8, 8)], 4))
    assert [tuple(windows.shape) for _, windows in found] == [(3, 1, 8, 8), (3, 3, 8, 8)]


@pytest.mark.parametrize(
    ("images", "batch", "message"),
    [([IMAGE], 0, "batch >= 1"), ([IMAGE[0]], 1, r"\(C, H, W\)"), ([IMAGE[:, :4]], 1, "4x8 image")],
)
def test_batches_reject(images, batch, message):
    with pytest.raises(ValueError, match=message):
        list(Sweep("circular", grid(1), (8, 8)).batches(images, batch))
