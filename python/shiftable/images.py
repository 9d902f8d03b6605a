"""Photographs and their labels, from files or a dataset, fitted to a sweep."""

import csv
import hashlib
import importlib
import json
import operator
import re
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from shiftable import demo, sources
from shiftable.sources import UNKNOWN, File, Found
from shiftable.sweep import Protocol

SUFFIXES = sources.SUFFIXES


class Photographs(Sequence[Tensor]):
    """Images by number, decoded as they are asked for, also by several threads at once.

    Attributes:
        names: distinct and readable, one an image.
        labels: true classes, -1 where unknown.
        size: (H, W) each image is fitted to: the largest centred part of that aspect, resized with
            an anti-aliased bicubic filter. None keeps an image's own pixels.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    size: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))

    def identity(self) -> str:
        """SHA-256 of names, labels, fitted size and bytes a file, by which to know them again.

        No image is decoded, so another picture in as many bytes goes unnoticed. Of a dataset it
        tells names, labels, fitted size and how many there are.
        """
        told = [self.names, self.labels, self.size, self._file_sizes()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    @abstractmethod
    def image_sizes(self) -> Iterator[tuple[int, int]]:
        """The (H, W) of each image, without decoding it: all bad files are found in a moment.

        Of a dataset, item 0 is read and the others are taken to be of its size.

        Raises:
            ValueError: for a file that is no image by its header. What only its pixels tell (it is
                cut short, or transparent) is found as it is read.
        """

    @abstractmethod
    def _file_sizes(self) -> list[int]:
        """In bytes, where there are files."""

    @abstractmethod
    def with_labels(self, labels: tuple[int, ...]) -> "Photographs":
        """Returns the same with other labels, one a photograph, -1 where unknown."""


@dataclass(frozen=True)
class FilePhotographs(Photographs):
    """Image files as (3, H, W) uint8 RGB tensors; see `Photographs`."""

    files: tuple[File, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    size: tuple[int, int] | None = None

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]
        with _opened(self.files[number]) as photo:
            return _pixels(photo, self.size)

    def image_sizes(self) -> Iterator[tuple[int, int]]:  # noqa: D102 - inherited
        for file in self.files:
            with _opened(file) as photo:
                own = _header_size(photo)
            yield self.size or own

    def _file_sizes(self) -> list[int]:
        return [file.size for file in self.files]

    def with_labels(self, labels: tuple[int, ...]) -> Photographs:  # noqa: D102 - inherited
        return replace(self, labels=labels)


@dataclass(frozen=True, eq=False)
class DatasetPhotographs(Photographs):
    """The items of a map-style dataset, from `from_dataset`; see `Photographs`."""

    dataset: Any
    names: tuple[str, ...]
    size: tuple[int, int] | None = None
    given: tuple[int, ...] | None = None  # labels in place of the dataset's

    @cached_property
    def labels(self) -> tuple[int, ...]:  # type: ignore[override]
        """The classes given, or the dataset's `targets`, or those of its items, in one pass."""
        if self.given is not None:
            return self.given
        targets = _targets(self.dataset)
        if targets is not None:
            if len(targets) != len(self):
                raise ValueError(f"expected {len(self)} targets in the dataset, got {len(targets)}")
            return tuple(_class(target, number) for number, target in enumerate(targets))
        if len(self._item(0)) == 1:  # images alone
            return (UNKNOWN,) * len(self)
        return tuple(_class(self._item(number)[-1], number) for number in range(len(self)))

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]
        number = range(len(self))[number]
        image = self._item(number)[0]
        if isinstance(image, Image.Image):
            with _telling(f"item {number} of the dataset"):
                return _pixels(image, self.size)
        if not isinstance(image, Tensor) or image.ndim != 3:
            got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise ValueError(
                f"item {number} of the dataset: expected a PIL image or a tensor (C, H, W), "
                f"perhaps with its class after it, got {got}"
            )
        if self.size not in (None, tuple(image.shape[1:])):
            raise ValueError(
                f"item {number} of the dataset: expected {self.size}, got {tuple(image.shape[1:])}; "
                "tensors are not resized, as their filter would be unlike that of photographs: "
                "give their own size (or 'original'), or PIL images"
            )
        return image

    def image_sizes(self) -> Iterator[tuple[int, int]]:  # noqa: D102 - inherited
        height, width = self[0].shape[1:]
        return iter([(height, width)] * len(self))

    def _item(self, number: int) -> tuple[Any, ...]:
        """The image, and its class where there is one."""
        try:
            item = self.dataset[number]
        except Exception as error:  # a user's dataset may raise anything
            raise ValueError(
                f"item {number} of the dataset cannot be read ({type(error).__name__}: {error})"
            ) from error
        parts = tuple(item) if isinstance(item, tuple | list) else (item,)
        if len(parts) not in (1, 2):
            raise ValueError(
                f"item {number} of the dataset: expected an image or (image, class), got "
                f"{len(parts)} things"
            )
        return parts

    def _file_sizes(self) -> list[int]:
        return []

    def with_labels(self, labels: tuple[int, ...]) -> Photographs:  # noqa: D102 - inherited
        return replace(self, given=labels)


