"""Where in a network a blur goes, and how it is put there and taken away again.

A blur is a child of the module whose output or input it filters, called by a hook. It has no
parameters or buffers, so that a state dict is what it was; what held the network's modules before
(optimizers, hooks, attributes of users' code) holds the same ones after.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from shiftable.convert.trace import Step, Trace, aten

Side = str  # "after" a module: its output is blurred; "before": its first input

_CHILD = {"after": "antialias_output", "before": "antialias_input"}
_STRIDE = "stride_before_antialias"  # of a convolution that is dense now
_POOL = "pool_before_antialias"  # of a pool that takes another's place

# What works on each pixel by itself, so that a blur may move across it to the activation's end.
_NORMS = {
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten._batch_norm_no_update,
    aten.cudnn_batch_norm,
    aten.miopen_batch_norm,
    aten.clone,
    aten.alias,
    aten.detach,
    aten._to_copy,
}
_ACTIVATIONS = {
    aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.clamp, aten.clamp_, aten.clamp_min,
    aten.clamp_min_, aten.silu, aten.silu_, aten.gelu, aten.gelu_, aten.hardswish, aten.hardswish_,
    aten.leaky_relu, aten.leaky_relu_, aten.elu, aten.elu_, aten.mish, aten.mish_, aten.tanh,
    aten.tanh_, aten.softplus, aten._prelu_kernel,
}  # fmt: skip
_CONTAINERS = nn.Sequential | nn.ModuleList | nn.ModuleDict  # these call or iterate their children


@dataclass(frozen=True)
class Place:
    """A side of a module, and why it is not behind the activation where it is not."""

    module: str
    side: Side
    note: str = ""

    def __str__(self) -> str:
        return f"{self.side} {self.module}" + (f" ({self.note})" if self.note else "")


def after_activation(model: nn.Module, found: Trace, step: Step) -> Place:
    """Returns the place behind the activation that follows a convolution, or the nearest one."""
    value = step.output
    while True:
        consumers = found.consumers(value)
        if len(consumers) != 1 or consumers[0].inputs[0] != value:
            return Place(step.module, "after")  # no activation: a sum, or several ways on
        if consumers[0].operator in _ACTIVATIONS:
            return _at(model, found, consumers[0].output) or Place(
                step.module,
                "after",
                "its activation is a function whose result goes more than one way",
            )
        if consumers[0].operator not in _NORMS:
            return Place(step.module, "after")
        value = consumers[0].output


def _at(model: nn.Module, found: Trace, value: int) -> Place | None:
    """The module that makes a value or, alone, is given it; called once, and no container."""
    for call in found.calls[::-1]:  # the innermost first
        if call.output == value and call.input != value and _holds(model, found, call.name):
            return Place(call.name, "after")
    consumers = found.consumers(value)
    names = {consumer.module for consumer in consumers}
    if len(names) != 1 or any(consumer.inputs[0] != value for consumer in consumers):
        return None
    name = names.pop()
    given = any(call.name == name and call.input == value for call in found.calls)
    return Place(name, "before") if given and _holds(model, found, name) else None


def _holds(model: nn.Module, found: Trace, name: str) -> bool:
    """Whether a blur can be put at a module."""
    module = model.get_submodule(name)
    return found.count(name) == 1 and name != "" and not isinstance(module, _CONTAINERS)


# -- putting and taking ----------------------------------------------------------------------------


def _blur_output(module: nn.Module, _: Any, result: Tensor) -> Tensor:
    return module.antialias_output(result)  # type: ignore[no-any-return, operator]


def _blur_input(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return (module.antialias_input(arguments[0]), *arguments[1:])  # type: ignore[operator]


def put(model: nn.Module, place: Place, blur: nn.Module) -> None:
    """Makes a blur part of a module."""
    module = model.get_submodule(place.module)
    if place.side == "after":
        module.register_forward_hook(_blur_output)
    else:
        module.register_forward_pre_hook(_blur_input)
    module.add_module(_CHILD[place.side], blur.train(module.training))


def make_dense(convolution: nn.Module) -> None:
    """Sets a convolution's stride to 1, and keeps the one it had."""
    stride = convolution.stride
    setattr(convolution, _STRIDE, stride)
    convolution.stride = (1,) * len(stride)  # type: ignore[arg-type]


def replace_pool(model: nn.Module, name: str, new: nn.Module) -> None:
    """Puts a pool in another's place, with its hooks and mode."""
    parent, _, child = name.rpartition(".")
    owner = model.get_submodule(parent)
    old = owner._modules[child]
    assert old is not None
    new.train(old.training)
    for shared in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
                   "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
                   "_forward_hooks_always_called"):  # fmt: skip
        setattr(new, shared, getattr(old, shared))  # the very same, so that a handle removes it
    for child_name in _CHILD.values():  # a blur that another operation put at the pool
        if child_name in old._modules:
            new.add_module(child_name, old._modules.pop(child_name))
    object.__setattr__(new, _POOL, (old,))  # not as a child
    for module in model.modules():
        for key, value in module._modules.items():
            if value is old:  # at every place that shares it
                module._modules[key] = new


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
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if child is not None and _POOL in child.__dict__:
                module._modules[key] = child.__dict__[_POOL][0]
                undone += 1
        for child_name, hooks, hook in (
            ("antialias_output", module._forward_hooks, _blur_output),
            ("antialias_input", module._forward_pre_hooks, _blur_input),
        ):
            if child_name in module._modules:
                del module._modules[child_name]
                for number in [n for n, h in hooks.items() if h is hook]:
                    del hooks[number]
                undone += 1
        if _STRIDE in module.__dict__:
            module.stride = module.__dict__.pop(_STRIDE)
    return undone
