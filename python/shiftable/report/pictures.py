"""The photographs of a run, loaded, known again, and each drawn once for all its windows."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from shiftable import images
from shiftable.images import Photographs
from shiftable.report.answers import Layout, Series
from shiftable.sweep import Sweep

_QUALITY = 90  # of a lossy picture, 0..100
_LOSSLESS = 16_384  # bytes up to which a picture is kept without loss


@dataclass(frozen=True)
class Picture:
    """All windows of one photograph in one sweep.

    Args:
        data: the encoded picture.
        kind: its MIME type.
        rest: (y, x) of the window at no shift, from which others lie as far as they are shifted.
        columns: of windows side by side, in the order of the layout; 0 where they overlap.
    """

    data: bytes
    kind: str
    rest: tuple[float, float]
    columns: int = 0

    @property
    def url(self) -> str:
        """The picture as a data URL."""
        return f"data:{self.kind};base64,{base64.b64encode(self.data).decode()}"


class MissingError(ValueError):
    """The photographs of a run cannot be had, and nobody said where they are.

    Args:
        brief: why, for the page: without the names of folders, which are nobody else's business.
        message: why, for who makes the page.
    """

    def __init__(self, brief: str, message: str) -> None:
        super().__init__(message)
        self.brief = brief


def photographs_of(
    series: Series, labels: tuple[int, ...], given: Sequence[str | Path]
) -> Photographs:
    """Loads the photographs that a sweep was of.

    Args:
        series: the sweep.
        labels: the true classes that the run has for them.
        given: where they are; empty for where the run says that they were.

    Raises:
        MissingError: if `given` is empty and they are not there, or the run does not say where.
        ValueError: if they cannot be loaded, or are others.
    """
    entry = series.stored.entry["images"]
    sources = series.run.manifest.get("sources")  # older runs have none
    told = sources.get("images") if isinstance(sources, dict) else None
    where = [str(source) for source in given or (told if isinstance(told, list) else [])]
    if not where:
        brief = "the run does not say where its photographs are"
        raise MissingError(brief, brief)
    if not given and any(map(images.is_code, where)):  # a run may be anybody's
        brief = "its photographs are made by code, which is run only where it is asked for"
        raise MissingError(brief, f"{brief}: {', '.join(where)}")
    size = None if entry["size"] is None else (int(entry["size"][0]), int(entry["size"][1]))
    try:
        found = images.load(where, size=size).with_labels(labels)
        same = found.identity() == entry["identity"]
    except (ValueError, ImportError, OSError) as error:
        if given:
            raise
        brief = "its photographs are not where the run says that they were"
        raise MissingError(brief, f"{brief}: {error}") from error
    if not same:
        raise ValueError(
            f"{', '.join(where)}: not the photographs that {series.run.path} "
            f"({series.name}) is of, by their names, number and bytes; name those by "
            "--images, or leave them out by --no-pictures"
        )
    return found


def draw(sweep: Sweep, cells: Layout, image: Tensor, number: int) -> Picture:
    """Draws one picture that every window of a photograph is a part of.

    Args:
        sweep: what was shown.
        cells: where its shifts lie on the page.
        image: the photograph (C, H, W), uint8, or floating of 0..1 or 0..255.
        number: which of the plan's images it is.
    """
    prepared = sweep.prepare(image, number)
    rows = cells.rows.reshape(-1)
    growth = sweep.plan.growth[rows]
    if len(np.unique(growth)) == 1:
        canvas, corners = prepared.canvas(int(growth[0]))
        y, x = (corners[rows[0]].numpy() + sweep.plan.shifts_for(number)[rows[0]]).tolist()
        return Picture(*_encoded(canvas), (y, x))
    height, width = sweep.size  # a canvas for each size: windows side by side instead
    columns = math.ceil(math.sqrt(len(rows)))
    down = -(-len(rows) // columns)
    canvas = image.new_zeros((len(image), down * height, columns * width))
    for at, window in enumerate(prepared.windows(rows)):
        y, x = at // columns * height, at % columns * width
        canvas[:, y : y + height, x : x + width] = window.to(image.dtype)
    return Picture(*_encoded(canvas), (0, 0), columns)


def _encoded(canvas: Tensor) -> tuple[bytes, str]:
    """The bytes of a picture and their kind: lossless where that is small enough, or smaller."""
    if canvas.shape[0] not in (1, 3):
        raise ValueError(f"a picture has 1 or 3 channels, got {canvas.shape[0]}")
    if canvas.is_floating_point():
        bright = float(canvas.max()) > 1
        canvas = (canvas * (1 if bright else 255)).round().clamp(0, 255).to(torch.uint8)
    pixels = canvas.permute(1, 2, 0).contiguous().cpu().numpy()
    photo = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    exact = _saved(photo, "PNG")
    if len(exact) <= _LOSSLESS:
        return exact, "image/png"
    lossy = _saved(photo, "WEBP", quality=_QUALITY, method=4)
    return (exact, "image/png") if len(exact) <= len(lossy) else (lossy, "image/webp")


def _saved(photo: Image.Image, form: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, form, **how)
    return stream.getvalue()
