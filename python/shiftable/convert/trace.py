"""What a network does with an image: every operator, in which module, from which value."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


@dataclass(eq=False)
class Step:
    """One operator of a forward pass.

    Args:
        operator: as torch's dispatcher sees it, without its overload.
        arguments: its positional arguments, tensors replaced by None but for weights.
        inputs: numbers of the values that it reads; a value is what one operator made.
        output: number of the value that it makes.
        shapes: of its first input and its output.
        path: the modules that it runs in, outermost first, with the number of their call.
        measured: what the trace's `measure` returned.
    """

    operator: Any
    arguments: tuple[Any, ...]
    inputs: tuple[int, ...]
    output: int
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    path: tuple[tuple[str, int], ...]
    measured: Any = None

    @property
    def module(self) -> str:
        """The innermost module's name."""
        return self.path[-1][0] if self.path else ""


@dataclass(eq=False)
class Call:
    """One call of a module: the value that it was given first, and the one that it returned."""

    name: str
    input: int | None
    output: int | None = None


@dataclass(eq=False)
class Trace:
    """A forward pass."""

    steps: list[Step] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    output: Any = None  # shapes of what the network returned

    def consumers(self, value: int) -> list[Step]:
        """The operators that read a value."""
        return [step for step in self.steps if value in step.inputs]

    def producer(self, value: int) -> Step | None:
        """The operator that made a value; None for the network's input and its weights."""
        return next((step for step in self.steps if step.output == value), None)

    def count(self, name: str) -> int:
        """How often a module is called."""
        return sum(call.name == name for call in self.calls)


Measure = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def trace(model: nn.Module, example: Tensor, measure: Measure | None = None) -> Trace:
    """Runs a network once, in eval mode and without gradients, and notes what it does.

    Args:
        model: left as it is; each module's mode comes back.
        example: what to show it.
        measure: called before each operator with it and its arguments.

    Raises:
        ValueError: where the network fails.
    """
    names = {id(module): name for name, module in model.named_modules()}
    recorder = _Recorder(measure)

    def enter(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        recorder.enter(names.get(id(module), "?"), arguments)

    def leave(module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        recorder.leave(result)

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with evaluating(model), torch.no_grad(), recorder:
            result = model(example)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"the network failed on an example {tuple(example.shape)} ({reason}); give one that "
            "suits it"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    recorder.trace.output = torch.utils._pytree.tree_map(
        lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else None, result
    )
    return recorder.trace


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts every module in eval mode, and back as each was."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator below autograd, with the tensors that pass between them."""

    def __init__(self, measure: Measure | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._measure = measure
        self._values: dict[int, int] = {}  # by the tensor's id
        self._alive: list[Any] = []  # so that no id is used again
        self._stack: list[tuple[str, int]] = []
        self._open: list[Call] = []
        self._counts: Counter[str] = Counter()

    def enter(self, name: str, arguments: tuple[Any, ...]) -> None:
        first = next((a for a in arguments if isinstance(a, Tensor)), None)
        self._counts[name] += 1
        self._stack.append((name, self._counts[name] - 1))
        call = Call(name, None if first is None else self._value(first))
        self.trace.calls.append(call)
        self._open.append(call)

    def leave(self, result: Any) -> None:
        self._stack.pop()
        call = self._open.pop()
        if isinstance(result, Tensor):
            call.output = self._value(result)

    def _value(self, tensor: Tensor) -> int:
        """The number of what a tensor holds now."""
        if id(tensor) not in self._values:
            self._alive.append(tensor)
            self._values[id(tensor)] = len(self._alive)
        return self._values[id(tensor)]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        measured = self._measure(function, args, kwargs) if self._measure else None
        leaves = [a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, Tensor)]
        inputs = tuple(self._value(tensor) for tensor in leaves)
        result = function(*args, **kwargs)
        made = result[0] if isinstance(result, tuple | list) and result else result
        if isinstance(made, Tensor):
            # In place or not, it is a new value.
            self._alive.append(made)
            self._values[id(made)] = len(self._alive)
            self.trace.steps.append(
                Step(
                    function.overloadpacket,
                    tuple(
                        None if isinstance(a, Tensor) and i == 0 else a for i, a in enumerate(args)
                    ),
                    inputs,
                    self._values[id(made)],
                    (tuple(leaves[0].shape) if leaves else (), tuple(made.shape)),
                    tuple(self._stack),
                    measured,
                )
            )
        return result
