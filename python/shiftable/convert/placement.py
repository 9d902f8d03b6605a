"""Where in a network a blur goes, and how it is put there and taken away again.

A blur is a hook of the module whose output or input it filters; a pool that blurs is the same object
with another class. There are no new modules, parameters or buffers, so that a state dict is what it
was, and what held the network's modules before (optimizers, users' code) holds the same ones after.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from shiftable.convert.pools import make_plain
from shiftable.convert.trace import Step, Trace, aten
from shiftable.nn import BlurPool2d

Undo = Callable[[], object]

BLUR = "(blur)"  # ends the name of one

_STRIDE = "stride_before_antialias"  # of a convolution that is dense now

# What works on each pixel by itself, or on all alike, so that a blur may move across it.
_NORMS = {
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten._batch_norm_no_update,
    aten.cudnn_batch_norm,
    aten.miopen_batch_norm,
    aten.native_group_norm,
    aten.clone,
    aten.alias,
    aten.detach,
    aten._to_copy,
}
_ACTIVATIONS = {
    aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.clamp, aten.clamp_, aten.clamp_min,
    aten.clamp_min_, aten.silu, aten.silu_, aten.gelu, aten.gelu_, aten.hardswish, aten.hardswish_,
    aten.leaky_relu, aten.leaky_relu_, aten.elu, aten.elu_, aten.mish, aten.mish_, aten.tanh,
    aten.tanh_, aten.softplus, aten._prelu_kernel, aten.sigmoid, aten.sigmoid_, aten.hardsigmoid,
    aten.hardsigmoid_, aten.threshold, aten.threshold_,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A side of a module (its output, or its first input), and why it is there if not elsewhere.

    Args:
        module: its name.
        side: `after` or `before`.
        note: for the report.
        across: the values between the convolution and the blur, at full resolution.
    """

    module: str
    side: Literal["after", "before"]
    note: str = ""
    across: tuple[int, ...] = ()

    def __str__(self) -> str:
        name = self.module or "the network"
        return f"{self.side} {name}" + (f" ({self.note})" if self.note else "")


def after_activation(model: nn.Module, found: Trace, step: Step) -> Place:
    """Returns the place behind the activation that follows a convolution, or the nearest one."""
    value, across = step.output, [step.output]
    if found.count(step.module) != 1:
        return Place(step.module, "after", "it is called more than once", tuple(across))
    while True:
        consumers = found.consumers(value)
        note = "its result goes more than one way" if len(consumers) > 1 else ""
        if len(consumers) != 1 or value in found.returned or consumers[0].inputs[0] != value:
            return Place(step.module, "after", note, (step.output,))
        value = consumers[0].output
        across.append(value)
        if consumers[0].operator in _ACTIVATIONS:
            place = _at(model, found, value, tuple(across))
            note = "no one module makes its activation's result, or takes it"
            return place or Place(step.module, "after", note, (step.output,))
        if consumers[0].operator not in _NORMS:
            return Place(step.module, "after", "", (step.output,))


def _at(model: nn.Module, found: Trace, value: int, across: tuple[int, ...]) -> Place | None:
    """The module that makes a value or, alone, is given it; called once."""
    consumers = found.consumers(value)
    for call in found.calls[::-1]:  # the innermost first
        inside = any(call.name in (name for name, _ in step.path) for step in consumers)
        if call.output == value and call.input != value and found.count(call.name) == 1:
            return None if inside else Place(call.name, "after", "", across)
    names = {consumer.module for consumer in consumers}
    if len(names) != 1 or value in found.returned:
        return None
    name = names.pop()
    given = any(call.name == name and call.input == value for call in found.calls)
    hooks = model.get_submodule(name)._forward_pre_hooks.values()
    free = not any(isinstance(hook, _Blurred) for hook in hooks)
    once = found.count(name) == 1 and all(consumer.inputs[0] == value for consumer in consumers)
    return Place(name, "before", "", across) if given and once and free else None


# -- putting and taking ----------------------------------------------------------------------------


class _Blurred:
    """A hook that filters a module's output, or its first input."""

    def __init__(self, blur: BlurPool2d) -> None:
        self.blur = blur


class _Output(_Blurred):
    def __call__(self, module: nn.Module, arguments: Any, result: Tensor) -> Tensor:
        return self.blur(result)  # type: ignore[no-any-return]


class _Input(_Blurred):
    def __call__(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.blur(arguments[0]), *arguments[1:])


def put(model: nn.Module, place: Place, blur: BlurPool2d) -> Undo:
    """Makes a blur part of a module."""
    module = model.get_submodule(place.module)
    if place.side == "after":
        return module.register_forward_hook(_Output(blur)).remove
    return module.register_forward_pre_hook(_Input(blur)).remove


def make_dense(convolution: nn.Module) -> Undo:
    """Sets a convolution's stride to 1, and keeps the one it had."""
    setattr(convolution, _STRIDE, convolution.stride)
    convolution.stride = (1, 1)  # type: ignore[assignment]
    return lambda: _restore_stride(convolution)


def _restore_stride(convolution: nn.Module) -> None:
    convolution.stride = convolution.__dict__.pop(_STRIDE)


def blurs(model: nn.Module) -> dict[int, str]:
    """The blurs that are hooks, named by their modules, by `id`."""
    return {
        id(hook.blur): f"{name} {BLUR}".strip()
        for name, module in model.named_modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        if isinstance(hook, _Blurred)
    }


def structure(model: nn.Module) -> str:
    """A network as it prints itself, and the blurs that are hooks."""
    hooked = [
        f"{name}: {type(hook).__name__} {hook.blur}"
        for name, module in model.named_modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        if isinstance(hook, _Blurred)
    ]
    return re.sub(r" at 0x[0-9a-f]+", "", "\n".join([repr(model), *hooked]))


def undo_antialias(model: nn.Module) -> int:
    """Takes away what `antialias` did to a network, also to a copy or a reloaded one.

    Args:
        model: changed in place.

    Returns:
        How many blurs were taken away.

    Examples:
        >>> import torch, shiftable
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2))
        >>> changed = shiftable.antialias(net, torch.rand(1, 3, 16, 16))
        >>> shiftable.undo_antialias(net), net[0].stride
        (1, (2, 2))
    """
    undone = 0
    for module in model.modules():
        undone += make_plain(module)
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for number in [n for n, hook in hooks.items() if isinstance(hook, _Blurred)]:
                del hooks[number]
                undone += 1
        if _STRIDE in module.__dict__:
            _restore_stride(module)
    return undone
