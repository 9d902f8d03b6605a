"""Measure, explain and mend the shift-variance of vision networks."""

from shiftable import compat, filters, functional, metrics, nn, spectrum
from shiftable.allocator import tune_allocator
from shiftable.convert import antialias, strided_operations, undo_antialias
from shiftable.evaluate import evaluate
from shiftable.outcome import Outcome
from shiftable.plain import plain_operators
from shiftable.plan import (
    by_image,
    diagonal,
    grid,
    line,
    listed,
    random_groups,
    random_pairs,
    sizes,
)
from shiftable.recover import recover
from shiftable.sweep import Sweep
from shiftable.views import Recipe

__all__ = [
    "Outcome",
    "Recipe",
    "Sweep",
    "antialias",
    "by_image",
    "compat",
    "diagonal",
    "evaluate",
    "filters",
    "functional",
    "grid",
    "line",
    "listed",
    "metrics",
    "nn",
    "plain_operators",
    "random_groups",
    "random_pairs",
    "recover",
    "sizes",
    "spectrum",
    "strided_operations",
    "tune_allocator",
    "undo_antialias",
]
