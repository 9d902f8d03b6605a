"""Puts a low-pass filter before everything that lowers a network's resolution."""

import copy
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from shiftable.convert.cost import multiply_adds
from shiftable.convert.operations import listed
from shiftable.convert.placement import blurs
from shiftable.convert.report import Change, Left, Report
from shiftable.convert.surgery import Surgeon
from shiftable.convert.trace import Example, arguments_of, trace
from shiftable.filters import Filter, for_stride
from shiftable.functional import Border, check_border
from shiftable.nn.conv import Order, check_order


def antialias(
    model: nn.Module,
    example: Example | None = None,
    *,
    filter_size: int = 3,
    filter: Filter = "binomial",
    border: Border = "reflect",
    order: Order = "after",
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    inplace: bool = True,
    dry_run: bool = False,
) -> Report:
    """Replaces what lowers a network's resolution by the same at stride 1, a blur, and the stride.

    * A strided convolution becomes dense. The blur comes behind its norm and activation where it can
      be told which they are, else right behind it. A convolution of one pixel is given its input
      blurred and downsampled instead, which is the same but for the border and an activation, and
      far cheaper than a dense one.
    * A max-pool takes the maximum at every pixel, then blurs: one fused kernel.
    * An average pool becomes one filter: its box convolved with the blur.

    Output sizes and sampling positions are those of the network as it was, to a pixel for odd
    filters (an even one is centred half a pixel off). Weights, groups, dilation, padding, dtypes,
    hooks and modes are kept, the keys of the state dict too. What is blurred already stays as it
    is, so that a second call changes nothing; `undo_antialias` takes everything back.

    Args:
        model: any network that runs in eager mode. Blurs are hooks of its own modules; pools change
            their class.
        example: `(B, C, H, W)` that it is run on, on its device, or a tuple of its arguments that
            begins with it; by default noise of 224 x 224 pixels. Where padding depends on the size
            (TensorFlow's "same"), the alignment fits this one.
        filter_size: number of taps for a stride of 2, >= 1; for larger strides it grows, see
            `shiftable.filters.for_stride`. Odd ones keep a trained network's alignment.
        filter: a name of `shiftable.filters` or taps.
        border: of the blurs, as in `blur_downsample`.
        order: of convolutions: `after`, or `before`: blur at stride 1, then the convolution as it
            was. That costs little, but what the convolution itself makes above the limit aliases.
        include: only operations in modules of these names; patterns with `*`, `?` and `[...]`.
        exclude: none in modules of these names.
        inplace: change `model`; else a copy.
        dry_run: change nothing, and report what would be.

    Returns:
        The report, with the mended network as `model`.

    Raises:
        TypeError: for a model that is no module.
        ValueError: for an example that the network fails on, a pattern without a match, or a
            network of which anything else would change its size. It is left as it was.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch, shiftable
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(),
        ...                           torch.nn.MaxPool2d(2))
        >>> print(shiftable.antialias(net, torch.rand(1, 3, 15, 15)))
        operation  kind         stride  map
        0          convolution  2       15 -> 7  blurred by 3 taps after 1
        2          max pool     2       7 -> 3   blurred by 3 taps in its place
        2 changed, 0 left; 0.01058 -> 0.04058 million multiply-adds an image (+283.4%)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"antialias: expected a torch.nn.Module, got {type(model).__name__}")
    check_order(order)
    check_border(border)
    for_stride(filter, filter_size, 2)  # refuses what is no filter before anything is done
    shown = _noise(model) if example is None else example
    arguments_of(shown)
    target = copy.deepcopy(model) if dry_run or not inplace else model
    found = trace(target, shown, names=blurs(target))
    every = listed(found)
    operations = [(step, operation) for step, operation in every if not operation.blurred]
    named = [operation.name for _, operation in every]
    asked = _asked(named, _patterns(include), _patterns(exclude) or [])
    chosen = [(step, operation) for step, operation in operations if asked(operation.name)]
    macs_before = multiply_adds(target, shown)
    surgeon = Surgeon(target, shown, found, filter, filter_size, border, order)
    try:
        results = surgeon.mend(chosen)
        macs_after = multiply_adds(target, shown)
    except BaseException:
        surgeon.undo()
        raise
    changed = tuple(result for result in results if isinstance(result, Change))
    reasons = {
        id(operation): result for (_, operation), result in zip(chosen, results, strict=True)
    }
    left = tuple(
        Left(operation, reason)
        for _, operation in operations
        if isinstance(reason := reasons.get(id(operation), "not asked for"), str)
    )
    already = tuple(operation for _, operation in every if operation.blurred)
    return Report(model if dry_run else target, changed, left, already, macs_before, macs_after)


def _noise(model: nn.Module) -> Tensor:
    """An example, of as many channels as the first convolution reads."""
    first = next((m for m in model.modules() if isinstance(m, _ConvNd)), None)
    channels = 3 if first is None else first.in_channels
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    made = torch.Generator().manual_seed(0)
    noise = torch.rand((1, channels, 224, 224), generator=made)
    return noise.to(weight.device, weight.dtype)


def _patterns(given: str | Sequence[str] | None) -> list[str] | None:
    return None if given is None else [given] if isinstance(given, str) else list(given)


def _asked(
    names: list[str], include: list[str] | None, exclude: list[str]
) -> Callable[[str], bool]:
    """Whether a name is asked for; refuses patterns that match nothing."""
    for pattern in [*(include or []), *exclude]:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"antialias: '{pattern}' matches no operation that lowers resolution; these do: "
                f"{', '.join(dict.fromkeys(names)) or 'none'}"
            )

    def asked(name: str) -> bool:
        wanted = include is None or any(fnmatchcase(name, p) for p in include)
        return wanted and not any(fnmatchcase(name, p) for p in exclude)

    return asked
