"""Finds image files: by themselves, in folders, in lists and in tar shards."""

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
LISTS = (".lst", ".txt")
UNKNOWN = -1  # no class is known


@dataclass(frozen=True)
class File:
    """The bytes of one image: a file's, or those of a member of a tar shard.

    Args:
        path: of the file, or of the shard.
        member: its name within the shard; empty for a file by itself.
        start: where the member's bytes begin.
        length: how many they are.
    """

    path: Path
    member: str = ""
    start: int = 0
    length: int = 0

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def folder(self) -> str:
        """The name of the folder it is in; empty at the top of a shard."""
        return (Path(self.member) if self.member else self.path.absolute()).parent.name

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.length if self.member else self.path.stat().st_size

    def open(self) -> BinaryIO:
        """Opens it for reading, apart from whoever else reads it, so that threads may."""
        if not self.member:
            return self.path.open("rb")
        return io.BufferedReader(_Part(self.path, self.start, self.length))


class _Part(io.RawIOBase):
    """A part of a file as if it were a file: what is not asked for is not read."""

    def __init__(self, path: Path, start: int, length: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._length, self._at = start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._length)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        room = memoryview(buffer).cast("B")[: max(0, self._length - self._at)]
        count = self._file.readinto(room)
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class Found(NamedTuple):
    """An image file with its name and its class, where the source knows it."""

    file: File
    name: str
    label: int = UNKNOWN


def find(sources: Sequence[str | Path]) -> list[Found]:
    """Finds the image files of folders, lists, tar shards and files, each file once.

    Args:
        sources: a folder (searched to any depth for images, or for shards where it has none), a
            list (.txt, .lst), a shard (.tar) or an image.

    Raises:
        ValueError: if there are none, or a source is not what it seems.
    """
    known: dict[File, Found] = {}
    for source in sources:
        for found in _of_source(Path(source)):
            first = known.setdefault(found.file, found)
            if first.label != found.label:
                raise ValueError(
                    f"two classes for '{found.file}', {first.label} and {found.label}, by two "
                    "sources; give it once"
                )
    if not known:
        where = ", ".join(str(source) for source in sources)
        raise ValueError(f"no images in {where}; expected files ending in {', '.join(SUFFIXES)}")
    every = list(known.values())
    if len({found.name for found in every}) == len(every):
        return every
    return [found._replace(name=str(found.file)) for found in every]


def _of_source(source: Path) -> Iterator[Found]:
    if source.is_dir():
        return _of_folder(source)
    if not source.is_file():
        raise ValueError(f"no image or folder at {source}")
    suffix = source.suffix.lower()
    if suffix in LISTS:
        return _of_list(source)
    if suffix == ".tar" or _COMPRESSED.search(source.name):
        return _of_shard(source, source.name)
    return iter([Found(File(source), source.name)])


def _of_folder(folder: Path) -> Iterator[Found]:
    inside = sorted(path for path in folder.rglob("*") if path.is_file())
    images = [path for path in inside if path.suffix.lower() in SUFFIXES]
    for path in images:
        yield Found(File(path), path.relative_to(folder).as_posix())
    if not images:
        for path in inside:
            if path.suffix.lower() == ".tar":
                yield from _of_shard(path, path.relative_to(folder).as_posix())


# -- lists --------------------------------------------------------------------------------------

_LINE = re.compile(r"(.+?)\s*[\t, ]\s*(-1|[0-9]+)")  # a path and its class


