"""blur_downsample beside the layers of its peers, compiled or not, and near relatives."""

from collections.abc import Iterator, Mapping
from itertools import product

import torch
from shiftable import filters
from shiftable.functional import blur_downsample
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.harness import Candidate, Case

LARGE, SMALL = (32, 64, 112, 112), (1, 64, 112, 112)
SHAPES = (LARGE, (32, 256, 56, 56), (8, 512, 28, 28), SMALL, (128, 3, 224, 224))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
TAPS = (3, 4, 5, 7)
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def with_backward(function: Candidate) -> Candidate:
    """Forward and backward, as in training: the gradient of the image."""

    def both(image: Tensor) -> Tensor:
        leaf = image.detach().requires_grad_()
        result = function(leaf)
        (grad,) = torch.autograd.grad(result, leaf, torch.ones_like(result))
        return grad

    return both


def images_of(
    shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format
) -> list[Tensor]:
    """Random images; two of small ones, so that not all of them stay in the nearest cache."""
    count = 2 if torch.Size(shape).numel() < 1 << 22 else 1
    return [
        torch.randn(shape).to(dtype).contiguous(memory_format=memory_format) for _ in range(count)
    ]


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases; `quick`: the headline shapes with three and four taps in float32."""
    if quick:
        matrix = list(product((LARGE, SMALL), DTYPES[:1], (3, 4), LAYOUTS))
    else:  # every tap and dtype on the first shape, the commonest on the others
        matrix = [
            *product(SHAPES[:1], DTYPES[:2], TAPS, LAYOUTS),
            *product(SHAPES[:1], DTYPES[2:], (3, 4), LAYOUTS),
            *product(SHAPES[1:], DTYPES[:2], (3, 4), LAYOUTS),
        ]
    for shape, dtype, taps, layout in matrix:
        yield from _cases_of(shape, dtype, taps, layout)


def _cases_of(
    shape: tuple[int, int, int, int], dtype: torch.dtype, taps: int, layout: str
) -> Iterator[Case]:
    row, channels = filters.binomial(taps), shape[1]
    images = images_of(shape, dtype, LAYOUTS[layout])
    size = images[0].numel() * images[0].element_size()
    # Sixteen bits: peers round their weights and their sums.
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2

    def case(
        name: str, candidates: Mapping[str, Candidate], equal: bool = True, factor: int = 1
    ) -> Case:
        moved = size * 5 // 4 if factor == 2 else size
        return Case(
            "blur_downsample", f"taps {taps} {name}", shape, dtype, layout, images,
            moved, size * 5 // 4 if factor == 2 else size // 4, candidates,
            tolerance if equal else None,
        )  # fmt: skip

    def ours(image: Tensor) -> Tensor:
        return blur_downsample(image, row)

    def ours_with_zeros(image: Tensor) -> Tensor:
        return blur_downsample(image, row, border="constant")

    # Compiling takes seconds a graph: where it is likely to matter.
    compiles = dtype == torch.float32 and taps in (3, 4)
    compiled = peers.compiled_layers(taps, channels, dtype) if compiles else {}
    layers = {"shiftable": ours, **peers.reflecting_layers(taps, channels, dtype), **compiled}
    yield case("forward", layers)
    yield case("forward, out=", {"shiftable": _into_out(images[0], row)})
    yield case(
        "forward + transpose, out=", {"shiftable": _there_and_back(images[0], row)}, factor=2
    )
    if dtype != torch.float16:
        zeros = {"shiftable": ours_with_zeros, **peers.zero_padding_layers(taps, channels, dtype)}
        yield case("forward, zero padding", zeros)
        relatives = {"shiftable": ours, **peers.near_relatives(taps, dtype)}
        yield case("forward, another filter", relatives, equal=False)
    if shape in (LARGE, SMALL) and taps == 3 and dtype == torch.float32:
        yield case("forward after batch norm and ReLU", _after_norm(row, channels, layers))
    if shape in (LARGE, SMALL) and (compiles or taps == 3):
        yield case("forward + backward", {n: with_backward(f) for n, f in layers.items()}, factor=2)


def _into_out(image: Tensor, row: tuple[float, ...]) -> Candidate:
    out = blur_downsample(image, row)
    return lambda image: blur_downsample(image, row, out=out)


def _there_and_back(image: Tensor, row: tuple[float, ...]) -> Candidate:
    """The operator and its transpose, without autograd and without new memory."""
    out, back = blur_downsample(image, row), torch.empty_like(image)

    def both(image: Tensor) -> Tensor:
        blur_downsample(image, row, out=out)
        torch.ops.shiftable.blur_downsample_transpose_out(
            out, row, row, [2, 2], "reflect", None, back
        )
        return back

    return both


def _after_norm(
    row: tuple[float, ...], channels: int, layers: Mapping[str, Candidate]
) -> dict[str, Candidate]:
    """A batch norm in evaluation, ReLU and the blur: in the blur's prologue, or one by one."""
    norm = torch.nn.BatchNorm2d(channels).eval().requires_grad_(False)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = norm.bias - norm.running_mean * scale

    def in_steps(blur: Candidate) -> Candidate:
        return lambda image: blur(torch.relu(norm(image)))

    found: dict[str, Candidate] = {
        "shiftable": lambda image: blur_downsample(
            image, row, prologue_scale=scale, prologue_bias=bias, prologue_relu=True
        ),
        "shiftable, step by step": in_steps(layers["shiftable"]),
    }
    if "antialiased-cnns" in layers:
        found["antialiased-cnns, step by step"] = in_steps(layers["antialiased-cnns"])
    slices = in_steps(peers.sum_of_slices(len(row)))
    found["compiled, sum of slices"] = torch.compile(slices)
    return found