def from_dataset(
    dataset: Any, *, size: tuple[int, int] | None = None, names: Sequence[str] | None = None
) -> Photographs:
    """Takes the images of a torch `Dataset`, or of any sequence.

    Labels are read when they are asked for: from `dataset.targets` where it has them (through
    `target_transform`, and through a `Subset`), else by reading every item once, unless item 0 is
    an image alone.

    Args:
        dataset: has a length and gives by number a PIL image, a tensor (C, H, W) or a tuple of
            either and its class. Tensors are passed on as they are.
        size: (H, W) to fit PIL images to; tensors have to be of that size already.
        names: distinct, one an item; by default the numbers.

    Raises:
        ValueError: for a dataset without numbers, an empty one, or names that do not fit.

    Examples:
        >>> photos = from_dataset([(torch.zeros(3, 8, 8), 5), (torch.ones(3, 8, 8), 7)])
        >>> photos.labels, photos[1].shape
        ((5, 7), torch.Size([3, 8, 8]))
    """
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not (
        hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    ):
        raise ValueError(
            f"expected a dataset with len() and items by number, got {kind}: images are asked for "
            "in any order and more than once; give a map-style dataset, or a list of its items"
        )
    count = len(dataset)
    if count == 0:
        raise ValueError(f"no images in the dataset ({kind})")
    named = tuple(map(str, range(count) if names is None else names))
    if len(named) != count or len(set(named)) != count:
        raise ValueError(
            f"expected {count} distinct names, got {len(named)}, {len(set(named))} of them distinct"
        )
    return DatasetPhotographs(dataset, named, size)


def _targets(dataset: Any) -> list[Any] | None:
    """The classes that a dataset knows without reading an item."""
    if isinstance(dataset, Subset):
        whole = _targets(dataset.dataset)
        return whole and [whole[number] for number in dataset.indices]
    targets = getattr(dataset, "targets", None)
    if targets is None:
        return None
    transform = getattr(dataset, "target_transform", None)  # which items go through
    listed = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    return listed if transform is None else [transform(target) for target in listed]


def _class(label: Any, number: int) -> int:
    try:
        label = operator.index(label)
    except TypeError as error:
        raise ValueError(
            f"item {number} of the dataset: expected a class number, got {label!r}"
        ) from error
    if label < UNKNOWN:
        raise ValueError(f"item {number} of the dataset: expected a class >= -1, got {label}")
    return int(label)


# -- pixels -------------------------------------------------------------------------------------


@contextmanager
def _telling(what: object) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise many kinds
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(
            f"cannot read {what} as an image ({reason}); mend it or take it out"
        ) from error


@contextmanager
def _opened(file: File) -> Iterator[ImageFile]:
    with _telling(file), file.open() as stream, Image.open(stream) as photo:
        yield photo


def _pixels(photo: Image.Image, size: tuple[int, int] | None) -> Tensor:
    photo = _rgb(photo)
    if size is not None:
        height, width = size
        photo = ImageOps.fit(photo, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)


def _header_size(photo: ImageFile) -> tuple[int, int]:
    """The (H, W) of the upright photograph, by its header."""
    _check_header(photo)
    width, height = photo.size
    if photo.format == "TIFF":  # Pillow turns its size as it opens it
        return height, width
    if photo.format == "PNG" and photo.fp and not _described_late(photo.fp):
        exif = Image.Image.getexif(photo)  # PNG's own would decode, to see what follows
    else:
        exif = photo.getexif()
    turned = exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def _described_late(png: IO[bytes]) -> bool:
    """Whether a PNG may tell its orientation after its pixels."""
    place = png.tell()
    png.seek(8)  # the signature
    pixels = late = False
    while len(head := png.read(8)) == 8:  # of each chunk: how long it is, and of which kind
        pixels = pixels or head[4:] == b"IDAT"
        late = late or (pixels and head[4:] in (b"eXIf", b"iTXt", b"zTXt"))
        png.seek(int.from_bytes(head[:4], "big") + 4, 1)
    png.seek(place)
    return late


def _check_header(photo: Image.Image) -> None:
    """Refuses what has no one 8-bit picture, by its header."""
    if getattr(photo, "n_frames", 1) > 1:
        raise ValueError("it has several frames, expected one")
    if photo.mode == "F":
        raise ValueError("its pixels are floating numbers of unknown range, expected 8 or 16 bits")


