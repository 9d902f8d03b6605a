"""Blurs operations of a network one by one, each change noted so that all can be taken back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from shiftable.convert.operations import StridedOperation
from shiftable.convert.placement import (
    BLUR,
    Place,
    Undo,
    after_activation,
    blurs,
    make_dense,
    put,
)
from shiftable.convert.pools import Blur, is_pool, make_blurring, make_plain, pair
from shiftable.convert.report import Change
from shiftable.convert.trace import Example, Step, Trace, evaluating, trace
from shiftable.filters import Filter, Taps, for_stride
from shiftable.functional import Border
from shiftable.nn import BlurPool2d
from shiftable.nn.conv import Order

_REASONS = {
    "adaptive pool": "its output size is fixed, whatever the stride",
    "interpolation": "not a module of its own; ask interpolate for antialias=True",
    "pixel unshuffle": "it keeps every pixel",
    "strided slice": "an index, not a module of its own",
}


class Surgeon:
    """Mends the operations of one network.

    Args:
        model: changed in place.
        example: what it is run on.
        found: what it did with it before.
        filter: of the blurs, with `size` taps for a stride of 2.
        size: see there.
        border: of the blurs.
        order: of blur and convolution.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Example,
        found: Trace,
        filter: Filter,
        size: int,
        border: Border,
        order: Order,
    ) -> None:
        self._model = model
        self._example = example
        self._found = found
        self._filter = filter
        self._size = size
        self._border: Border = border
        self._order = order
        self._undo: list[Undo] = []

    def undo(self) -> None:
        """Takes back what this one did."""
        while self._undo:
            self._undo.pop()()

    def mend(self, chosen: Sequence[tuple[Step, StridedOperation]]) -> list[Change | str]:
        """Blurs some operations.

        What lies between a convolution and its blur works at full resolution, and nothing else may.
        That is looked at afterwards; where it fails, the blur goes right behind the convolution.

        Returns:
            For each operation what was changed, or the reason why nothing was.

        Raises:
            ValueError: where something else would change its size even so.
        """
        near: set[str] = set()  # convolutions with the blur right behind them
        while True:
            results: list[Change | str] = []
            mended: dict[str, Change] = {}  # a module that is called twice is mended once
            places: dict[str, Place] = {}
            for step, operation in chosen:
                if operation.name in mended:
                    result: Change | str = replace(mended[operation.name], operation=operation)
                else:
                    result = self._mend(step, operation, places, near)
                if isinstance(result, Change):
                    mended[operation.name] = result
                results.append(result)
            blamed = self._disturbed(places, set(mended))
            if blamed is None:
                return results
            self.undo()
            if blamed == "":
                raise ValueError(
                    "antialias: something else would change its size, too; the network is left as "
                    "it was: exclude the modules at fault"
                )
            near.add(blamed)

    def _mend(
        self, step: Step, operation: StridedOperation, places: dict[str, Place], near: set[str]
    ) -> Change | str:
        if operation.kind in _REASONS:
            return _REASONS[operation.kind]
        if len(operation.stride) != 2:
            return "not of two axes; shiftable.nn has BlurPool1d and BlurPool3d"
        module = self._model.get_submodule(operation.name)
        if isinstance(module, nn.Conv2d):
            return self._convolution(step, operation, module, places, near)
        if is_pool(module):
            return self._pool(operation, module)
        if "pool" in operation.kind or "convolution" in operation.kind:
            own = operation.name or type(module).__name__
            return f"{own} calls it as a function; make it a module of torch.nn"
        return f"{type(module).__name__} does it in a way of its own"

    def _taps(self, operation: StridedOperation) -> tuple[Taps, Taps]:
        vertical, horizontal = (
            for_stride(self._filter, self._size, int(step)) for step in operation.stride
        )
        return vertical, horizontal

    def _convolution(
        self,
        step: Step,
        operation: StridedOperation,
        module: nn.Conv2d,
        places: dict[str, Place],
        near: set[str],
    ) -> Change | str:
        if pair(module.stride) != operation.stride:
            return "its stride is not the module's own"
        given = next(c.given for c in self._found.calls if c.name == operation.name)
        if given is None:
            return "it is not called with a tensor first"
        taps = self._taps(operation)
        lengths = (len(taps[0]), len(taps[1]))
        before = Place(operation.name, "before")
        pointwise = max(module.kernel_size) == 1 and module.padding in (0, (0, 0))
        if self._order == "before" and not pointwise:
            self._put(before, BlurPool2d(stride=1, border=self._border, filter=taps))
            return Change(operation, lengths, str(before))
        first = dense_offset(module, given, operation.to)
        if first is None:
            return "at stride 1 it does not compute what it does at its stride"
        size = given.shape[-2:] if pointwise else first[1]
        place = before
        if operation.name in near:
            place = Place(operation.name, "after", "where all else keeps its size", (step.output,))
        elif not pointwise:
            place = after_activation(self._model, self._found, step)
        if place.across:
            places[operation.name] = place
        pad = pad_for(size, operation, lengths, first[0])
        self._undo.append(make_dense(module))
        stride = (int(operation.stride[0]), int(operation.stride[1]))
        self._put(place, BlurPool2d(stride=stride, border=self._border, filter=taps, pad=pad))
        return Change(operation, lengths, str(place))

    def _put(self, place: Place, blur: BlurPool2d) -> None:
        self._undo.append(put(self._model, place, blur))

    def _pool(self, operation: StridedOperation, pool: Any) -> Change | str:
        if getattr(pool, "return_indices", False):
            return "its indices are asked for, and a blurred maximum has none"
        taps = self._taps(operation)
        stride = (int(operation.stride[0]), int(operation.stride[1]))
        make_blurring(pool, Blur(taps, self._border, stride))
        self._undo.append(lambda: make_plain(pool))
        given = next(c.given for c in self._found.calls if c.name == operation.name)
        with torch.no_grad():
            to = None if given is None else tuple(type(pool).forward(pool, given).shape[-2:])
        if to != operation.to:
            self._undo.pop()()
            return f"blurred, it would give {to} pixels in place of {operation.to}"
        return Change(operation, (len(taps[0]), len(taps[1])), "in its place")

    def _disturbed(self, places: dict[str, Place], mended: set[str]) -> str | None:
        """Compares all sizes with those of before.

        Returns:
            None where they are the same; else the convolution whose blur is to blame, or "".
        """
        far = [name for name, place in places.items() if len(place.across) > 1]
        suspect = far[0] if far else ""
        try:
            now = trace(self._model, self._example, names=blurs(self._model))
        except ValueError:
            return suspect
        region = {value: name for name, place in places.items() for value in place.across}
        ends = {place.across[-1] for place in places.values()}

        def own(steps: list[Step]) -> list[Step]:
            """What is neither mended nor a blur."""
            return [
                step
                for step in steps
                if not any(name in mended or name.endswith(BLUR) for name, _ in step.path)
            ]

        before, after = own(self._found.steps), own(now.steps)
        if [step.operator for step in before] != [step.operator for step in after]:
            return suspect
        for step, again in zip(before, after, strict=True):
            inside = bool(step.inputs) and step.inputs[0] in region.keys() - ends
            same_input = inside or again.shapes[0] == step.shapes[0]
            same_output = step.output in region or again.shapes[1] == step.shapes[1]
            if not (same_input and same_output):
                return next((region[v] for v in step.inputs if region.get(v) in far), suspect)
        return None if now.shapes == self._found.shapes else suspect


