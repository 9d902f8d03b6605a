"""A run on disk: a manifest, and for each sweep Parquet parts of a fixed number of images.

The manifest is written once, before the first part, and never changes. A part is written whole or
not at all. So a run that was stopped at any moment goes on from the parts that are missing, and ends
with the same bytes. Nothing in it depends on the clock.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shiftable.outcome import PER_SHIFT, Outcome, joined
from shiftable.sweep import Sweep

FORMAT = 2
_MANIFEST = "manifest.json"
_METADATA = b"shiftable"
_HASHES = ("digest", "identity", "weights", "code")
_SOURCES = "sources"  # where the photographs were: they may be moved, and are the same
_ROWS = 16_384  # of a part, about; what is lost when a run is killed


def part_images(images: int, shifts: int) -> int:
    """Images of a part: about 16384 rows, and an eighth of the images at most."""
    return max(1, min(_ROWS // shifts, -(-images // 8)))


@dataclass(frozen=True)
class StoredSweep:
    """One sweep of a run, and its parts.

    Args:
        run: the run's folder.
        entry: its entry in the manifest.
    """

    run: Path
    entry: Mapping[str, Any]

    @cached_property
    def sweep(self) -> Sweep:
        """What was shown."""
        sweep = Sweep.from_dict(self.entry["sweep"])
        if sweep.digest != self.entry["digest"]:
            raise ValueError(f"{self.run}: the sweep '{self.name}' does not match its digest")
        return sweep

    @property
    def name(self) -> str:
        """Its name, which is its folder's."""
        return str(self.entry["name"])

    def __len__(self) -> int:
        """How many images."""
        return int(self.entry["images"]["count"])

    @property
    def parts(self) -> int:
        """How many parts there are when all is done."""
        return -(-len(self) // int(self.entry["part_images"]))

    def images_of(self, part: int) -> range:
        """The numbers of a part's images."""
        first = part * int(self.entry["part_images"])
        return range(first, min(len(self), first + int(self.entry["part_images"])))

    def path(self, part: int) -> Path:
        """Where a part is, or will be."""
        return self.run / self.name / f"part-{part:05}.parquet"

    def missing(self) -> list[int]:
        """The parts that are not there yet."""
        return [part for part in range(self.parts) if not self.path(part).exists()]

    def add(self, part: int, outcome: Outcome, pixels: str) -> None:
        """Writes a part; `pixels` is a hash of what its images looked like.

        Raises:
            ValueError: where it cannot be written; the parts before stay as they are.
        """
        about = {"sweep": self.entry["digest"], "part": part, "pixels": pixels}
        table = _table(outcome).replace_schema_metadata({_METADATA: json.dumps(about)})
        with replacing(self.path(part)) as partial:
            pq.write_table(table, partial, compression="zstd")

    def outcomes(self) -> Iterator[Outcome]:
        """Reads the parts back, one at a time, in order.

        Raises:
            ValueError: if one is missing or damaged.
        """
        if missing := self.missing():
            raise ValueError(
                f"{self.run}: '{self.name}' is not complete, {len(missing)} of {self.parts} parts "
                "are missing; run the same sweep command again to go on"
            )
        return (self._read(part) for part in range(self.parts))

    def outcome(self) -> Outcome:
        """All of it in memory."""
        return joined(list(self.outcomes()))

    def pixels(self) -> str:
        """A hash of the pixels of all images, as they were shown."""
        digest = hashlib.sha256()
        for part in range(self.parts):
            about = json.loads(pq.read_schema(self.path(part)).metadata[_METADATA])
            digest.update(about["pixels"].encode())
        return digest.hexdigest()

    def _read(self, part: int) -> Outcome:
        path = self.path(part)
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[_METADATA])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"cannot read {path}: {error}") from error
        if about["sweep"] != self.entry["digest"] or about["part"] != part:
            raise ValueError(f"{path} is damaged: it is another sweep's, or another part")
        try:
            return _outcome(self.sweep, table, self.images_of(part))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