def _rgb(photo: Image.Image) -> Image.Image:
    """The photograph in 8-bit RGB; refuses what has no one such picture."""
    _check_header(photo)
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):  # 16 bits of grey, of which Pillow would keep the lowest values
        values = np.asarray(photo).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values are not 16-bit, expected 0..65535")
        photo = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if photo.has_transparency_data and np.asarray(photo.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError("it is transparent in part, expected a background")
    return photo.convert("RGB")


# -- finding ------------------------------------------------------------------------------------


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
        source: one or several of a folder (searched to any depth; its tar shards are taken where
            it has no images), an image, a list (`.txt` or `.lst`: on each line a path relative to
            the list, and perhaps a class after a tab, a comma or a space; `#` begins a comment)
            and a WebDataset shard (`.tar`, whose samples `KEY.jpg` may have a class `KEY.cls`). Or
            one of `demo:photographs`, the 20 labelled ImageNet images of the foolbox package,
            `demo:all-photographs`, these and 15 unlabelled ones of other packages, and
            `package.module:attribute`, a dataset (see `from_dataset`), or a class or function that
            needs no arguments and returns one.
        labels: in place of the source's own, a CSV file with a row `name,class` for each
            photograph; `folders` for the name of each photograph's folder, or its place among the
            sorted folders if names are no numbers; `pattern:REGEX` whose first group is the class
            in the file's name.
        size: (H, W) to fit each photograph to; None keeps the file's own pixels.

    Raises:
        ValueError: if there are none, a source is not what it seems, or a label is missing or no
            class number.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    found = _find(given, size)
    return found if labels is None else found.with_labels(tuple(_classes(found, labels)))


def described(source: Sequence[str | Path], labels: str | None) -> dict[str, Any]:
    """Returns where photographs are from, ready for JSON: as given, files and folders from the root.

    Examples:
        >>> described(["demo:photographs"], "pattern:_([0-9]+)")
        {'images': ['demo:photographs'], 'labels': 'pattern:_([0-9]+)'}
    """

    def absolute(given: str | Path) -> str:
        return str(Path(given).absolute() if Path(given).exists() else given)

    return {
        "images": [absolute(one) for one in source],
        "labels": labels if labels in (None, "folders") else absolute(str(labels)),
    }


_CODE = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")  # package.module:attribute


def is_code(source: str | Path) -> bool:
    """Whether loading a source runs a user's module.

    Examples:
        >>> is_code("package.module:dataset"), is_code("photos"), is_code("demo:photographs")
        (True, False, False)
    """
    named = str(source).startswith("demo:") or Path(source).exists()
    return not named and _CODE.fullmatch(str(source)) is not None


def _find(given: Sequence[str | Path], size: tuple[int, int] | None) -> Photographs:
    code = [_CODE.fullmatch(str(source)) for source in given if not Path(source).exists()]
    if given in (["demo:photographs"], ["demo:all-photographs"]):
        paths, classes = demo.photographs()
        more = demo.more_photographs() if given == ["demo:all-photographs"] else []
        labelled = zip(paths + more, classes + [-1] * len(more), strict=True)
        every = [Found(File(p), p.name, label) for p, label in labelled]
    elif any(code):
        return from_dataset(_from_code(given), size=size)
    else:
        every = sources.find(given)
    files, names, labels = zip(*every, strict=True)
    return FilePhotographs(files, names, labels, size)


def _from_code(given: Sequence[str | Path]) -> Any:
    """The dataset that a user's module has or makes."""
    if len(given) > 1:
        raise ValueError(f"expected a dataset by itself, got {', '.join(map(str, given))}")
    module, _, attribute = str(given[0]).partition(":")
    if module == "demo":
        raise ValueError(
            f"unknown images '{given[0]}'; expected demo:photographs or demo:all-photographs"
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)  # a console script does not look here by itself
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot find '{attribute}' in module '{module}': {error}") from error
    except Exception as error:  # the module's own fault
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"module '{module}' cannot be imported ({reason})") from error
    finally:
        sys.path.remove(here)
    if not isinstance(found, type) and (isinstance(found, Sized) or not callable(found)):
        return found
    try:
        return found()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{module}:{attribute}() failed: {type(error).__name__}: {reason}"
        ) from error


# -- labels -------------------------------------------------------------------------------------


def _classes(found: Photographs, labels: str) -> list[int]:
    kind, _, pattern = labels.partition(":")
    if labels == "folders":
        return _from_folders(found)
    if kind == "pattern" and pattern:
        return _from_pattern(found, pattern)
    return _from_csv(found, Path(labels))


def _from_folders(found: Photographs) -> list[int]:
    if not isinstance(found, FilePhotographs):
        raise ValueError("expected files for labels by folders, got a dataset")
    folders = [file.folder for file in found.files]
    for file, folder in zip(found.files, folders, strict=True):
        if not folder:
            raise ValueError(f"no folder around {file} to take its class from")
    if all(folder.isdecimal() for folder in folders):
        return [int(folder) for folder in folders]
    order = sorted(set(folders))
    if len(order) == 1 and len(folders) > 1:
        raise ValueError(
            f"expected a folder for each class, got all images in '{order[0]}'; name it by the "
            "number of its class, or give labels otherwise"
        )
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
