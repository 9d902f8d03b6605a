"""Reads annotations of COCO's format: boxes, and keypoints."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shiftable.placement.objects import Objects

_LARGEST = 4 << 30  # bytes; COCO's own largest file is an eighth of that
_TOLERANCE = 1.0  # pixels that a box may stick out, and is cut by: COCO's own are rounded


def from_coco(
    path: str | Path, *, keypoints: tuple[str, str] | None = None, skip_invalid: bool = False
) -> Objects:
    """Reads the boxes of a COCO file, and the distance between two keypoints.

    Args:
        path: a JSON file with `images` (`id`, `file_name`, `height`, `width`), `categories` (`id`,
            `name`, perhaps `keypoints`, the names of theirs) and `annotations` (`image_id`,
            `category_id`, `bbox` as (left, top, width, height) in pixels, perhaps `id`, `iscrowd`
            and `keypoints`, x, y and visibility of each). Annotations of crowds are skipped and
            counted. A box may stick out of its image by a pixel and is cut.
        keypoints: two names, of the categories' own: the distance between the two where both are
            labelled (visibility > 0).
        skip_invalid: skip and count annotations that are not as said, in place of an error.

    Raises:
        ValueError: for a file that is not as said, naming it and the annotation.

    References:
        Lin et al., Microsoft COCO: common objects in context (ECCV 2014).
    """
    path = Path(path)
    content = _json(path)
    images = _table(path, content, "images", ("file_name", "height", "width"))
    categories = _table(path, content, "categories", ("name",))
    for number, image in images.items():
        if not (_whole(image["height"]) and _whole(image["width"])):
            raise ValueError(
                f"{path}, image {number}: expected a height and a width of whole pixels >= 1, got "
                f"{image['height']!r} and {image['width']!r}"
            )
    names = [str(category["name"]) for category in categories.values()]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: expected distinct names of categories, got one twice")
    places = _pairs(path, categories, keypoints)
    reader = _Reader(images, categories, places)
    skipped = {"crowds": 0, "invalid": 0}
    for number, annotation in enumerate(_list(path, content, "annotations")):
        try:
            if not reader.take(annotation):
                skipped["crowds"] += 1
        except (ValueError, KeyError, TypeError) as error:
            if skip_invalid:
                skipped["invalid"] += 1
                continue
            known = annotation.get("id") if isinstance(annotation, dict) else None
            which = f"annotation {known}" if known is not None else f"annotation number {number}"
            said = f"no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f"{path}, {which}: {said}; mend it, or skip such by --skip-invalid"
            ) from error
    boxes = np.array(reader.boxes, np.float64).reshape(-1, 4)
    return Objects(
        str(path),
        tuple(str(image["file_name"]) for image in images.values()),
        np.array([(one["height"], one["width"]) for one in images.values()]).reshape(-1, 2),
        tuple(names),
        np.array(reader.image, np.int64),
        np.array(reader.label, np.int64),
        boxes,
        boxes[:, :2] + boxes[:, 2:] / 2,
        np.array(reader.distances) if keypoints else np.zeros(0),
        keypoints,
        {what: count for what, count in skipped.items() if count},
    )


class _Reader:
    """Takes one annotation after another."""

    def __init__(
        self,
        images: Mapping[Any, Any],
        categories: Mapping[Any, Any],
        places: Mapping[Any, tuple[int, int, int]],
    ) -> None:
        self._images = {
            key: (number, image["height"], image["width"])
            for number, (key, image) in enumerate(images.items())
        }
        self._categories = {key: number for number, key in enumerate(categories)}
        self._places = places
        self.image: list[int] = []
        self.label: list[int] = []
        self.boxes: list[tuple[float, float, float, float]] = []
        self.distances: list[float] = []

    def take(self, annotation: Any) -> bool:
        """Reads one; False for a crowd, which is not taken. Raises for what is not as it ought."""
        if not isinstance(annotation, dict):
            raise TypeError(f"expected an object, got {_short(annotation)}")
        image, category = annotation["image_id"], annotation["category_id"]
        if isinstance(image, list | dict) or image not in self._images:
            raise ValueError(f"image_id {_short(image)} is no image's of the file")
        if isinstance(category, list | dict) or category not in self._categories:
            raise ValueError(f"category_id {_short(category)} is no category's of the file")
        if annotation.get("iscrowd"):
            return False
        number, height, width = self._images[image]
        box = _cut(annotation["bbox"], height, width)
        distance = self._distance(category, annotation) if self._places else math.nan
        self.image.append(number)
        self.label.append(self._categories[category])
        self.boxes.append(box)
        self.distances.append(distance)
        return True

    def _distance(self, category: Any, annotation: Mapping[str, Any]) -> float:
        """Pixels between the two keypoints, NaN where they are not both labelled."""
        place, points = self._places.get(category), annotation.get("keypoints")
        if place is None or points is None:
            return math.nan
        first, second, count = place
        if not isinstance(points, list) or len(points) != 3 * count:
            got = len(points) if isinstance(points, list) else _short(points)
            raise ValueError(f"expected keypoints of 3 x {count} numbers, got {got}")
        if not all(_number(value) for value in points):
            raise ValueError("expected keypoints of numbers, got something else")
        (x, y, seen), (x2, y2, seen2) = (points[3 * at : 3 * at + 3] for at in (first, second))
        if not seen > 0 or not seen2 > 0:
            return math.nan
        return math.hypot(x2 - x, y2 - y)


def _cut(box: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """(top, left, height, width), within the image."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)):
        raise ValueError(f"expected a bbox [left, top, width, height], got {_short(box)}")
    left, top, wide, high = box
    if wide <= 0 or high <= 0:
        raise ValueError(f"expected a bbox with width and height > 0, got {_short(box)}")
    right, bottom = left + wide, top + high
    out = max(-left, -top, right - width, bottom - height)
    if out > _TOLERANCE:
        raise ValueError(
            f"expected a bbox in its image of {width}x{height} (width x height), got {_short(box)},"
            f" {out:g} pixels outside"
        )
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        raise ValueError(f"expected a bbox in its image of {width}x{height}, got {_short(box)}")
    return top, left, bottom - top, right - left


