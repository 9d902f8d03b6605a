"""What a call costs where there is next to nothing to compute: one plane of 8x8 pixels."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from shiftable import filters, nn
from shiftable.functional import blur_downsample
from torch import Tensor

from benchmarks.speed import peers
from benchmarks.speed.harness import Candidate, Case

SHAPE, TAPS = (1, 1, 8, 8), 3


def cases(quick: bool) -> Iterator[Case]:
    """Yields one case without gradient and one with, the forward alone in both."""
    row = filters.binomial(TAPS)
    taps = list(row)
    weight = torch.outer(torch.tensor(row), torch.tensor(row))[None, None]

    def pad_and_convolve(image: Tensor) -> Tensor:
        return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), weight, stride=2)

    operator = torch.ops.shiftable.blur_downsample.default
    candidates: dict[str, Candidate] = {
        "shiftable": lambda image: blur_downsample(image, row),
        "shiftable.nn.BlurPool2d": nn.BlurPool2d(filter_size=TAPS),
        "torch.ops.shiftable": lambda image: operator(image, taps, taps, [2, 2], "reflect", None),
        "pad + conv2d": pad_and_convolve,
        **peers.reflecting_layers(TAPS, 1, torch.float32),
    }
    for requires_grad in (False, True):
        image = torch.randn(SHAPE).requires_grad_(requires_grad)
        yield Case(
            "overhead", f"one call, {'with' if requires_grad else 'without'} gradient", SHAPE,
            torch.float32, "nchw", [image], 0, 0, candidates,
        )  # fmt: skip
