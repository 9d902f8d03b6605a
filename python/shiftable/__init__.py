"""Measure, explain and mend the shift-variance of vision networks."""

import torch as _torch

from shiftable import _ops as _ops
from shiftable import functional as functional