def _of_list(path: Path) -> Iterator[Found]:
    """The images of a list: a path a line, relative to the list, and perhaps a class after it."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {path} as a list of paths in UTF-8: {error}") from error
    listed: dict[File, int] = {}  # the line of each
    classed = None  # whether lines carry a class
    for number, line in enumerate((line.strip() for line in lines), 1):
        if not line or line.startswith("#"):
            continue
        name, label = _split(line, path.parent)
        file = File(path.parent / name)
        if not file.path.is_file():
            raise ValueError(
                f"{path}, line {number}: no file at {file.path}; expected a path, and perhaps a "
                "class number >= -1 after a tab, a comma or a space"
            )
        if file in listed:
            raise ValueError(
                f"{path}, line {number}: '{name}' is in line {listed[file]} already; list it once"
            )
        if classed not in (None, label is not None):
            raise ValueError(
                f"{path}, line {number}: '{name}' has {'no' if label is None else 'a'} class, "
                "unlike the lines before; give every line one (-1 where unknown), or none"
            )
        listed[file], classed = number, label is not None
        yield Found(file, name, UNKNOWN if label is None else label)


def _split(line: str, folder: Path) -> tuple[str, int | None]:
    """The path and the class of a line; a path may end in a space and a number itself."""
    match = _LINE.fullmatch(line)
    if match and ((folder / match[1]).is_file() or not (folder / line).is_file()):
        return match[1], int(match[2])
    return line, None


# -- tar shards ---------------------------------------------------------------------------------

_COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst|lz4|Z)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_COMPRESSIONS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_MEMBER = re.compile(r"((?:.*/)?[^/.]+)(\.[^/]+)")  # the sample's key, and what the member is


def _of_shard(path: Path, name: str) -> Iterator[Found]:
    """The images of a WebDataset shard: its headers are read once, its images where they lie."""
    with path.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(_COMPRESSIONS) or _COMPRESSED.search(path.name):
        raise ValueError(
            f"{path} is compressed, so its images cannot be read one by one; "
            "unpack it to a plain .tar"
        )
    samples: dict[str, dict[tarfile.TarInfo, str]] = {}  # what each member is, by its key
    classes: dict[str, list[bytes]] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                match = _MEMBER.fullmatch(member.name.removeprefix("./"))
                if match and not member.isdir():
                    samples.setdefault(match[1], {})[member] = match[2]
            _check_end(path, shard.offset)
            for key, members in samples.items():
                texts = [shard.extractfile(it) for it, kind in members.items() if kind == ".cls"]
                classes[key] = [text.read() for text in texts if text is not None]
    except (tarfile.TarError, KeyError, ValueError) as error:  # KeyError: a link to nowhere
        raise ValueError(f"cannot read {path} as a tar file ({error}); make it anew") from error
    for key, members in samples.items():
        where = f"{path}, sample '{key}'"
        member = _image(members, where)
        kind = members[member]
        file = File(path, key + kind, member.offset_data, member.size)
        yield Found(file, f"{name}/{key}{kind}", _class(classes[key], where))


def _check_end(path: Path, end: int) -> None:
    """Refuses a shard whose members do not lead to its end, where tarfile would just stop."""
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read(2 * tarfile.RECORDSIZE)  # zeros that fill a record, or a second archive
    if len(rest) < tarfile.BLOCKSIZE or any(rest):
        raise ValueError(f"no end of an archive where its members end, at byte {end}")


def _image(members: dict[tarfile.TarInfo, str], where: str) -> tarfile.TarInfo:
    """The one image of a sample: `key.jpg` before, say, a mask `key.mask.png`."""
    plain = [member for member, kind in members.items() if kind.lower() in SUFFIXES]
    images = plain or [m for m, kind in members.items() if kind.lower().endswith(SUFFIXES)]
    if len(images) != 1:
        names = ", ".join(member.name for member in images or members)
        raise ValueError(
            f"{where}: expected one image ({', '.join(SUFFIXES)}), got {len(images)} ({names})"
        )
    (image,) = images
    if not image.isreg() or image.issparse():
        raise ValueError(
            f"{where}: expected {image.name} to be a plain file, got a link or a sparse one; "
            "make the shard with tar --dereference --hard-dereference"
        )
    return image


def _class(texts: list[bytes], where: str) -> int:
    if not texts:
        return UNKNOWN
    if len(texts) > 1 or not re.fullmatch(rb"\s*(-1|[0-9]+)\s*", texts[0]):
        got = b", ".join(texts)[:40].decode(errors="replace")
        raise ValueError(f"{where}: expected one class number >= -1 in .cls, got '{got}'")
    return int(texts[0])
