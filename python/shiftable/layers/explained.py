"""All that is measured of a network's layers, together."""

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn

from shiftable.convert import StridedOperation, strided_operations
from shiftable.engine import device_of, dtype_of
from shiftable.layers.equivariance import Layer, known_mean, layer_equivariance
from shiftable.layers.found import count_calls, enclosing, find_layers
from shiftable.layers.lie import LieByLayer, lie_by_layer
from shiftable.layers.windows import Colour, windows

_SHOWN = (
    64  # images that aliasing shares are of, at most: they hardly differ, and all are in memory
)


@dataclass(frozen=True, eq=False)
class Explained:
    """What the layers of one network do to a shift.

    Args:
        own: errors with the network's own padding: on the grid, what its borders do; between, borders
            and aliasing.
        circular: errors with circular padding: between the grid, aliasing alone.
        operations: what lowers resolution, with the share of energy that aliases there, over the
            first 64 images.
        lie: what each layer adds to the change of the output; None where that was not asked for.
        left_out: calls of modules that might be layers, whose maps are of one pixel, of another
            layout, or of no whole stride.
    """

    own: list[Layer]
    circular: list[Layer]
    operations: list[StridedOperation]
    lie: LieByLayer | None
    left_out: int


def explain(
    model: nn.Module,
    images: Sequence[Tensor],
    size: tuple[int, int],
    *,
    phases: int = 4,
    probes: int | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
    batch: int = 4,
    progress: Callable[[int], object] | None = None,
) -> Explained:
    """Measures what the layers of a network do to a shift, in every way that is known here.

    Args:
        model: as in `layer_equivariance`.
        images: N images `(C, H, W)`, uint8 or floating, larger than `size` by the network's total
            stride (`total_stride`) at least.
        size: (h, w) of the network's input, pixels.
        phases: as in `layer_equivariance`.
        probes: as in `lie_by_layer`; None leaves that out, which takes most of the time.
        scale: factor that turns a pixel into the network's input, one value or one a channel.
        bias: term added after the factor.
        batch: images in a forward pass, >= 1.
        progress: called with the number of images just done, of two passes over them, or three.

    Raises:
        ValueError: as these do.
    """
    pixels: dict[str, Any] = {"scale": scale, "bias": bias}
    how: dict[str, Any] = {**pixels, "batch": batch, "progress": progress}
    own, circular = (
        layer_equivariance(model, images, size, padding=padding, phases=phases, **how)
        for padding in ("own", "circular")
    )
    # So many at a time as a trace takes, and not all images as floats at once.
    operations = strided_operations(model, windows(model, images[:_SHOWN], size, **pixels))
    lie = None if probes is None else lie_by_layer(model, images, size, probes=probes, **how)
    calls = count_calls(model, windows(model, images[:1], size, **pixels))
    return Explained(own, circular, operations, lie, calls - len(own))


def total_stride(model: nn.Module, size: tuple[int, int], channels: int = 3) -> tuple[int, int]:
    """Returns the least shift (vertical, horizontal) in pixels that is on the grid of every layer.

    Args:
        model: takes `(1, channels, h, w)`.
        size: (h, w) of its input, pixels.
        channels: of its input.

    Raises:
        ValueError: where the network fails.

    Examples:
        >>> total_stride(torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3, 2), torch.nn.MaxPool2d(2)), (9, 9))
        (4, 4)
    """
    place, dtype = device_of(model), dtype_of(model)
    layers = find_layers(model, torch.zeros(1, channels, *size, device=place, dtype=dtype))
    maps = [one for one in layers if min(one.size) > 1]
    vertical, horizontal = (lcm(*(one.grid[axis] for one in maps)) for axis in (0, 1))
    return vertical, horizontal


def rows(found: Explained) -> list[dict[str, Any]]:
    """One row a layer, in the order of the forward pass, ready for JSON.

    Values that are means over images have an interval; null is what cannot be had.
    """
    lie = {} if found.lie is None else {(one.name, one.call): one for one in found.lie.layers}
    circular = {(one.name, one.call): one for one in found.circular}
    operations = operations_by_layer(found)
    listed = []
    for layer in found.own:
        key = layer.name, layer.call
        wrapped, operation = circular.get(key), operations.get(key)
        listed.append(
            {
                **_about(layer),
                "aliasing_share": None if operation is None else operation.aliasing_share,
                "blurred": None if operation is None else operation.blurred,
                "borders": asdict(layer.on_grid_mean()),
                "aliasing": None if wrapped is None else asdict(wrapped.sub_grid_mean()),
                "aliasing_by_phase": {} if wrapped is None else _by_phase(wrapped),
                "circular_on_grid": None if wrapped is None else asdict(wrapped.on_grid_mean()),
                "both": asdict(layer.sub_grid_mean()),
                "lie": asdict(lie[key].mean()) if key in lie else None,
            }
        )
    return listed


def operations_by_layer(found: Explained) -> dict[tuple[str, int], StridedOperation]:
    """The operations that lower resolution, by the name and call of the layer that each is in."""
    names = {layer.name for layer in found.own}
    return {_layer_of(one, names): one for one in found.operations}


def elsewhere(found: Explained) -> list[StridedOperation]:
    """The operations that are in no layer: calls of functions, slices, maps that are no (N, C, H, W)."""
    names = {layer.name for layer in found.own}
    known = {(layer.name, layer.call) for layer in found.own}
    return [one for one in found.operations if _layer_of(one, names) not in known]


def _layer_of(operation: StridedOperation, names: Container[str]) -> tuple[str, int]:
    own = operation.name in names
    name = operation.name if own else enclosing(operation.name, names) or operation.name
    return name, operation.call


def _about(layer: Layer) -> dict[str, Any]:
    names = ("name", "call", "kind", "depth", "stride", "grid", "size", "channels", "reads")
    return {name: getattr(layer, name) for name in names}


def _by_phase(layer: Layer) -> dict[str, float | None]:
    return {
        f"{phase:g}": known_mean(errors).value
        for phase, errors in zip(layer.phases, layer.sub_grid, strict=True)
    }