@dataclass(frozen=True)
class Run:
    """A stored run.

    Args:
        path: its folder.
        manifest: what was run on what: model, preprocessing, settings, versions, sweeps, and, of
            runs by the command line, the sources of their photographs.
    """

    path: Path
    manifest: Mapping[str, Any]

    @cached_property
    def sweeps(self) -> dict[str, StoredSweep]:
        """Its sweeps by name, in the order in which they run."""
        return {entry["name"]: StoredSweep(self.path, entry) for entry in self.manifest["sweeps"]}

    def chosen(self, names: Sequence[str] = ()) -> list[StoredSweep]:
        """Returns the sweeps of these names, all by default, in the order in which they run.

        Raises:
            ValueError: for a name that it does not have.
        """
        for name in names:
            if name not in self.sweeps:
                raise ValueError(
                    f"no sweep '{name}' in {self.path}; it has {', '.join(self.sweeps)}"
                )
        return [sweep for name, sweep in self.sweeps.items() if not names or name in names]


def titles(paths: Sequence[Path]) -> list[str]:
    """Returns a short name for each run: its folder's, or its path where two are of one name.

    Examples:
        >>> titles([Path("runs/a"), Path("runs/b")]), titles([Path("one/a"), Path("two/a")])
        (['a', 'b'], ['one/a', 'two/a'])
    """
    folders = [path.resolve().name for path in paths]
    return folders if len(set(folders)) == len(paths) else [str(path) for path in paths]


def exists(path: Path) -> bool:
    """Whether there is a run at `path`.

    Raises:
        ValueError: if something else is there; nothing is ever overwritten.
    """
    if (path / _MANIFEST).exists():
        return True
    # What a process leaves that was killed before the manifest was there.
    begun = path.is_dir() and all(child.suffix == ".partial" for child in path.iterdir())
    if path.exists() and not begun:
        raise ValueError(f"{path} exists and is no run; name a new folder, or move that one away")
    return False


def begin(path: Path, manifest: Mapping[str, Any]) -> Run:
    """Makes a run directory, or opens the one that is there to go on with it.

    Raises:
        ValueError: if it cannot be made, or another run is there.
    """
    wanted = {"format": FORMAT, **json.loads(json.dumps(manifest))}
    if exists(path):
        run = load(path)
        _refuse_another(run, wanted)
    else:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {path}: {error.strerror}") from error
        _write_manifest(path, wanted)
        run = Run(path, wanted)
    for sweep in run.sweeps.values():
        (path / sweep.name).mkdir(exist_ok=True)
    return run


def clear(run: Run) -> None:
    """Removes what a process left that was killed as it wrote; others must be kept out."""
    for sweep in run.sweeps.values():
        for partial in (run.path / sweep.name).glob("*.partial"):
            partial.unlink()


def take_back(run: Run) -> None:
    """Removes a run of which no part is stored: a mistake leaves nothing behind."""
    if all(len(sweep.missing()) == sweep.parts for sweep in run.sweeps.values()):
        with contextlib.suppress(OSError):
            for sweep in run.sweeps.values():
                (run.path / sweep.name).rmdir()
            (run.path / _MANIFEST).unlink()
            run.path.rmdir()


def fingerprint(value: Any) -> str:
    """SHA-256 of anything that goes into JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _refuse_another(run: Run, wanted: Mapping[str, Any]) -> None:
    """A run is never mixed with another plan, model, setting or version."""
    for key, what in (("sweeps", "plan"), ("model", "model")):
        there, here = (fingerprint(manifest[key]) for manifest in (run.manifest, wanted))
        if there != here:
            detail = first_difference(run.manifest[key], wanted[key])
            raise ValueError(
                f"{run.path} holds a run of another {what}: {there[:16]} there, {here[:16]} here "
                f"({detail}); name a new folder, or repeat that run's own command"
            )
    stored, asked = (
        {key: value for key, value in manifest.items() if key != _SOURCES}
        for manifest in (run.manifest, wanted)
    )
    if stored != asked:
        raise ValueError(
            f"{run.path} was begun otherwise ({first_difference(stored, asked)}), so its "
            "parts would not match; name a new folder, or go on as it was begun"
        )


def first_difference(there: Any, here: Any, where: str = "") -> str:
    """Says where two manifests, or parts of them, differ first, and how."""
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        # A digest says that something differs, what it is made from says what.
        for key in sorted({*there, *here}, key=lambda key: (key in _HASHES, str(key))):
            if there.get(key) != here.get(key):
                return first_difference(there.get(key), here.get(key), f"{where}.{key}".strip("."))
    short = [
        text if len(text := str(value)) <= 50 else f"{text[:20]}...{text[-20:]}"
        for value in (there, here)
    ]
    return f"{where}: {short[0]} there, {short[1]} here"


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keeps other processes out of a run directory while this one writes to it.

    Raises:
        ValueError: if another process writes to it.
    """
    # The manifest, which is never written again; for writing, as locks over a network want it.
    manifest = os.open(path / _MANIFEST, os.O_RDWR)
    try:
        try:
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise ValueError(f"another process is writing to {path}; wait for it") from error
            # A file system without locks: then it is up to the user.
        yield
    finally:
        os.close(manifest)


