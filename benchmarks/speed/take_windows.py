"""take_windows beside roll, crops, indexing and grid_sample: 289 shifts of one 3x224x224 image."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import grid
from shiftable.functional import take_windows
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.blur_downsample import LAYOUTS
from benchmarks.speed.harness import Candidate, Case

RADIUS, SIDE, CHUNK = 8, 224, 16
SCALE, BIAS = 1 / 128, -127 / 128


def _corners() -> Tensor:
    return -torch.from_numpy(grid(RADIUS).shifts_for(0))


def _crops(image: Tensor, corners: Tensor) -> list[Tensor]:
    padded = F.pad(image, (RADIUS,) * 4, mode="circular")[0]
    return [
        padded[:, y + RADIUS : y + RADIUS + SIDE, x + RADIUS : x + RADIUS + SIDE]
        for y, x in corners.tolist()
    ]


def _crops_into(out: Tensor, corners: Tensor) -> Candidate:
    def crops(image: Tensor) -> Tensor:
        for target, view in zip(out[0], _crops(image, corners), strict=True):
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


def _between_pixels() -> dict[str, Candidate]:
    found: dict[str, Candidate] = {"grid_sample": _sampled}
    kornia = peers.installed("kornia.geometry.transform")
    if kornia is not None:

        def translated(image: Tensor) -> Tensor:
            moved = -(_corners().float() + 0.5).flip(1)
            return kornia.translate(image.expand(len(moved), -1, -1, -1), moved)[None]

        found["kornia translate"] = translated
    return found


def _whole(out: Tensor | None, corners: Tensor, **options: object) -> Candidate:
    return lambda image: take_windows(
        image, corners, (SIDE, SIDE), border="circular", out=out, **options
    )  # type: ignore[arg-type]


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases."""
    image = torch.rand(1, 3, SIDE, SIDE) + 0.5
    corners = _corners()
    count = len(corners)
    size = 3 * SIDE * SIDE * 4

    def case(
        name: str, candidates: dict[str, Candidate], tolerance: float = 1e-5, count: int = count
    ) -> Case:
        shape = (count, 3, SIDE, SIDE)
        return Case(
            "take_windows", name, shape, torch.float32, "nchw", [image], 0, count * size,
            candidates, tolerance,
        )  # fmt: skip

    ours, theirs = (torch.empty(1, count, 3, SIDE, SIDE) for _ in range(2))
    yield case("289 whole shifts, circular", {
        "shiftable": _whole(None, corners),
        "roll + stack": _rolled,
        "pad + crop + stack": lambda image: torch.stack(_crops(image, corners))[None],
        "indexing": _indexed,
    })  # fmt: skip
    yield case("289 whole shifts, circular, out=", {
        "shiftable": _whole(ours, corners), "pad + crop into out": _crops_into(theirs, corners),
    })  # fmt: skip
    half = corners + 0.5
    # grid_sample computes positions in float32: it moves by 1e-4 of a pixel.
    yield case("289 half-pixel shifts, linear, zeros, out=", {
        "shiftable": lambda image: take_windows(image, half, (SIDE, SIDE), out=ours),
        **_between_pixels(),
    }, 1e-3)  # fmt: skip
    few = corners[:CHUNK]
    yield case(f"{CHUNK} whole shifts, circular, out= in the cache", {
        "shiftable": _whole(ours[:, :CHUNK], few),
        "pad + crop into out": _crops_into(theirs[:, :CHUNK], few),
    }, count=CHUNK)  # fmt: skip
    if not quick:
        yield from _normalised(corners)


def _normalised(corners: Tensor) -> Iterator[Case]:
    pixels = torch.randint(1, 255, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    shape = (len(corners), 3, SIDE, SIDE)
    for dtype in (torch.float32, torch.bfloat16):
        for layout, memory_format in LAYOUTS.items():
            out = torch.empty(shape, dtype=dtype, memory_format=memory_format)[None]
            ours = _whole(out, corners, scale=SCALE, bias=BIAS)

            def theirs(image: Tensor, dtype: torch.dtype = dtype) -> Tensor:
                crops = torch.stack(_crops(image.float(), corners))[None]
                return (crops * SCALE + BIAS).to(dtype)

            yield Case(
                "take_windows", f"289 shifts of uint8, normalised to {dtype}, out=".replace("torch.", ""),
                shape, torch.uint8, layout, [pixels], 0, out.numel() * dtype.itemsize,
                {"shiftable": ours, "pad + crop + stack, then normalised": theirs}, 1e-2,
            )  # fmt: skip
