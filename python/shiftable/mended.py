"""A mended network on disk: its weights, and what was done to which network."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_FORMAT = "shiftable mended network 1"


@dataclass(frozen=True)
class Mended:
    """What is stored.

    Args:
        model: the network's name, as `shiftable.models.load` takes it.
        size: (h, w) of its input, pixels.
        antialias: the keyword arguments of `shiftable.antialias`.
        state: its state dict.
        mean: of its preprocessing, where it was given.
        std: of its preprocessing, where it was given.
        recipe: of its recovery; empty without one.
    """

    model: str
    size: tuple[int, int]
    antialias: Mapping[str, Any]
    state: Mapping[str, Tensor]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


def save(mended: Mended, path: Path) -> None:
    """Writes the file beside its place, then moves it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save({"format": _FORMAT, **asdict(mended)}, partial)
    partial.replace(path)


def read(path: Path) -> Mended | None:
    """Returns what a file holds; None where it is of another kind.

    Only tensors and plain values are read, so that no file can run code.

    Raises:
        ValueError: for a file of this kind that cannot be read.
    """
    if not _is_pickled(path):
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # what it is, who reads it otherwise will say
        return None
    if not isinstance(stored, dict) or stored.pop("format", None) != _FORMAT:
        return None
    try:
        return Mended(**stored)
    except TypeError as error:
        raise ValueError(f"cannot read {path} as a mended network ({error})") from error


def _is_pickled(path: Path) -> bool:
    """Whether this is an archive of torch.save, and not TorchScript or torch.export."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inside = {name.partition("/")[2] for name in names}
    return "data.pkl" in inside and "constants.pkl" not in inside
