"""The operators on a GPU beside what runs there today, eager and compiled."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters, grid
from shiftable.functional import blur_downsample, max_blur_downsample, take_windows
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.blur_downsample import LAYOUTS, with_backward
from benchmarks.speed.harness import Candidate, Case

Shape = tuple[int, int, int, int]
HEADLINE: tuple[Shape, ...] = ((256, 64, 112, 112), (256, 256, 56, 56))
SHAPES: tuple[Shape, ...] = (*HEADLINE, (64, 512, 28, 28), (32, 2048, 7, 7), (1, 64, 112, 112))
DTYPES = (torch.float16, torch.float32, torch.bfloat16)
TAPS = (4, 3, 5, 7)
SHIFTS, SIDE = 1024, 224


def _tolerance(dtype: torch.dtype) -> float:
    """Of the largest difference: peers round their weights and sums, in float32 to TF32 at worst."""
    return {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]


def _blurs(
    taps: int, shape: Shape, dtype: torch.dtype, device: torch.device
) -> dict[str, Candidate]:
    """Others that compute what ours does by default."""
    found = {"pad + conv2d": peers.pad_and_convolve(taps, shape[1], dtype, device)}
    for name, layer in peers.reflecting_layers(taps, shape[1], dtype).items():
        found[name] = layer.to(device)  # type: ignore[attr-defined]
    return found


def _compiled(
    taps: int, shape: Shape, dtype: torch.dtype, device: torch.device
) -> dict[str, Candidate]:
    return {
        "compiled pad + conv2d": torch.compile(
            peers.pad_and_convolve(taps, shape[1], dtype, device)
        ),
        "compiled sum of slices": torch.compile(peers.sum_of_slices(taps)),
    }


def _image(shape: Shape, dtype: torch.dtype, layout: str, device: torch.device) -> Tensor:
    image = torch.randn(shape, device=device).to(dtype)
    return image.contiguous(memory_format=LAYOUTS[layout])


# -- blur_downsample -------------------------------------------------------------------------------


def blur_cases(
    quick: bool, device: torch.device, shapes: Sequence[Shape] = SHAPES
) -> Iterator[Case]:
    """Yields forward, forward with backward, and both written to memory that is there.

    `quick`: the first two shapes with four taps. What must be compiled is compared on those with
    four taps.
    """
    chosen = shapes[:2] if quick else shapes
    for shape, taps, dtype, layout in product(chosen, TAPS[:1] if quick else TAPS, DTYPES, LAYOUTS):
        compiles = shape in shapes[:2] and taps == 4 and not (quick and dtype == torch.bfloat16)
        yield from _blur_cases_of(shape, taps, dtype, layout, device, compiles)


def _blur_cases_of(
    shape: Shape, taps: int, dtype: torch.dtype, layout: str, device: torch.device, compiles: bool
) -> Iterator[Case]:
    row, image = filters.binomial(taps), _image(shape, dtype, layout, device)
    size = image.numel() * image.element_size()
    operators = torch.ops.shiftable

    def case(
        name: str, candidates: Mapping[str, Candidate], quarters: int = 5, equal: bool = True
    ) -> Case:
        # Quarters of the image's size that are read and written in all; a copy does half of each.
        return Case(
            "blur_downsample", f"taps {taps} {name}", shape, dtype, layout, [image],
            size * quarters // 8, size * quarters // 8, candidates,
            _tolerance(dtype) if equal else None,
        )  # fmt: skip

    def ours(image: Tensor) -> Tensor:
        return blur_downsample(image, row)

    candidates = {"shiftable": ours, **_blurs(taps, shape, dtype, device)}
    if compiles:
        candidates |= _compiled(taps, shape, dtype, device)
    yield case("forward", candidates)
    yield case(
        "forward + backward", {k: with_backward(f) for k, f in candidates.items()}, quarters=10
    )
    out, back = ours(image), torch.empty_like(image)

    def into_out(image: Tensor) -> Tensor:
        return blur_downsample(image, row, out=out)

    def transposed(_: Tensor) -> Tensor:
        arguments = list(row), list(row), [2, 2], "reflect", None
        operators.blur_downsample_transpose_out(out, *arguments, back)
        return back

    yield case("forward, out=", {"shiftable": into_out})
    yield case("transpose, out=", {"shiftable": transposed})
    yield case("forward, another filter", {
        "shiftable": ours, "avg_pool2d": lambda image: F.avg_pool2d(image, 2, 2),
    }, equal=False)  # fmt: skip
    zeros = peers.zero_padding_layers(taps, shape[1], dtype)
    if "kornia" in zeros:
        yield case("forward, zero padding", {
            "shiftable": lambda image: blur_downsample(image, row, border="constant"),
            "kornia": zeros["kornia"].to(device),  # type: ignore[attr-defined]
        })  # fmt: skip
    if taps == 4:
        yield case("BN + ReLU + forward", _with_prologue(row, shape[1], device, candidates))


def _with_prologue(
    row: Sequence[float], channels: int, device: torch.device, blurs: Mapping[str, Candidate]
) -> dict[str, Candidate]:
    """A batch norm of evaluation and a ReLU in front: folded into ours, steps of the others."""
    scale, bias = torch.rand(channels, device=device) + 0.5, torch.rand(channels, device=device)

    def folded(image: Tensor) -> Tensor:
        return blur_downsample(
            image, row, prologue_scale=scale, prologue_bias=bias, prologue_relu=True
        )

    def stepwise(blur: Candidate) -> Candidate:
        mean, variance = torch.zeros_like(scale), torch.ones_like(scale)

        def steps(image: Tensor) -> Tensor:
            normed = F.batch_norm(image, mean, variance, scale, bias, eps=0.0)
            return blur(F.relu(normed))

        return steps

    eager = {name: stepwise(blur) for name, blur in blurs.items() if "compiled" not in name}
    return {"shiftable": folded, "shiftable, step by step": eager.pop("shiftable"), **eager}


# -- max_blur_downsample ---------------------------------------------------------------------------


def max_cases(
    quick: bool, device: torch.device, shapes: Sequence[Shape] = HEADLINE
) -> Iterator[Case]:
    """Yields the windows of VGG (2) and ResNet (3, padded); floors as if no map were written."""
    windows = ((3, 1),) if quick else ((3, 1), (2, 0))
    chosen, taps = (shapes[:1], TAPS[:1]) if quick else (shapes, TAPS[:2])
    for shape, (kernel, pad), count, dtype, layout in product(
        chosen, windows, taps, DTYPES, LAYOUTS
    ):
        image = _image(shape, dtype, layout, device)
        yield from _max_cases_of(image, kernel, pad, count, layout, count == 4 and not quick)


def _max_cases_of(
    image: Tensor, kernel: int, pad: int, taps: int, layout: str, compiles: bool
) -> Iterator[Case]:
    shape: Shape = tuple(image.shape)  # type: ignore[assignment]
    row, size = filters.binomial(taps), image.numel() * image.element_size()

    def after_max(blur: Candidate) -> Candidate:
        return lambda image: blur(F.max_pool2d(image, kernel, 1, pad))

    def ours(image: Tensor) -> Tensor:
        return max_blur_downsample(image, kernel, row, max_pad=pad)

    blurs = _blurs(taps, shape, image.dtype, image.device)
    candidates = {"shiftable": ours}
    candidates |= {f"max_pool2d + {name}": after_max(blur) for name, blur in blurs.items()}
    if compiles:
        slices = peers.sum_of_slices(taps)
        candidates["compiled max_pool2d + sum of slices"] = torch.compile(after_max(slices))
    both = {name: with_backward(function) for name, function in candidates.items()}
    # Forward reads the image and writes a quarter; backward reads both again and writes the image.
    for name, quarters, found in (("forward", 5, candidates), ("forward + backward", 14, both)):
        yield Case(
            "max_blur_downsample", f"max {kernel}, pad {pad}, taps {taps} {name}", shape,
            image.dtype, layout, [image], size * quarters // 8, size * quarters // 8, found,
            _tolerance(image.dtype),
        )  # fmt: skip


# -- take_windows ----------------------------------------------------------------------------------


def window_cases(
    quick: bool, device: torch.device, shifts: int = SHIFTS, side: int = SIDE
) -> Iterator[Case]:
    """Yields sweeps of one uint8 image, normalised; the floor is setting as much memory."""
    plan = torch.from_numpy(grid(16).shifts_for(0))[:shifts]
    corners = (-plan).to(device)
    pixels = torch.randint(1, 255, (1, 3, side, side), dtype=torch.uint8, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    dtypes = (torch.float16,) if quick else (torch.float16, torch.float32)
    for dtype, layout in product(dtypes, LAYOUTS):
        shape: Shape = (len(corners), 3, side, side)
        out = torch.empty(shape, dtype=dtype, device=device, memory_format=LAYOUTS[layout])[None]
        yield from _window_cases_of(pixels, corners, out, layout)


def _window_cases_of(pixels: Tensor, corners: Tensor, out: Tensor, layout: str) -> Iterator[Case]:
    side, dtype, memory_format = out.shape[-1], out.dtype, LAYOUTS[layout]
    scale, bias = 1 / 128, -127 / 128
    places = corners.tolist()

    def case(name: str, candidates: dict[str, Candidate], tolerance: float) -> Case:
        written = out.numel() * out.element_size()
        return Case(
            "take_windows", f"{len(places)} {name} to {dtype}".replace("torch.", ""),
            tuple(out.shape[1:]), torch.uint8, layout, [pixels], 0, written, candidates, tolerance,
        )  # fmt: skip

    def finished(windows: Tensor) -> Tensor:
        normalised = windows * scale + bias
        return normalised.to(dtype).contiguous(memory_format=memory_format)[None]

    def ours(corners: Tensor, into: Tensor | None) -> Candidate:
        def take(image: Tensor) -> Tensor:
            return take_windows(
                image, corners, (side, side), border="circular", scale=scale, bias=bias,
                dtype=dtype, memory_format=memory_format if into is None else None, out=into,
            )  # fmt: skip

        return take

    def rolled(image: Tensor) -> Tensor:
        moved = [torch.roll(image[0].float(), (-y, -x), (1, 2)) for y, x in places]
        return finished(torch.stack(moved))

    def indexed(image: Tensor) -> Tensor:
        line = torch.arange(side, device=image.device)
        rows, columns = (corners[:, :1] + line) % side, (corners[:, 1:] + line) % side
        found = image[0].float()[:, rows[:, :, None], columns[:, None, :]]
        return finished(found.transpose(0, 1))

    def sampled(image: Tensor) -> Tensor:
        base = torch.eye(2, 3, device=image.device).repeat(len(places), 1, 1)
        base[:, :, 2] = (corners.float() + 0.5).flip(1) * 2 / side
        where = F.affine_grid(base, [len(places), 3, side, side], align_corners=False)
        padded = image.float().expand(len(places), -1, -1, -1)
        return finished(F.grid_sample(padded, where, align_corners=False))

    yield case("whole shifts, out=", {"shiftable": ours(corners, out)}, 0)
    yield case("whole shifts", {
        "shiftable": ours(corners, None), "roll + stack": rolled, "indexing": indexed,
    }, 2e-3)  # fmt: skip
    # grid_sample knows no circular border: pixels near the edges differ, so times alone compare.
    yield Case(
        "take_windows", f"{len(places)} half-pixel shifts, another filter at the edges",
        tuple(out.shape[1:]), torch.uint8, layout, [pixels], 0, out.numel() * out.element_size(),
        {"shiftable": ours(corners + 0.5, out), "grid_sample": sampled}, None,
    )  # fmt: skip
