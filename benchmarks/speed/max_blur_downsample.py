"""max_blur_downsample beside MaxPool2d at stride 1 and a blur, eager and compiled."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters
from shiftable.functional import max_blur_downsample
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.blur_downsample import LAYOUTS, with_backward
from benchmarks.speed.harness import Candidate, Case

SHAPES = ((32, 64, 112, 112), (1, 64, 112, 112))
KERNEL, TAPS = 2, 4


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases."""
    for shape in SHAPES:
        for dtype in (torch.float32,) if quick else (torch.float32, torch.bfloat16):
            for layout, memory_format in LAYOUTS.items():
                images = [torch.randn(shape).to(dtype).contiguous(memory_format=memory_format)]
                blurs = {
                    **peers.blur_layers(TAPS, shape[1], dtype),
                    "sum of slices": peers.sum_of_slices(TAPS),
                }
                candidates: dict[str, Candidate] = {
                    "shiftable": lambda image: max_blur_downsample(
                        image, KERNEL, filters.binomial(TAPS)
                    )
                }
                for name, blur in blurs.items():

                    def pooled(image: Tensor, blur: Candidate = blur) -> Tensor:
                        return blur(F.max_pool2d(image, KERNEL, 1))

                    if name != "sum of slices":
                        candidates[f"max_pool2d + {name}"] = pooled
                    candidates[f"compiled max_pool2d + {name}"] = torch.compile(pooled)
                size = images[0].numel() * images[0].element_size()
                tolerance = 1e-5 if dtype == torch.float32 else 5e-2
                yield Case(
                    "max_blur_downsample", "forward", shape, dtype, layout, images, size, size // 4,
                    candidates, tolerance,
                )  # fmt: skip
                yield Case(
                    "max_blur_downsample", "forward + backward", shape, dtype, layout, images,
                    size * 9 // 4, size * 5 // 4, {n: with_backward(f) for n, f in candidates.items()}, tolerance,
                )  # fmt: skip
