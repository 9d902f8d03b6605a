"""Measure, explain and mend the shift-variance of vision networks."""

import torch as _torch

from shiftable import filters, functional, nn

__all__ = ["filters", "functional", "nn"]
