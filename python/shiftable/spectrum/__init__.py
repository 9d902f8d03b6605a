"""Spectra of images and maps, and what a step that lowers resolution does to them."""

from shiftable.spectrum.downsampling import NAMES, Downsampled, downsampled
from shiftable.spectrum.energy import (
    aliasing_share,
    energy_spectrum,
    frequencies,
    log_magnitude,
    radial_average,
)

__all__ = [
    "NAMES",
    "Downsampled",
    "aliasing_share",
    "downsampled",
    "energy_spectrum",
    "frequencies",
    "log_magnitude",
    "radial_average",
]