def dense_offset(
    module: nn.Conv2d, given: Tensor, to: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where in a convolution's dense output its strided one is.

    A convolution may pad by its stride (TensorFlow's "same"), so at stride 1 it can be a few pixels
    off: it is tried out on noise.

    Args:
        module: the convolution.
        given: of the shape, dtype and device of what it is given.
        to: (h, w) of its output.

    Returns:
        The (y, x) of the first pixel, and the (h, w) of the dense output; None where it is nowhere.
    """
    made = torch.Generator().manual_seed(0)
    noise = torch.randn(given.shape, generator=made).to(given.device, given.dtype)
    with evaluating(module), torch.no_grad():
        strided = type(module).forward(module, noise)
        undo = make_dense(module)
        try:
            dense = type(module).forward(module, noise)
        finally:
            undo()
    tolerance = 1e-4 if given.dtype in (torch.float32, torch.float64) else 5e-2
    height, width = to
    stride = pair(module.stride)
    for top in range(stride[0]):
        for left in range(stride[1]):
            kept = dense[..., top :: stride[0], left :: stride[1]][..., :height, :width]
            if kept.shape == strided.shape and _close(kept, strided, tolerance):
                return (top, left), (dense.shape[-2], dense.shape[-1])
    return None


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool((a - b).abs().max().float() <= tolerance * b.abs().max().float())


def pad_for(
    size: Sequence[int],
    operation: StridedOperation,
    taps: tuple[int, int],
    first: tuple[int, int],
) -> tuple[int, int, int, int] | None:
    """The pad with which a blur of a dense map begins at `first` and gives the operation's size.

    None for the default pad, which suits maps of any size.
    """
    sides = []
    for n, to, step, k, start in zip(
        size, operation.to, operation.stride, taps, first, strict=True
    ):
        given = -(-(n - start) // int(step))  # by the default pad
        sides.append(((k - 1) // 2 - start, k // 2 + (to - given) * int(step)))
    (top, bottom), (left, right) = sides
    default = all(side == ((k - 1) // 2, k // 2) for side, k in zip(sides, taps, strict=True))
    return None if default else (left, right, top, bottom)
