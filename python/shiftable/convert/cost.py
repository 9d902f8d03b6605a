"""What a forward pass costs."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shiftable._ops import ops as ours
from shiftable.convert.trace import Example, arguments_of, evaluating


def multiply_adds(model: nn.Module, example: Example) -> int:
    """Returns the multiply-adds for one image: of convolutions, matrix products and blurs.

    Args:
        model: left as it is.
        example: `(B, C, H, W)`, or a tuple that begins with it; the sum is divided by B.
    """
    counter = FlopCounterMode(
        display=False,
        custom_mapping={
            ours.blur_downsample: _blur,
            ours.blur_downsample_prologue: _prologue_blur,
            ours.max_blur_downsample: _max_blur,
        },
    )
    with evaluating(model), torch.no_grad(), counter:
        model(*arguments_of(example))
    return round(counter.get_total_flops() / 2 / len(arguments_of(example)[0]))


def _blur(
    image: Any, taps_y: Any, taps_x: Any, stride: Any, *_: Any, out_shape: Any, **__: Any
) -> int:
    """Down the columns in full width for the rows that are kept, then along those."""
    *planes, height, width = out_shape
    count = 1
    for size in planes:
        count *= size
    return int(2 * count * height * (image[-1] * len(taps_y) + width * len(taps_x)))


def _prologue_blur(
    image: Any, scale: Any, bias: Any, relu: Any, *rest: Any, **keywords: Any
) -> int:
    return _blur(image, *rest, **keywords)


def _max_blur(image: Any, kernel_size: Any, *rest: Any, **keywords: Any) -> int:
    return _blur(image, *rest, **keywords)
