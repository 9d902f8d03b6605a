"""Measure, explain and mend the shift-variance of vision networks."""

from shiftable import filters, functional, metrics, nn
from shiftable.allocator import tune_allocator
from shiftable.evaluate import evaluate
from shiftable.outcome import Outcome
from shiftable.sweep import Sweep, diagonal, grid, line, random_pairs

__all__ = [
    "Outcome",
    "Sweep",
    "diagonal",
    "evaluate",
    "filters",
    "functional",
    "grid",
    "line",
    "metrics",
    "nn",
    "random_pairs",
    "tune_allocator",
]
