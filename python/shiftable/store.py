"""A run on disk: a manifest and one Parquet table a sweep; nothing in it depends on the clock."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shiftable.outcome import PER_SHIFT, Outcome
from shiftable.sweep import Sweep

FORMAT = 1
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Run:
    """A stored run.

    Args:
        manifest: what was run on what: model, preprocessing, versions.
        outcomes: by the name of their sweep, in the order in which they ran.
    """

    manifest: Mapping[str, Any]
    outcomes: Mapping[str, Outcome]


def create(path: Path, manifest: Mapping[str, Any]) -> None:
    """Makes a new run directory.

    Raises:
        ValueError: if something is there already.
    """
    refuse_existing(path)
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {path}: {error.strerror}") from error
    _write_manifest(path, {"format": FORMAT, **manifest, "sweeps": []})


@contextmanager
def creating(path: Path, manifest: Mapping[str, Any]) -> Iterator[None]:
    """Makes a run directory at once, so that it is nobody else's, and takes it back on failure.

    What was added to it before the failure stays, and the directory with it.
    """
    create(path, manifest)
    try:
        yield
    except BaseException:
        if not _read_manifest(path)["sweeps"]:
            (path / _MANIFEST).unlink()
            path.rmdir()
        raise


def refuse_existing(path: Path) -> None:
    """Raises ValueError if something is at `path`; nothing there is ever overwritten."""
    if path.exists():
        raise ValueError(f"{path} exists; name a new folder, or move that one away")


def add(
    path: Path, name: str, outcome: Outcome, *, images: Mapping[str, Any] | None = None
) -> None:
    """Adds a sweep's outcome to a run: the table first, then its line in the manifest.

    `images` says which were shown, for the manifest.
    """
    manifest = _read_manifest(path)
    if any(entry["name"] == name for entry in manifest["sweeps"]):
        raise ValueError(f"{path} already holds a sweep '{name}'")
    file = f"{name}.parquet"
    with _replacing(path / file) as partial:
        pq.write_table(_table(outcome), partial, compression="zstd")
    entry = {"name": name, "file": file, "digest": outcome.sweep.digest, "images": images}
    manifest["sweeps"].append({**entry, "sweep": outcome.sweep.to_dict()})
    _write_manifest(path, manifest)


def load(path: Path) -> Run:
    """Reads a run back.

    Raises:
        ValueError: if there is none, or it is of another format or damaged.
    """
    manifest = _read_manifest(path)
    try:
        outcomes = {entry["name"]: _read(path, entry) for entry in manifest["sweeps"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged, {type(error).__name__} at {error}") from error
    return Run(manifest, outcomes)


def _read(path: Path, entry: Mapping[str, Any]) -> Outcome:
    sweep = Sweep.from_dict(entry["sweep"])
    if sweep.digest != entry["digest"]:
        raise ValueError(f"{path}: the sweep '{entry['name']}' does not match its digest")
    try:
        table = pq.read_table(path / entry["file"])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot read {entry['file']}: {error}") from error
    try:
        return _outcome(sweep, table)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: {entry['file']} is damaged: {error}") from error


def _table(outcome: Outcome) -> pa.Table:
    """One row an (image, shift), in order; what is unknown is null."""
    count, shifts = outcome.predictions.shape
    moves = [outcome.sweep.plan.shifts_for(image) for image in range(count)]
    dy, dx = np.concatenate(moves).T
    labels = np.repeat(outcome.labels, shifts)
    columns: dict[str, pa.Array] = {
        "image": pa.array(np.repeat(np.array(outcome.names), shifts)).dictionary_encode(),
        "label": pa.array(labels, pa.int32(), mask=labels < 0),
        "dy": pa.array(dy, pa.int32()),
        "dx": pa.array(dx, pa.int32()),
    }
    for name in PER_SHIFT:
        values = getattr(outcome, name)
        kind = pa.float32() if values.dtype.kind == "f" else pa.int32()
        column = pa.array(values.reshape(-1), kind, from_pandas=True)  # NaN becomes null
        if values.ndim == 3:
            column = pa.FixedSizeListArray.from_arrays(column, values.shape[2])
        columns[name] = column
    return pa.table(columns)


def _outcome(sweep: Sweep, table: pa.Table) -> Outcome:
    shifts = len(sweep.plan)

    def column(name: str) -> pa.Array:
        return table[name].combine_chunks()

    if table.num_rows == 0 or table.num_rows % shifts:
        raise ValueError(f"expected {shifts} rows an image, got {table.num_rows} rows in all")
    every = column("image").to_pylist()
    names = every[::shifts]
    moves = np.concatenate([sweep.plan.shifts_for(image) for image in range(len(names))])
    found = np.stack([column("dy").to_numpy(), column("dx").to_numpy()], axis=1)
    if every != [name for name in names for _ in range(shifts)] or (found != moves).any():
        raise ValueError("its rows are not those of the plan, in order")
    labels = column("label").fill_null(-1).to_numpy(zero_copy_only=False)[::shifts]
    fields = {}
    for name in PER_SHIFT:
        values = column(name)
        width: tuple[int, ...] = ()
        if pa.types.is_fixed_size_list(values.type):
            width, values = (values.type.list_size,), values.values
        plain = values.to_numpy(zero_copy_only=False).reshape(len(names), shifts, *width)
        fields[name] = plain.astype(np.int64) if plain.dtype.kind == "i" else plain
    return Outcome(sweep=sweep, names=tuple(names), labels=labels.astype(np.int64), **fields)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / _MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a run: cannot read its {_MANIFEST} ({error})") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: expected a manifest of format {FORMAT}, got {found}")
    return manifest


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=1)
    # A list of numbers, such as a shift, stays on one line.
    text = re.sub(r"\[[\s\d.,e+-]+\]", lambda numbers: " ".join(numbers[0].split()), text)
    with _replacing(path / _MANIFEST) as partial:
        partial.write_text(text + "\n")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Writes a file whole or not at all: to a neighbour first, which then takes its name."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
