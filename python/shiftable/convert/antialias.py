"""Puts a low-pass filter before everything that lowers a network's resolution."""

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from shiftable.convert.cost import multiply_adds
from shiftable.convert.operations import StridedOperation, listed
from shiftable.convert.placement import (
    Place,
    after_activation,
    make_dense,
    put,
    replace_pool,
    undo_antialias,
)
from shiftable.convert.report import Change, Left, Report
from shiftable.convert.trace import Step, Trace, evaluating, trace
from shiftable.filters import Filter, Taps, box, for_stride
from shiftable.functional import Border
from shiftable.nn import BlurPool2d, MaxBlurPool2d
from shiftable.nn.conv import ORDERS, Order


def antialias(
    model: nn.Module,
    example: Tensor | None = None,
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
      blurred and downsampled instead, which is the same but for the border, and cheaper.
    * A max-pool takes the maximum at every pixel, then blurs: one fused kernel.
    * An average pool becomes one filter: its box convolved with the blur.

    Output sizes and sampling positions are those of the network as it was, to a pixel for odd
    filters (an even one is centred half a pixel off). Weights, groups, dilation, padding, dtypes,
    hooks and modes are kept, the keys of the state dict too. What is blurred already stays as it
    is, so that a second call changes nothing; `undo_antialias` takes everything back.

    Args:
        model: any network that runs in eager mode. Blurs are hooks of its own modules.
        example: `(B, C, H, W)` that it is run on, on its device; by default noise of 224 x 224
            pixels. Where padding depends on the size (TensorFlow's "same"), the alignment fits this
            one.
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
        ValueError: for an example that the network fails on, a pattern without a match, or a
            network whose outputs would change their shape (it is left as it was).

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
        2 changed, 0 left; 0.0 -> 0.0 million multiply-adds an image (+331.0%)
    """
    if order not in ORDERS:
        raise ValueError(f"unknown order '{order}'; known: {', '.join(ORDERS)}")
    for_stride(filter, filter_size, 2)  # refuses what is no filter before anything is done
    shown = _noise(model) if example is None else example
    target = copy.deepcopy(model) if dry_run or not inplace else model
    before = trace(target, shown)
    macs_before = multiply_adds(target, shown)
    surgeon = _Surgeon(target, shown, before, filter_size, filter, border, order)
    changed: list[Change] = []
    left: list[Left] = []
    chosen = _chosen(
        [operation for _, operation in listed(before)], _patterns(include), _patterns(exclude)
    )
    done: dict[str, Change] = {}  # a module called twice is changed once
    try:
        for step, operation in listed(before):
            if operation.blurred:
                continue
            if not chosen(operation.name):
                left.append(Left(operation, "not asked for"))
            elif operation.name in done:
                changed.append(done[operation.name])
            else:
                result = surgeon.mend(step, operation)
                if isinstance(result, Change):
                    done[operation.name] = result
                    changed.append(result)
                else:
                    left.append(Left(operation, result))
        after = trace(target, shown)
    except Exception:
        undo_antialias(target)
        raise
    if after.output != before.output:
        undo_antialias(target)
        raise ValueError(
            f"antialias: the outputs' shapes would become {after.output}, from {before.output}; "
            "left as it was: exclude the modules at fault"
        )
    macs_after = multiply_adds(target, shown)
    mended = model if dry_run else target
    return Report(mended, tuple(changed), tuple(left), macs_before, macs_after)


class _Surgeon:
    """Mends one operation after the other."""

    def __init__(
        self,
        model: nn.Module,
        example: Tensor,
        found: Trace,
        size: int,
        filter: Filter,
        border: Border,
        order: Order,
    ) -> None:
        self._model = model
        self._found = found
        self._size = size
        self._filter = filter
        self._border = border
        self._order = order
        self._seen = _inputs_and_outputs(
            model, example, {o.name for _, o in listed(found) if o.name}
        )

    def mend(self, step: Step, operation: StridedOperation) -> Change | str:
        """Returns what was changed, or the reason why nothing was."""
        if operation.name == "" or operation.name not in self._seen:
            return "called as a function by the network itself; make it a module"
        module = self._model.get_submodule(operation.name)
        if len(operation.stride) != 2:
            return "not of two axes; shiftable.nn has BlurPool1d and BlurPool3d"
        if isinstance(module, nn.Conv2d):
            return self._convolution(step, operation, module)
        if type(module) is nn.MaxPool2d:
            return self._max_pool(operation, module)
        if type(module) is nn.AvgPool2d:
            return self._average_pool(operation, module)
        return _REASONS.get(operation.kind, f"{type(module).__name__} does it in a way of its own")

    def _taps(self, stride: Sequence[float]) -> tuple[Taps, Taps]:
        vertical, horizontal = (for_stride(self._filter, self._size, int(s)) for s in stride)
        return vertical, horizontal

    def _blur(self, taps: tuple[Taps, Taps], stride: Any, pad: Any = None) -> BlurPool2d:
        return BlurPool2d(stride=stride, border=self._border, filter=taps, pad=pad)

    def _convolution(
        self, step: Step, operation: StridedOperation, module: nn.Conv2d
    ) -> Change | str:
        if tuple(module.stride) != operation.stride:
            return "its stride is not the module's own"
        taps = self._taps(operation.stride)
        lengths = (len(taps[0]), len(taps[1]))
        if self._order == "before":
            place = Place(operation.name, "before")
            put(self._model, place, self._blur(taps, 1))
            return Change(operation, lengths, str(place))
        inputs, outputs = self._seen[operation.name]
        pads = _alignment(module, inputs, outputs, lengths)
        if pads is None:
            return "at stride 1 it does not compute what it does at its stride"
        place = Place(operation.name, "before")
        if operation.kind != "shortcut convolution" or module.padding not in (0, (0, 0)):
            place = after_activation(self._model, self._found, step)
        make_dense(module)
        put(self._model, place, self._blur(taps, operation.stride, pads or None))
        return Change(operation, lengths, str(place))

    def _max_pool(self, operation: StridedOperation, pool: nn.MaxPool2d) -> Change | str:
        if pool.return_indices:
            return "its indices are asked for, and a blurred maximum has none"
        taps = self._taps(operation.stride)
        new = MaxBlurPool2d(
            pool.kernel_size, stride=cast(Any, operation.stride), border=self._border,
            max_pad=pool.padding, dilation=pool.dilation, ceil_mode=pool.ceil_mode, filter=taps,
        )  # fmt: skip
        return self._replaced(operation, new, (len(taps[0]), len(taps[1])))

    def _average_pool(self, operation: StridedOperation, pool: nn.AvgPool2d) -> Change | str:
        kernel = _pair(pool.kernel_size)
        taps = self._taps(operation.stride)
        lengths = (len(taps[0]), len(taps[1]))
        if _pair(pool.padding) != (0, 0) or pool.divisor_override is not None:
            dense = nn.AvgPool2d(
                kernel, 1, pool.padding, False, pool.count_include_pad, pool.divisor_override
            )
            outputs = self._seen[operation.name][1].shape[-2:]
            size = [n + 2 * p - k + 1 for n, p, k in
                    zip(operation.size, _pair(pool.padding), kernel, strict=True)]  # fmt: skip
            pad = _pad(size, outputs, operation.stride, lengths, (0, 0))
            new: nn.Module = nn.Sequential(dense, self._blur(taps, operation.stride, pad))
        else:
            joined = tuple(
                tuple(np.convolve(box(k), row).tolist())
                for k, row in zip(kernel, taps, strict=True)
            )
            size = [n - k + 1 for n, k in zip(operation.size, kernel, strict=True)]
            outputs = self._seen[operation.name][1].shape[-2:]
            pad = _pad(size, outputs, operation.stride, lengths, (0, 0))
            new = self._blur(cast(Any, joined), operation.stride, pad)
        return self._replaced(operation, new, lengths)

    def _replaced(
        self, operation: StridedOperation, new: nn.Module, lengths: tuple[int, int]
    ) -> Change | str:
        inputs, outputs = self._seen[operation.name]
        with torch.no_grad():
            shape = new(inputs).shape
        if shape != outputs.shape:
            return f"blurred, it would give {tuple(shape)} in place of {tuple(outputs.shape)}"
        replace_pool(self._model, operation.name, new)
        return Change(operation, lengths, "in its place")


_REASONS = {
    "adaptive pool": "its output size is fixed, whatever the stride",
    "interpolation": "not a module of its own; ask interpolate for antialias=True",
    "pixel unshuffle": "it keeps every pixel",
    "max pool": "called as a function; make it a torch.nn.MaxPool2d",
    "average pool": "called as a function; make it a torch.nn.AvgPool2d",
    "strided slice": "an index, not a module; call shiftable.functional.blur_downsample there",
}


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _alignment(
    module: nn.Conv2d, inputs: Tensor, outputs: Tensor, taps: tuple[int, int]
) -> tuple[int, ...] | None:
    """The blur's pad that keeps a convolution's sampling positions, () for the default one.

    A convolution may pad by its stride (TensorFlow's "same"), so at stride 1 it can be a few pixels
    off: its dense output is searched for where the strided one is in it.
    """
    stride = module.stride
    module.stride = (1, 1)
    try:
        with torch.no_grad():
            dense = type(module).forward(module, inputs)
    finally:
        module.stride = stride
    tolerance = 1e-4 if outputs.dtype in (torch.float32, torch.float64) else 5e-2
    height, width = outputs.shape[-2:]
    for top in range(stride[0]):
        for left in range(stride[1]):
            kept = dense[..., top :: stride[0], left :: stride[1]][..., :height, :width]
            if kept.shape == outputs.shape and _close(kept, outputs, tolerance):
                size = list(dense.shape[-2:])
                return _pad(size, (height, width), stride, taps, (top, left)) or ()
    return None


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    scale = b.abs().max().float()
    return bool((a - b).abs().max().float() <= tolerance * scale)


def _pad(
    size: Sequence[int],
    outputs: Sequence[int],
    stride: Sequence[float],
    taps: Sequence[int],
    first: Sequence[int],
) -> tuple[int, int, int, int] | None:
    """The pad with which a blur of a dense map gives so many outputs, the first one at `first`."""
    sides = []
    for n, wanted, step, k, start in zip(size, outputs, stride, taps, first, strict=True):
        given = -(-(n - start) // int(step))  # by the default pad
        sides.append(((k - 1) // 2 - start, k // 2 + (wanted - given) * int(step)))
    (top, bottom), (left, right) = sides
    default = all(side == ((k - 1) // 2, k // 2) for side, k in zip(sides, taps, strict=True))
    return None if default else (left, right, top, bottom)


def _inputs_and_outputs(
    model: nn.Module, example: Tensor, names: set[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """What some modules are given and return."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
            made = result[0] if isinstance(result, tuple) else result  # a pool's indices follow
            if arguments and isinstance(arguments[0], Tensor) and isinstance(made, Tensor):
                seen[name] = arguments[0].clone(), made.clone()

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        with evaluating(model), torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


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


def _chosen(
    operations: list[StridedOperation], include: list[str] | None, exclude: list[str] | None
) -> Any:
    """Whether a name is asked for; refuses patterns that match nothing."""
    names = [operation.name for operation in operations]
    for pattern in [*(include or []), *(exclude or [])]:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"antialias: '{pattern}' matches no operation that lowers resolution; these do: "
                f"{', '.join(dict.fromkeys(names)) or 'none'}"
            )

    def chosen(name: str) -> bool:
        wanted = include is None or any(fnmatchcase(name, p) for p in include)
        return wanted and not any(fnmatchcase(name, p) for p in exclude or [])

    return chosen
