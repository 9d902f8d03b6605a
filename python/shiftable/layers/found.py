"""The layers of a network, found by running it: how deep each is, and how many pixels a step of its map is."""

from collections.abc import Container
from dataclasses import dataclass
from math import lcm

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from shiftable.convert.operations import describe
from shiftable.convert.placement import BLUR, blurs
from shiftable.convert.trace import Step, Trace, aten, trace
from shiftable.nn import IdealDownsample2d

_DEEPER = (aten.convolution, aten.addmm, aten.mm, aten.linear)
_WHOLE = (_ConvNd, _NormBase)  # layers whatever is within: a padding, an activation
_RAISING = (
    aten.upsample_nearest2d, aten._upsample_nearest_exact2d, aten.upsample_bilinear2d,
    aten.upsample_bicubic2d, aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa,
    aten.pixel_shuffle, aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d,
)  # fmt: skip
# What takes its axes to be (N, C, H, W), and writes such.
_SPATIAL = (
    aten.convolution, aten.max_pool2d_with_indices, aten.max_pool2d, aten.avg_pool2d,
    aten.adaptive_max_pool2d, *_RAISING,
)  # fmt: skip
_VIEWS = (aten.view, aten._unsafe_view, aten.reshape, aten.unflatten)
_MAP = (0, 1, 2, 3)
Axes = tuple[int, ...]


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
    axes = _axes(found, resized)
    strides, grids, depths = _followed(found, resized, axes)
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
        if not axes.get(call.input, _MAP) == axes.get(call.output, _MAP) == _MAP:
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


def _axes(found: Trace, maps: Container[int]) -> dict[int, Axes | None]:
    """Of every value, which axis of a map (N, C, H, W) each of its own is; None for what is none."""
    axes: dict[int, Axes | None] = {}
    last: dict[int, tuple[Axes, tuple[int, ...]]] = {}  # of the map that a value was made of
    for step in found.steps:
        read = next((value for value in step.inputs if value in axes), None)
        before, (given, shape) = _MAP if read is None else axes[read], step.shapes
        own: Axes | None = None
        if len(shape) == 4:
            if step.operator in _SPATIAL or step.output in maps:
                own = _MAP
            elif len(given) != 4 or (step.operator in _VIEWS and given != shape):
                # Back from tokens, windows or groups of channels: what it was, if it fits.
                was = last.get(-1 if read is None else read)
                if was is not None and all(
                    n == m for n, m, axis in zip(shape, was[1], was[0], strict=True) if axis != 1
                ):
                    own = was[0]
            elif before is not None and step.operator is aten.permute:
                own = tuple(before[axis] for axis in step.arguments[1])
            elif before is not None and step.operator is aten.transpose:
                swapped = [*_MAP]
                one, other = (axis % 4 for axis in step.arguments[1:3])
                swapped[one], swapped[other] = other, one
                own = tuple(before[axis] for axis in swapped)
            else:
                own = before
        for value in (step.output, *step.others):
            axes[value] = own
            if own is not None:
                last[value] = own, shape
            elif read in last:
                last[value] = last[read]
            elif read is None and len(given) == 4:
                last[value] = _MAP, given
    return axes


def _followed(
    found: Trace,
    known: dict[int, tuple[int, tuple[int, int]]],
    axes: dict[int, Axes | None],
) -> tuple[dict[int, tuple[float, float]], dict[int, tuple[int, int]], dict[int, int]]:
    """Of every value: input pixels for one of its pixels by axis, its grid, and how deep it is."""
    strides: dict[int, tuple[float, float]] = {}
    grids: dict[int, tuple[int, int]] = {}
    depths: dict[int, int] = {}
    for step in found.steps:
        own: tuple[float, float] = _stride(step, axes)
        inputs = step.inputs
        if step.output in known:
            read, own = known[step.output]
            inputs = (read,)
        # Weights have none; what a step is first given is the image.
        before = [strides[value] for value in inputs if value in strides] or [(1.0, 1.0)]
        longest = [max(axis) for axis in zip(*before, strict=True)]
        stride = longest[0] * own[0], longest[1] * own[1]
        passed = [grids[value] for value in inputs if value in grids]
        vertical, horizontal = (
            lcm(*(grid[axis] for grid in passed), max(1, round(stride[axis]))) for axis in (0, 1)
        )
        # In place, a value may be written that was read: it is another one afterwards.
        for value in (step.output, *step.others):
            strides[value], grids[value] = stride, (vertical, horizontal)
        deepest = max((depths.get(value, 0) for value in step.inputs), default=0)
        for value in (step.output, *step.others):
            depths[value] = deepest + (step.operator in _DEEPER)
    return strides, grids, depths


def _stride(step: Step, axes: dict[int, Axes | None]) -> tuple[float, float]:
    """By how much a step lowers resolution, below 1 where it raises it."""
    if step.operator is aten.slice and len(step.arguments) > 4:
        order = axes.get(step.inputs[0], _MAP)
        axis = step.arguments[1] % len(step.shapes[0])
        if order is None or len(step.shapes[0]) != 4 or order[axis] < 2:
            return 1.0, 1.0
        every = float(step.arguments[4])
        return (every, 1.0) if order[axis] == 2 else (1.0, every)
    described = describe(step)
    if described is not None and len(described[1]) == 2:
        return float(described[1][0]), float(described[1][1])
    before, after = step.shapes
    if step.operator is aten.convolution and step.arguments[6] and len(after) == 4:
        stride = [*step.arguments[3], *step.arguments[3]]
        return 1 / stride[0], 1 / stride[1]
    if step.operator in _RAISING and len(before) == len(after) == 4 and after[2] > before[2]:
        return before[2] / after[2], before[3] / after[3]
    return 1.0, 1.0
