"""What a network does with an image: every operator, in which module, from which value."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten

Example = Tensor | tuple[Any, ...]


@dataclass(eq=False)
class Step:
    """One operator of a forward pass.

    Args:
        operator: as torch's dispatcher sees it, without its overload.
        arguments: its positional arguments, with None for the first one where that is a tensor.
        inputs: numbers of the values that it reads; a value is what one operator made.
        output: number of the value that it makes.
        shapes: of its first input and its output.
        path: the modules that it runs in, outermost first, with the number of their call.
        measured: what the trace's `measure` returned.
        others: numbers of what it makes besides, as a split does.
    """

    operator: Any
    arguments: tuple[Any, ...]
    inputs: tuple[int, ...]
    output: int
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    path: tuple[tuple[str, int], ...]
    measured: Any = None
    others: tuple[int, ...] = ()

    @property
    def module(self) -> str:
        """The innermost module's name."""
        return self.path[-1][0] if self.path else ""


@dataclass(eq=False)
class Call:
    """One call of a module: what it was given first, if a tensor, and the value it returned."""

    name: str
    given: Tensor | None = None
    input: int | None = None
    output: int | None = None
    alone: bool = True  # whether it was given nothing else


@dataclass(eq=False)
class Trace:
    """A forward pass: its operators, its calls of modules, and what the network returned."""

    steps: list[Step] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    returned: set[int] = field(default_factory=set)
    shapes: Any = None  # of what it returned

    def consumers(self, value: int) -> list[Step]:
        """The operators that read a value."""
        return [step for step in self.steps if value in step.inputs]

    def producer(self, value: int) -> Step | None:
        """The operator that made a value; None for the network's input and its weights."""
        return next((step for step in self.steps if value in (step.output, *step.others)), None)

    def count(self, name: str) -> int:
        """How often a module is called."""
        return sum(call.name == name for call in self.calls)


Measure = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def trace(
    model: nn.Module,
    example: Example,
    measure: Measure | None = None,
    names: Mapping[int, str] | None = None,
) -> Trace:
    """Runs a network once, in eval mode and without gradients, and notes what it does.

    Args:
        model: left as it is; each module's mode comes back.
        example: what to show it: one tensor, or a tuple of its arguments.
        measure: called before each operator with it and its arguments.
        names: of modules that are none of its submodules, by `id`.

    Returns:
        What it did.

    Raises:
        ValueError: where the network fails.
    """
    known = {id(module): name for name, module in model.named_modules()} | dict(names or {})
    recorder = _Recorder(known, measure)
    hooks = [
        register_module_forward_pre_hook(recorder.enter),
        register_module_forward_hook(recorder.leave, always_call=True),
    ]
    try:
        with evaluating(model), torch.no_grad(), recorder:
            result = model(*arguments_of(example))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        shapes = [tuple(a.shape) for a in arguments_of(example) if isinstance(a, Tensor)]
        raise ValueError(
            f"the network failed on an example of {', '.join(map(str, shapes))} ({reason}); give "
            "one that suits it: a tensor, or a tuple of all its arguments"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    recorder.finish(result)
    return recorder.trace


def arguments_of(example: Example) -> tuple[Any, ...]:
    """The arguments of a network.

    Raises:
        ValueError: for what is no tensor of one image at least, nor a tuple that begins with one.
    """
    given = example if isinstance(example, tuple) else (example,)
    first = given[0] if given else None
    if not isinstance(first, Tensor) or first.ndim == 0 or len(first) == 0:
        got = tuple(first.shape) if isinstance(first, Tensor) else type(example).__name__
        raise ValueError(
            "expected an example (B, C, H, W) with B >= 1, or a tuple that begins with one, got "
            f"{got}"
        )
    return given


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

    def __init__(self, names: Mapping[int, str], measure: Measure | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._names = names
        self._measure = measure
        self._values: dict[int, int] = {}  # by the tensor's id
        self._alive: list[Any] = []  # so that no id is used again
        self._stack: list[tuple[str, int]] = []
        self._open: list[Call] = []
        self._counts: Counter[str] = Counter()

    def enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        # One that is made on the way, or kept in a list, counts as its caller's own work.
        name = self._names.get(id(module))
        call = Call(self._stack[-1][0] if self._stack else "") if name is None else Call(name)
        if name is not None:
            self._counts[name] += 1
            if arguments and isinstance(arguments[0], Tensor):
                call.given, call.input = arguments[0], self._value(arguments[0])
                call.alone = len(arguments) == 1
            self.trace.calls.append(call)
        self._stack.append((call.name, max(0, self._counts[call.name] - 1)))
        self._open.append(call)

    def leave(self, module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        self._stack.pop()
        call = self._open.pop()
        if isinstance(result, Tensor):
            call.output = self._value(result)

    def finish(self, result: Any) -> None:
        """Notes what the network returned."""
        leaves = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.trace.returned = {self._value(leaf) for leaf in leaves}
        self.trace.shapes = tree_map(
            lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else None, result
        )

    def _value(self, tensor: Tensor) -> int:
        """The number of what a tensor holds now."""
        if id(tensor) not in self._values:
            self._alive.append(tensor)
            self._values[id(tensor)] = len(self._alive)
        return self._values[id(tensor)]

    def _made(self, tensor: Tensor) -> int:
        """A new number: in place or not, what is written is a new value."""
        self._alive.append(tensor)
        self._values[id(tensor)] = len(self._alive)
        return len(self._alive)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        measured = self._measure(function, args, kwargs) if self._measure else None
        leaves = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        inputs = tuple(self._value(tensor) for tensor in leaves)
        shape = tuple(leaves[0].shape) if leaves else ()
        result = function(*args, **kwargs)
        made, *besides = result if isinstance(result, tuple | list) and result else [result]
        if isinstance(made, Tensor):
            number = self._made(made)
            self.trace.steps.append(
                Step(
                    function.overloadpacket,
                    (None, *args[1:]) if args and isinstance(args[0], Tensor) else tuple(args),
                    inputs,
                    number,
                    (shape, tuple(made.shape)),
                    tuple(self._stack),
                    measured,
                    tuple(self._made(one) for one in besides if isinstance(one, Tensor)),
                )
            )
        return result
