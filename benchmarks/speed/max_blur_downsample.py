"""max_blur_downsample beside a max pool at stride 1 and a blur, compiled or not."""

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters
from shiftable.functional import max_blur_downsample
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.blur_downsample import LARGE, LAYOUTS, SMALL, images_of, with_backward
from benchmarks.speed.harness import Candidate, Case

# (kernel size, padding of the max, taps): the paper's, and the stem of a ResNet
WINDOWS = ((2, 0, 4), (2, 0, 3), (3, 1, 3))


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases."""
    dtypes = (torch.float32,) if quick else (torch.float32, torch.bfloat16)
    windows = WINDOWS[:1] if quick else WINDOWS
    for shape, dtype, window, layout in product((LARGE, SMALL), dtypes, windows, LAYOUTS):
        yield from _cases_of(shape, dtype, window, layout)


def _cases_of(
    shape: tuple[int, int, int, int], dtype: torch.dtype, window: tuple[int, int, int], layout: str
) -> Iterator[Case]:
    kernel, pad, taps = window
    row = filters.binomial(taps)
    images = images_of(shape, dtype, LAYOUTS[layout])
    size = images[0].numel() * images[0].element_size()
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2

    def after_max(blur: Candidate) -> Candidate:
        return lambda image: blur(F.max_pool2d(image, kernel, 1, pad))

    blurs = peers.reflecting_layers(taps, shape[1], dtype)
    candidates: dict[str, Candidate] = {
        "shiftable": lambda image: max_blur_downsample(image, kernel, row, max_pad=pad),
        **{f"max_pool2d + {name}": after_max(blur) for name, blur in blurs.items()},
    }
    if dtype == torch.float32:
        for name, blur in {**blurs, "sum of slices": peers.sum_of_slices(taps)}.items():
            if name != "timm":  # the same operators as the other layer
                candidates[f"compiled max_pool2d + {name}"] = torch.compile(after_max(blur))
    out = max_blur_downsample(images[0], kernel, row, max_pad=pad)

    def into_out(image: Tensor) -> Tensor:
        return max_blur_downsample(image, kernel, row, max_pad=pad, out=out)

    def case(name: str, moved: int, written: int, candidates: dict[str, Candidate]) -> Case:
        name = f"max {kernel}, pad {pad}, taps {taps} {name}"
        return Case(
            "max_blur_downsample", name, shape, dtype, layout, images, moved, written, candidates,
            tolerance,
        )  # fmt: skip

    yield case("forward", size, size // 4, candidates)
    yield case("forward, out=", size, size // 4, {"shiftable": into_out})
    both = {name: with_backward(function) for name, function in candidates.items()}
    yield case("forward + backward", size * 9 // 4, size * 5 // 4, both)
