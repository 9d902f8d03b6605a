"""Finds photographs and their labels, and fits them to a sweep."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from shiftable import demo
from shiftable.sweep import Protocol

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Photographs(Sequence[Tensor]):
    """Image files as (3, H, W) uint8 RGB tensors, decoded as they are asked for.

    Args:
        paths: the files.
        names: distinct and readable, one a file.
        labels: true classes, -1 where unknown.
        size: (H, W) each photograph is fitted to: the largest centred part of that aspect, resized
            with an anti-aliased bicubic filter. None keeps the file's own pixels.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]
        path = self.paths[number]
        try:
            with Image.open(path) as file:
                photo = _rgb(file)
        except Exception as error:  # Pillow's decoders raise many kinds
            raise ValueError(
                f"cannot read {path} as an image ({error}); mend it or take it out"
            ) from error
        if self.size is not None:
            height, width = self.size
            photo = ImageOps.fit(photo, (width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(photo)).permute(2, 0, 1)


def _rgb(photo: Image.Image) -> Image.Image:
    """The photograph in 8-bit RGB; refuses what has no one such picture."""
    if getattr(photo, "n_frames", 1) > 1:
        raise ValueError("it has several frames, expected one")
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):  # 16 bits of grey, of which Pillow would keep the lowest values
        values = np.asarray(photo).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values are not 16-bit, expected 0..65535")
        photo = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if photo.mode == "F":
        raise ValueError("its pixels are floating numbers of unknown range, expected 8 or 16 bits")
    if photo.has_transparency_data and np.asarray(photo.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError("it is transparent in part, expected a background")
    return photo.convert("RGB")


def size_for(protocol: Protocol, size: tuple[int, int]) -> tuple[int, int]:
    """The usual size (H, W) of a photograph for a network's input of `size` (h, w).

    `crop`: 256 for 224, so that a window has room to slide; `embed`: three quarters of the canvas;
    `circular` and `shift`: the input's own size.
    """
    factor = {"crop": 256 / 224, "embed": 0.75}.get(protocol, 1.0)
    return round(size[0] * factor), round(size[1] * factor)


def load(
    source: str | Path | Sequence[str | Path],
    *,
    labels: str | None = None,
    size: tuple[int, int] | None = None,
) -> Photographs:
    """Finds photographs.

    Args:
        source: a folder (searched to any depth), one or several files, or `demo:photographs`, the
            20 labelled ImageNet images of the foolbox package.
        labels: a CSV file with a row `name,class` for each photograph; `folders` for the name of
            each photograph's folder, or its place among the sorted folders if names are no
            numbers; `pattern:REGEX` whose first group is the class in the file's name.
        size: (H, W) to fit each photograph to; None keeps the file's own pixels.

    Raises:
        ValueError: if there are none, or a label is missing or no class number.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if sources == ["demo:photographs"]:
        paths, classes = demo.photographs()
        names = [path.name for path in paths]
        found = Photographs(tuple(paths), tuple(names), tuple(classes), size)
        return found if labels is None else _labelled(found, labels)
    named = [entry for given in sources for entry in _files(Path(given))]
    named = list(dict.fromkeys(named))
    if not named:
        where = ", ".join(str(given) for given in sources)
        raise ValueError(f"no images in {where}; expected files ending in {', '.join(SUFFIXES)}")
    files = tuple(path for path, _ in named)
    short = [name for _, name in named]
    names = short if len(set(short)) == len(short) else [str(path) for path in files]
    found = Photographs(files, tuple(names), (-1,) * len(files), size)
    return found if labels is None else _labelled(found, labels)


def _files(source: Path) -> list[tuple[Path, str]]:
    """The images under a folder, or the one given, each with its name."""
    if source.is_dir():
        inside = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        return [(path, path.relative_to(source).as_posix()) for path in inside]
    if not source.is_file():
        raise ValueError(f"no image or folder at {source}")
    return [(source, source.name)]


def _labelled(found: Photographs, labels: str) -> Photographs:
    kind, _, pattern = labels.partition(":")
    if labels == "folders":
        classes = _from_folders(found)
    elif kind == "pattern" and pattern:
        classes = _from_pattern(found, pattern)
    else:
        classes = _from_csv(found, Path(labels))
    return Photographs(found.paths, found.names, tuple(classes), found.size)


def _from_folders(found: Photographs) -> list[int]:
    folders = [path.parent.name for path in found.paths]
    if all(folder.isdecimal() for folder in folders):
        return [int(folder) for folder in folders]
    order = sorted(set(folders))
    return [order.index(folder) for folder in folders]


def _from_pattern(found: Photographs, pattern: str) -> list[int]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression, got '{pattern}': {error}") from error
    if expression.groups < 1:
        raise ValueError(f"expected a group in the pattern, got '{pattern}'; write e.g. '_(\\d+)'")
    classes = []
    for name in found.names:
        match = expression.search(Path(name).name)
        if match is None or not (match[1] or "").isdecimal():
            raise ValueError(f"no class number in '{name}' by the pattern '{pattern}'")
        classes.append(int(match[1]))
    return classes


def _from_csv(found: Photographs, path: Path) -> list[int]:
    if not path.is_file():
        raise ValueError(f"no labels at {path}; expected a CSV file, 'folders' or 'pattern:REGEX'")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path} as CSV in UTF-8: {error}") from error
    table: dict[str, int] = {}
    for number, row in enumerate(rows):
        name, label = (row[0].strip(), row[1].strip()) if len(row) >= 2 else (row[0], "")
        if label.isdecimal() or label == "-1":  # -1: unknown
            if table.setdefault(name, int(label)) != int(label):
                raise ValueError(f"{path}: two classes for '{name}', {table[name]} and {label}")
        elif number > 0 or name in found.names:  # the first may be a header
            raise ValueError(f"{path}: expected 'name,class', got '{','.join(row)}'")
    missing = [name for name in found.names if name not in table]
    if missing:
        raise ValueError(f"{path}: no class for {len(missing)} image(s), the first '{missing[0]}'")
    return [table[name] for name in found.names]
