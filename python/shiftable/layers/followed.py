"""What becomes of an image's axes, step by step: their order, their strides, and how deep each value is."""

from collections.abc import Container
from math import lcm

from shiftable.convert.operations import describe
from shiftable.convert.trace import Step, Trace, aten

_DEEPER = (aten.convolution, aten.addmm, aten.mm, aten.linear)
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
MAP = (0, 1, 2, 3)
Axes = tuple[int, ...]


def axes_of(found: Trace, maps: Container[int]) -> dict[int, Axes | None]:
    """Of every value, which axis of a map (N, C, H, W) each of its own is; None for what is none."""
    axes: dict[int, Axes | None] = {}
    last: dict[int, tuple[Axes, tuple[int, ...]]] = {}  # of the map that a value was made of
    for step in found.steps:
        read = next((value for value in step.inputs if value in axes), None)
        before, (given, shape) = MAP if read is None else axes[read], step.shapes
        own: Axes | None = None
        if len(shape) == 4:
            if step.operator in _SPATIAL or step.output in maps:
                own = MAP
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
                swapped = [*MAP]
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
                last[value] = MAP, given
    return axes


def followed(
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
        order = axes.get(step.inputs[0], MAP)
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
