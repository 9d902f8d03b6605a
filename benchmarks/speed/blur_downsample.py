"""blur_downsample beside antialiased-cnns' layer, a compiled sum of slices, and near relatives."""

from collections.abc import Iterator

import torch
from shiftable import filters
from shiftable.functional import blur_downsample
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.harness import Candidate, Case

SHAPES = ((32, 64, 112, 112), (32, 256, 56, 56), (8, 512, 28, 28), (1, 64, 112, 112))
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


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases; `quick`: the headline shapes with three and four taps in float32."""
    shapes = SHAPES[::3] if quick else SHAPES
    for shape in shapes:
        for dtype in DTYPES[:1] if quick else DTYPES:
            for taps in (3, 4) if quick else TAPS:
                for layout, memory_format in LAYOUTS.items():
                    yield from _pair(shape, dtype, taps, layout, memory_format)


def _pair(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    taps: int,
    layout: str,
    memory_format: torch.memory_format,
) -> Iterator[Case]:
    row = filters.binomial(taps)
    copies = 2 if shape[0] * shape[1] * shape[2] * shape[3] < 1 << 22 else 1
    images = [
        torch.randn(shape).to(dtype).contiguous(memory_format=memory_format) for _ in range(copies)
    ]
    compiled = torch.compile(peers.sum_of_slices(taps))
    candidates: dict[str, Candidate] = {
        "shiftable": lambda image: blur_downsample(image, row),
        **peers.blur_layers(taps, shape[1], dtype),
        "compiled sum of slices": compiled,
    }
    others: dict[str, Candidate] = {"avg_pool2d (another filter)": peers.pool(taps)}
    if taps % 2:
        others["conv2d, zero padding (another border)"] = peers.zero_padded_convolution(
            taps, shape[1], dtype
        )
    size = images[0].numel() * images[0].element_size()
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    yield Case(
        "blur_downsample", f"taps {taps} forward", shape, dtype, layout, images, size, size // 4,
        candidates, tolerance,
    )  # fmt: skip
    yield Case(
        "blur_downsample", f"taps {taps} forward, near relatives", shape, dtype, layout, images,
        size, size // 4, {"shiftable": candidates["shiftable"], **others}, None,
    )  # fmt: skip
    yield Case(
        "blur_downsample", f"taps {taps} forward + backward", shape, dtype, layout, images,
        size * 5 // 4, size * 5 // 4, {name: with_backward(f) for name, f in candidates.items()}, tolerance,
    )  # fmt: skip