def _pairs(
    path: Path, categories: Mapping[Any, Any], keypoints: tuple[str, str] | None
) -> dict[Any, tuple[int, int, int]]:
    """Where the two keypoints are among those of each category that has both, and how many."""
    if keypoints is None:
        return {}
    if keypoints[0] == keypoints[1]:
        raise ValueError(f"expected two different keypoints, got '{keypoints[0]}' twice")
    named = {}
    for key, category in categories.items():
        own = category.get("keypoints", [])
        if not isinstance(own, list):
            raise ValueError(f"{path}, category {key}: expected a list of keypoints' names")
        named[key] = [str(name) for name in own]
    found = {
        key: (own.index(keypoints[0]), own.index(keypoints[1]), len(own))
        for key, own in named.items()
        if set(keypoints) <= set(own)
    }
    if not found:
        known = list(dict.fromkeys(name for own in named.values() for name in own))
        raise ValueError(
            f"{path}: no category has the keypoints '{keypoints[0]}' and '{keypoints[1]}'; "
            f"known: {', '.join(known) or 'none'}"
        )
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        size = path.stat().st_size
        text = path.read_bytes() if 0 < size <= _LARGEST else b""
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    if size > _LARGEST:
        raise ValueError(f"{path} has {size:,} bytes, expected at most {_LARGEST:,}; split it")
    if not size:
        raise ValueError(f"{path} is empty, expected annotations in COCO's format")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of too many digits
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected an object with images, categories and annotations, got a "
            f"{type(content).__name__}"
        )
    return content


def _list(path: Path, content: Mapping[str, Any], what: str) -> list[Any]:
    found = content.get(what)
    if not isinstance(found, list):
        raise ValueError(
            f"{path}: no list '{what}', expected images, categories and annotations; it has "
            f"{', '.join(map(str, list(content)[:10])) or 'nothing'}"
        )
    return found


def _table(
    path: Path, content: Mapping[str, Any], what: str, keys: tuple[str, ...]
) -> dict[Any, Mapping[str, Any]]:
    """The images, or categories, by their ids."""
    table: dict[Any, Mapping[str, Any]] = {}
    for number, one in enumerate(_list(path, content, what)):
        if not isinstance(one, dict):
            raise ValueError(f"{path}, {what}, number {number}: expected an object")
        for key in ("id", *keys):
            if key not in one:
                raise ValueError(f"{path}, {what}, number {number}: no '{key}'")
        if isinstance(one["id"], list | dict) or one["id"] in table:
            raise ValueError(
                f"{path}, {what}, number {number}: expected an id of its own, got "
                f"{_short(one['id'])}"
            )
        table[one["id"]] = one
    return table


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300  # False for NaN, too


def _whole(value: Any) -> bool:
    return _number(value) and value >= 1 and value == int(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
