"""Measure, explain and mend the shift-variance of vision networks."""

import torch as _torch

from shiftable import filters, functional, nn
from shiftable.sweep import Sweep, diagonal, grid, line, random_pairs

__all__ = ["Sweep", "diagonal", "filters", "functional", "grid", "line", "nn", "random_pairs"]
