"""Measure, explain and mend the shift-variance of vision networks."""

from shiftable import compat, filters, functional, metrics, nn
from shiftable.allocator import tune_allocator
from shiftable.evaluate import evaluate
from shiftable.outcome import Outcome
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
from shiftable.sweep import Sweep

__all__ = [
    "Outcome",
    "Sweep",
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
    "random_groups",
    "random_pairs",
    "sizes",
    "tune_allocator",
]
