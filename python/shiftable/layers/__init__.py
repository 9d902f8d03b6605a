"""What each layer of a network does to a shift."""

from shiftable.layers.circular import CircularPadding
from shiftable.layers.equivariance import Layer, layer_equivariance
from shiftable.layers.explained import Explained, elsewhere, explain, rows, total_stride
from shiftable.layers.lie import LayerLie, LieByLayer, lie_by_layer

__all__ = [
    "CircularPadding",
    "Explained",
    "Layer",
    "LayerLie",
    "LieByLayer",
    "elsewhere",
    "explain",
    "layer_equivariance",
    "lie_by_layer",
    "rows",
    "total_stride",
]