def load(path: str | Path) -> Run:
    """Opens a stored run; its parts are read when they are asked for.

    Raises:
        ValueError: if there is none, or it is of another format or damaged.
    """
    path = Path(path)
    run = Run(path, _read_manifest(path))
    try:
        _ = [run.manifest[key] for key in ("model", "settings", "lower_precision")]
        for sweep in run.sweeps.values():
            _ = sweep.sweep, sweep.parts
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged, {type(error).__name__} at {error}") from error
    return run


def _table(outcome: Outcome) -> pa.Table:
    """One row an (image, shift), in order; what is unknown is null."""
    count, shifts = outcome.predictions.shape
    whole = outcome.sweep.plan.whole
    dy, dx = np.concatenate([outcome.shifts_for(image) for image in range(count)]).T
    labels = np.repeat(outcome.labels, shifts)
    columns: dict[str, pa.Array] = {
        "image": pa.array(np.repeat(np.array(outcome.names), shifts)).dictionary_encode(),
        "label": pa.array(labels, pa.int32(), mask=labels < 0),
        "dy": pa.array(dy, pa.int32() if whole else pa.float64()),
        "dx": pa.array(dx, pa.int32() if whole else pa.float64()),
        "size": pa.array(np.tile(outcome.sweep.plan.growth, count), pa.int32()),
    }
    for name in PER_SHIFT:
        values = getattr(outcome, name)
        kind = pa.float32() if values.dtype.kind == "f" else pa.int32()
        column = pa.array(values.reshape(-1), kind, from_pandas=True)  # NaN becomes null
        if values.ndim == 3:
            column = pa.FixedSizeListArray.from_arrays(column, values.shape[2])
        columns[name] = column
    return pa.table(columns)


def _outcome(sweep: Sweep, table: pa.Table, numbers: range) -> Outcome:
    shifts = len(sweep.plan)

    def column(name: str) -> pa.Array:
        return table[name].combine_chunks()

    if table.num_rows != shifts * len(numbers):
        raise ValueError(
            f"expected {len(numbers)} images of {shifts} rows, got {table.num_rows} rows in all"
        )
    every = column("image")
    names = every.take(pa.array(np.arange(len(numbers)) * shifts)).to_pylist()
    moves = np.concatenate([sweep.plan.shifts_for(number) for number in numbers])
    found = np.stack([column("dy").to_numpy(), column("dx").to_numpy()], axis=1)
    repeated = pa.array(np.repeat(np.array(names), shifts))
    if not every.cast(pa.string()).equals(repeated.cast(pa.string())) or (found != moves).any():
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
    return Outcome(
        sweep, tuple(names), labels=labels.astype(np.int64), first=numbers.start, **fields
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / _MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a run: cannot read its {_MANIFEST} ({error})") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: expected a manifest of format {FORMAT}, got {found}; sweep again to a new folder"
        )
    return manifest


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=1)
    # A list of numbers, such as a shift, stays on one line.
    text = re.sub(r"\[[\s\d.,e+-]+\]", lambda numbers: " ".join(numbers[0].split()), text)
    with replacing(path / _MANIFEST) as partial:
        partial.write_text(text + "\n")


def partial_of(path: Path) -> Path:
    """Where this process writes a file before it takes its name; no other process does."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Writes a file whole or not at all: to a neighbour first, which then takes its name."""
    partial = partial_of(path)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(
            f"cannot write {path}: {reason}; what was written before stays: mend that and run the "
            "same command again to go on"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
