"""polyphase_downsample, which chooses a component and makes it, beside the same written with torch's operators."""

from collections.abc import Iterator, Mapping
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters
from shiftable.functional import polyphase_downsample, polyphase_norms
from torch import Tensor

from benchmarks.speed.blur_downsample import LARGE, LAYOUTS, SMALL, images_of, with_backward
from benchmarks.speed.harness import Candidate, Case

TAPS, DTYPES = (1, 3), (torch.float32, torch.bfloat16)


def _written_with_torch(taps: int, channels: int, dtype: torch.dtype) -> Candidate:
    """The blurred image, its four slices, their norms, and of each sample one of them."""
    row = torch.tensor(filters.binomial(taps))
    weight = torch.outer(row, row).to(dtype).repeat(channels, 1, 1, 1)
    before, after = (taps - 1) // 2, taps // 2

    def component(image: Tensor) -> Tensor:
        blurred = image
        if taps > 1:
            padded = F.pad(image, (before, after, before, after), mode="circular")
            blurred = F.conv2d(padded, weight, groups=channels)
        slices = [blurred[..., i::2, j::2] for i in range(2) for j in range(2)]
        norms = torch.stack([s.flatten(1).norm(dim=1, dtype=torch.float32) for s in slices], 1)
        phase = norms.argmax(1)
        return torch.stack(slices, 1)[torch.arange(len(image)), phase]

    return component


def cases(quick: bool) -> Iterator[Case]:
    """Yields the cases; `quick`: three taps in float32."""
    dtypes, numbers = (DTYPES[:1], TAPS[1:]) if quick else (DTYPES, TAPS)
    for shape, dtype, taps, layout in product((LARGE, SMALL), dtypes, numbers, LAYOUTS):
        yield from _cases_of(shape, dtype, taps, layout)


def _cases_of(
    shape: tuple[int, int, int, int], dtype: torch.dtype, taps: int, layout: str
) -> Iterator[Case]:
    row = filters.binomial(taps)
    images = images_of(shape, dtype, LAYOUTS[layout])
    size = images[0].numel() * images[0].element_size()
    # Sixteen bits: a blurred image that is written is rounded.
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2

    def case(name: str, written: int, candidates: Mapping[str, Candidate]) -> Case:
        return Case(
            "polyphase_downsample", f"taps {taps} {name}", shape, dtype, layout, images, size,
            written, candidates, tolerance,
        )  # fmt: skip

    theirs = _written_with_torch(taps, shape[1], dtype)
    candidates = {
        "shiftable": lambda image: polyphase_downsample(image, row)[0],
        "torch's operators": theirs,
    }
    if dtype == torch.float32:
        candidates["torch's operators, compiled"] = torch.compile(theirs)
    yield case("norms and component", size // 4, candidates)
    yield case("norms alone", 16 * shape[0], {"shiftable": lambda i: polyphase_norms(i, row)})
    if taps == 3 and dtype == torch.float32:
        both = {name: with_backward(function) for name, function in candidates.items()}
        yield case("forward + backward", size * 5 // 4, both)
