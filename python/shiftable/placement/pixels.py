"""Reads where objects lie from pixels: those brighter than a threshold, or those of masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from shiftable import images
from shiftable.images import FilePhotographs, Photographs
from shiftable.placement.objects import Objects

Mask = npt.NDArray[np.bool_]


def from_threshold(photographs: Photographs, threshold: float) -> Objects:
    """Takes what is brighter than a threshold as an image's object.

    Args:
        photographs: with their labels; one image in memory at a time.
        threshold: in the images' own units (0..255 for uint8); a pixel's brightness is the mean of
            its channels.

    Returns:
        One object an image: the box of its bright pixels, and their centre of mass. Images without
        any are skipped and counted.

    Examples:
        >>> import torch
        >>> image = torch.zeros(1, 8, 8)
        >>> image[:, 1:3, 4:8] = 255
        >>> found = from_threshold(images.from_dataset([(image, 3)]), 32)
        >>> found.boxes.tolist(), found.centres.tolist(), found.classes
        ([[1.0, 4.0, 2.0, 4.0]], [[2.0, 6.0]], ('3',))
    """

    def masks() -> Iterator[Mask]:
        for image in photographs:
            yield image.numpy().mean(0) > threshold

    return _objects(photographs, masks(), "the images")


def from_masks(photographs: Photographs, folder: str | Path) -> Objects:
    """Takes the pixels of an image's mask that are not 0 as its object.

    Args:
        photographs: files, with their labels.
        folder: of one mask an image, of the same name but for what follows the last dot, in the
            same folders, and of the same size. Palettes and 16 bits are read as the numbers that
            they hold; transparency does not count.

    Returns:
        One object an image, as in `from_threshold`.

    Raises:
        ValueError: for a mask that is missing, no image, or of another size.
    """
    folder = Path(folder)
    if not isinstance(photographs, FilePhotographs):
        raise ValueError("expected image files for masks beside them, got a dataset")
    if not folder.is_dir():
        raise ValueError(f"no folder of masks at {folder}")
    found = {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in images.SUFFIXES
    }

    def masks() -> Iterator[Mask]:
        for name, size in zip(photographs.names, photographs.image_sizes(), strict=True):
            path = found.get(str(Path(name).with_suffix("")))
            if path is None:
                raise ValueError(f"no mask for {name} in {folder}")
            mask = _mask(path)
            if mask.shape != size:
                raise ValueError(
                    f"{path}: expected a mask of its image's {size[0]}x{size[1]} pixels, got "
                    f"{'x'.join(map(str, mask.shape))}"
                )
            yield mask

    return _objects(photographs, masks(), str(folder))


def _mask(path: Path) -> Mask:
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            values = np.asarray(upright.convert("RGB") if upright.mode == "RGBA" else upright)
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ValueError(f"cannot read the mask {path} ({error})") from error
    if values.ndim == 3 and values.shape[2] == 2:  # grey with transparency
        values = values[..., 0]
    mask: Mask = values != 0 if values.ndim == 2 else (values != 0).any(2)
    return mask


def _objects(photographs: Photographs, masks: Iterator[Mask], source: str) -> Objects:
    sizes, boxes, centres, kept = [], [], [], []
    for number, mask in enumerate(masks):
        sizes.append(mask.shape)
        by_row, by_column = (mask.sum(axis, dtype=np.int64) for axis in (1, 0))
        rows, columns = by_row.nonzero()[0], by_column.nonzero()[0]
        if len(rows):
            kept.append(number)
            top, left = rows[0], columns[0]
            boxes.append((top, left, rows[-1] + 1 - top, columns[-1] + 1 - left))
            centres.append((_middle(by_row), _middle(by_column)))
    labels = np.array(photographs.labels, np.int64)[kept]
    known, numbers = np.unique(labels, return_inverse=True)
    return Objects(
        source,
        photographs.names,
        np.array(sizes, np.int64).reshape(-1, 2),
        _class_names(photographs, known.tolist()),
        np.array(kept, np.int64),
        numbers.reshape(-1).astype(np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(centres, np.float64).reshape(-1, 2),
        skipped={"without an object": len(sizes) - len(kept)} if len(kept) < len(sizes) else {},
        photographs=photographs,
    )


def _middle(weights: npt.NDArray[np.int64]) -> float:
    """The centre of mass along an axis, in pixels from its start; a pixel's middle is at 0.5."""
    return float(weights @ (np.arange(len(weights)) + 0.5) / weights.sum())


def _class_names(photographs: Photographs, known: list[int]) -> tuple[str, ...]:
    """By the dataset's `classes` where it has them, as torchvision's have, else the numbers."""
    names: Any = getattr(getattr(photographs, "dataset", None), "classes", ())
    return tuple(
        "unknown" if label < 0 else str(names[label]) if label < len(names) else str(label)
        for label in known
    )
