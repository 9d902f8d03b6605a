"""The layers of a network, found by running it: how deep each is, and how many pixels a step of its map is."""

from collections.abc import Container
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from shiftable.convert.placement import BLUR, blurs
from shiftable.convert.trace import Trace, trace
from shiftable.layers.followed import MAP, axes_of, followed
from shiftable.nn import IdealDownsample2d

_WHOLE = (_ConvNd, _NormBase)  # layers whatever is within: a padding, an activation


@dataclass(frozen=True)
class Found:
    """A layer: one call of a convolution or norm, or of a module that has none within.

    Args:
        name: of the module.
        call: which call of it, from 0.
        kind: the module's class.
        depth: convolutions and matrix products on the longest way to it, its own included.
        stride: input pixels for a pixel of the map that it writes, (vertical, horizontal).
        grid: the least shift that is a whole number of pixels in every map before, and in its own:
            its stride, but for maps that were made larger again.
        size: of that map, pixels.
        channels: of that map.
        reads: as `stride`, of the map that it reads.
        alone: whether that map is all that it is given.
    """

    name: str
    call: int
    kind: str
    depth: int
    stride: tuple[int, int]
    grid: tuple[int, int]
    size: tuple[int, int]
    channels: int
    reads: tuple[int, int]
    alone: bool

    @property
    def lowers(self) -> bool:
        """Whether it lowers resolution."""
        return any(own > read for own, read in zip(self.stride, self.reads, strict=True))


def find_layers(model: nn.Module, window: Tensor) -> list[Found]:
    """Lists the layers of a network that read and write maps (N, C, H, W), in order.

    Left out are those that write what they read, and those of maps whose pixels are no whole number
    of the input's.

    Args:
        model: any network; left as it is.
        window: `(1, C, h, w)`, what it is shown.

    Raises:
        ValueError: where the network fails.
    """
    known = layer_modules(model)
    found = trace(model, window, names=blurs(model))
    resized = _known_strides(found, known)
    axes = axes_of(found, resized)
    strides, grids, depths = followed(found, resized, axes)
    shapes = {step.output: step.shapes[1] for step in found.steps}
    layers, calls = [], dict.fromkeys(known, 0)
    for call in found.calls:
        if call.name not in known:
            continue
        number, calls[call.name] = calls[call.name], calls[call.name] + 1
        shape = () if call.output is None else shapes.get(call.output, ())
        read = () if call.given is None else call.given.shape
        if call.output is None or call.input is None or call.output == call.input:
            continue
        steps = (*strides.get(call.input, (1.0, 1.0)), *strides.get(call.output, (1.0, 1.0)))
        if len(shape) != 4 or len(read) != 4 or any(step != int(step) for step in steps):
            continue
        if len(shape) and shape[0] != len(window):
            continue  # windows of attention, one behind the other
        if not axes.get(call.input, MAP) == axes.get(call.output, MAP) == MAP:
            continue  # (N, H, W, C), or tokens
        rows, columns, own_rows, own_columns = map(int, steps)
        layers.append(
            Found(
                call.name, number, type(known[call.name]).__name__, depths[call.output],
                (own_rows, own_columns), grids[call.output], (shape[2], shape[3]), shape[1],
                (rows, columns), call.alone,
            )
        )  # fmt: skip
    return layers


def count_calls(model: nn.Module, window: Tensor) -> int:
    """Returns how many calls of modules that may be layers read and write four axes.

    Those that do nothing do not count, nor those whose last two axes are one pixel.

    Args:
        model: any network; left as it is.
        window: `(1, C, h, w)`, what it is shown.
    """
    known = layer_modules(model)
    found = trace(model, window, names=blurs(model))
    shapes = {step.output: step.shapes[1] for step in found.steps}
    return sum(
        call.name in known
        and call.output != call.input
        and call.given is not None
        and call.given.ndim == 4
        and len(shapes.get(call.output or 0, ())) == 4
        and min(shapes[call.output or 0][2:]) > 1
        for call in found.calls
    )


def layer_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that may be layers, by name; none is within another.

    The blurs that are hooks are among them.
    """
    hooked = blurs(model)
    every = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _WHOLE) or not [*module.children()]
    }
    for module in model.modules():
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            blur = getattr(hook, "blur", None)
            if isinstance(blur, nn.Module) and id(blur) in hooked:
                every[hooked[id(blur)]] = blur
    return {name: module for name, module in every.items() if enclosing(name, every) is None}


def enclosing(name: str, layers: Container[str]) -> str | None:
    """The layer that a module is within; a hook of a module runs around it, not within."""
    parts = name.removesuffix(BLUR).strip().split(".")
    above = (".".join(parts[:end]) for end in range(1, len(parts)))
    return next((outer for outer in above if outer in layers), None)


def _known_strides(
    found: Trace, modules: dict[str, nn.Module]
) -> dict[int, tuple[int, tuple[int, int]]]:
    """What is a matrix product below: of a value that it made, what it read and its stride."""
    known = {}
    for call in found.calls:
        module = modules.get(call.name)
        whole = call.output is not None and call.input is not None
        if isinstance(module, IdealDownsample2d) and whole:
            vertical, horizontal = module.stride
            known[call.output] = call.input, (vertical, horizontal)
    return known  # type: ignore[return-value]
