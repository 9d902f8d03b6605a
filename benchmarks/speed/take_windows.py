"""take_windows beside roll, crops, indexing and grid_sample: 289 shifts of one 3x224x224 image."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import grid
from shiftable.functional import take_windows
from torch import Tensor

from benchmarks.speed.harness import Candidate, Case

RADIUS, SIDE = 8, 224
SCALE, BIAS = (1 / 128,) * 3, (-127 / 128,) * 3


def _corners() -> Tensor:
    return -torch.from_numpy(grid(RADIUS).shifts_for(0))


def _pad_and_crop(out: Tensor | None) -> Candidate:
    def crops(image: Tensor) -> Tensor:
        padded = F.pad(image, (RADIUS,) * 4, mode="circular")[0]
        views = [
            padded[:, y + RADIUS : y + RADIUS + SIDE, x + RADIUS : x + RADIUS + SIDE]
            for y, x in _corners().tolist()
        ]
        if out is None:
            return torch.stack(views)[None]
        for target, view in zip(out[0], views, strict=True):
            target.copy_(view)
        return out

    return crops


def _rolled(image: Tensor) -> Tensor:
    moved = [torch.roll(image[0], (-y, -x), (1, 2)) for y, x in _corners().tolist()]
    return torch.stack(moved)[None]


def _indexed(image: Tensor) -> Tensor:
    corners, side = _corners(), torch.arange(SIDE)
    rows = (corners[:, :1] + side) % SIDE
    columns = (corners[:, 1:] + side) % SIDE
    return image[0][:, rows[:, :, None], columns[:, None, :]].transpose(0, 1).contiguous()[None]


def _sampled(image: Tensor) -> Tensor:
    corners = _corners().float() + 0.5
    count = len(corners)
    base = torch.eye(2, 3).repeat(count, 1, 1)
    base[:, :, 2] = corners.flip(1) * 2 / SIDE
    where = F.affine_grid(base, [count, 3, SIDE, SIDE], align_corners=False)
    return F.grid_sample(image.expand(count, -1, -1, -1), where, align_corners=False)[None]


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases."""
    image = torch.rand(1, 3, SIDE, SIDE) + 0.5
    count = len(_corners())
    shape = (count, 3, SIDE, SIDE)
    written = count * 3 * SIDE * SIDE * 4
    ours, theirs = torch.empty(1, *shape), torch.empty(1, *shape)
    yield Case(
        "take_windows", "289 whole shifts, circular", shape, torch.float32, "nchw", [image],
        0, written,
        {
            "shiftable": lambda image: take_windows(
                image, _corners(), (SIDE, SIDE), border="circular"
            ),
            "roll + stack": _rolled,
            "pad + crop + stack": _pad_and_crop(None),
            "indexing": _indexed,
        },
    )  # fmt: skip
    yield Case(
        "take_windows", "289 whole shifts, circular, out=", shape, torch.float32, "nchw", [image],
        0, written,
        {
            "shiftable": lambda image: take_windows(
                image, _corners(), (SIDE, SIDE), border="circular", out=ours
            ),
            "pad + crop into out": _pad_and_crop(theirs),
        },
    )  # fmt: skip
    yield Case(
        "take_windows", "289 half-pixel shifts, linear, zeros", shape, torch.float32, "nchw",
        [image], 0, written,
        {
            "shiftable": lambda image: take_windows(
                image, _corners() + 0.5, (SIDE, SIDE), out=ours
            ),
            "grid_sample": _sampled,
        },
        1e-3,
    )  # fmt: skip
    if quick:
        return
    pixels = torch.randint(1, 255, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    for dtype in (torch.float32, torch.bfloat16):
        out = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)[None]
        yield Case(
            "take_windows", f"289 shifts, uint8 to normalised {dtype}, out=", shape, torch.uint8,
            "channels_last", [pixels], 0, written // (4 // dtype.itemsize),
            {
                "shiftable": lambda image, out=out: take_windows(  # type: ignore[misc]
                    image, _corners(), (SIDE, SIDE), border="circular", scale=SCALE, bias=BIAS,
                    out=out,
                ),
                "roll + stack, then normalised": lambda image, dtype=dtype: (  # type: ignore[misc]
                    _rolled(image).to(torch.float32) * SCALE[0] + BIAS[0]
                ).to(dtype),
            },
            1e-2,
        )  # fmt: skip
