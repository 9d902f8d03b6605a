"""What the layers of networks do to a shift, against their depth."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shiftable.figures.lines import Panel, lines_figure
from shiftable.intervals import Estimate
from shiftable.layers import Explained
from shiftable.layers.equivariance import Layer
from shiftable.layers.explained import operations_by_layer


def depth_figure(networks: Mapping[str, Explained], path: Path, *, title: str = "") -> None:
    """Draws what layers do to a shift against their depth, several networks in one figure.

    Of the layers of one depth the last is drawn, behind its activation where that is a module, and
    those that lower resolution; of their parts of the Lie derivative the greatest.

    Args:
        networks: by the name that the legend gives each.
        path: where to write, a PNG or an SVG.
        title: of the figure.

    Raises:
        ValueError: if there is nothing to draw.
    """
    measured = {
        "aliasing: between the pixels of the grid, circular padding": (
            _circular,
            Layer.sub_grid_mean,
        ),
        "borders: on the grid, the network's own padding": (_own, Layer.on_grid_mean),
        "both: between the pixels of the grid, own padding": (_own, Layer.sub_grid_mean),
    }
    panels = [
        Panel(
            "relative error",
            {name: _points(layers(one), value) for name, one in networks.items()},
            share=False,
            title=what,
        )
        for what, (layers, value) in measured.items()
    ]
    panels += [
        Panel(
            "share of energy above the new limit",
            {name: _shares(one) for name, one in networks.items()},
            title="what aliases at each operation that lowers resolution",
        ),
        Panel(
            "change of all probabilities for a pixel",
            {name: _lie(one) for name, one in networks.items()},
            share=False,
            title="what a layer adds to the output's change (Lie derivative)",
        ),
    ]
    xlabel = "depth (convolutions and matrix products passed)"
    lines_figure(panels, xlabel, path, title=title, columns=2)


def _own(one: Explained) -> list[Layer]:
    return one.own


def _circular(one: Explained) -> list[Layer]:
    return one.circular


def _points(
    layers: Sequence[Layer], value: Callable[[Layer], Estimate]
) -> list[tuple[float, Estimate]]:
    last = {layer.depth: layer for layer in layers}
    kept = [one for one in layers if one is last[one.depth] or one.lowers]
    return [(one.depth, value(one)) for one in sorted(kept, key=lambda one: one.depth)]


def _shares(one: Explained) -> list[tuple[float, Estimate]]:
    """Of the operations that are layers, a point each."""
    operations = operations_by_layer(one)
    found = []
    for layer in one.own:
        operation = operations.get((layer.name, layer.call))
        if operation is not None and operation.aliasing_share is not None:
            found.append((layer.depth, Estimate(operation.aliasing_share, None, None, 0)))
    return sorted(found, key=lambda point: point[0])


def _lie(one: Explained) -> list[tuple[float, Estimate]]:
    """Of the layers of one depth the one that adds most."""
    most: dict[int, Estimate] = {}
    for layer in [] if one.lie is None else one.lie.layers:
        found = layer.mean()
        before = most.get(layer.depth)
        if before is None or (found.value or 0) > (before.value or 0):
            most[layer.depth] = found
    return [(depth, most[depth]) for depth in sorted(most)]
