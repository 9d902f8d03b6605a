"""Placement as text for people and as JSON for machines."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shiftable.convert.report import aligned
from shiftable.intervals import Estimate
from shiftable.placement.concentration import FEWEST, GRID, MOST_BITS
from shiftable.placement.objects import Objects
from shiftable.placement.summary import COVER, Histograms, Placement, Range
from shiftable.placement.sweeps import Joined

ALL = "all"


def text(
    found: Mapping[str, Placement],
    objects: Objects,
    split: Joined | None = None,
    cover: float = COVER,
) -> str:
    """Returns a table: a row a class, then a sweep's two sides where it is joined with one.

    Args:
        found: by what each row is called.
        objects: what they were found in.
        split: of the sweep.
        cover: the share of the ranges.
    """
    share = f"{100 * cover:g} %"
    head = ["class", "objects", "centre y", "centre x", "size", "spread y, x", "middle ninth"]
    head += ["by size", "bits", "beyond size"]
    if objects.pair is not None:
        head += ["distance", "of the side"]
    rows = [tuple(head), *(_row(name, one, objects.pair) for name, one in found.items())]
    lines = aligned(rows)
    lines.insert(1, "-" * max(map(len, lines)))
    lines += [f"{count} skipped: {what}" for what, count in objects.skipped.items()]
    lines.append(
        f"[median and central {share}; centres from -0.5 to 0.5 of the image's sides, positive down "
        "and right; size: of the box, square root of its share of the area]"
    )
    lines.append(
        "[uniform centres have spread 1, 11.1 % in the middle ninth (95 % interval over images) and "
        f"0 bits, one place 0, 0 or 100 %, and {MOST_BITS:.2f}; by size, beyond size: against the "
        "same boxes placed anywhere; - where it cannot be had, bits with fewer than "
        f"{FEWEST} objects]"
    )
    if objects.pair is not None:
        lines.append(
            f"[distance from {objects.pair[0]} to {objects.pair[1]} in pixels, and as a share of the "
            "image's shorter side]"
        )
    return "\n".join([*lines, *([] if split is None else ["", *split_lines(split)])])


def _row(name: str, found: Placement, pair: tuple[str, str] | None) -> tuple[str, ...]:
    cells = [
        name, str(found.objects), *(_range(axis, "+.2f") for axis in found.centre),
        _range(found.size, ".2f"),
        "-" if found.spread[0] is None else ", ".join(f"{axis:.2f}" for axis in found.spread),
        share(found.middle),
        "-" if found.middle_by_size is None else f"{100 * found.middle_by_size:.1f} %",
        *("-" if bits is None else f"{bits:.2f}" for bits in (found.bits, found.bits_beyond_size)),
    ]  # fmt: skip
    if pair is not None:
        cells += [_range(found.distance, ".1f"), _range(found.distance_share, ".3f")]
    return tuple(cells)


def _range(found: Range, style: str) -> str:
    if found.median is None or found.low is None or found.high is None:
        return "-"
    median, low, high = (_signed(value, style) for value in (found.median, found.low, found.high))
    return f"{median} [{low}, {high}]"


def _signed(value: float, style: str = "+.2f") -> str:
    """A number; a zero has no sign."""
    return re.sub(r"^[+-](?=0\.0+$)", "", format(value, style))


def share(found: Estimate, sign: str = "") -> str:
    """A share in per cent, with its interval."""
    if found.value is None:
        return "-"
    value = f"{100 * found.value:{sign}.1f} %"
    if found.low is None or found.high is None:
        return f"{value} [-]"
    return f"{value} [{100 * found.low:{sign}.1f}, {100 * found.high:{sign}.1f}]"


def split_lines(split: Joined) -> list[str]:
    """The lines of a sweep's two sides, and what they mean."""
    rows: list[tuple[str, ...]] = [
        (split.sweep, "inside", "outside", "difference"),
        ("windows", str(split.inside.windows), str(split.outside.windows), ""),
        *(
            (name, share(inside), share(outside), share(apart, "+"))
            for name, inside, outside, apart in (
                ("consistency", split.inside.consistency, split.outside.consistency,
                 split.consistency),
                ("accuracy", split.inside.accuracy, split.outside.accuracy, split.accuracy),
            )
        ),
    ]  # fmt: skip
    lines = aligned(rows)
    lines.insert(1, "-" * max(map(len, lines)))
    judged = (
        f"{split.own} of {split.images} images by the largest object of their own annotation"
        if split.own
        else f"none of {split.images} images is annotated: by the middle of each photograph"
    )
    (top, bottom), (left, right) = split.y, split.x
    return [
        *lines,
        f"[inside: the object's centre is where the central {100 * split.cover:g} % of the data's "
        f"are along each axis, y {_signed(top)} to {_signed(bottom)} and x {_signed(left)} to "
        f"{_signed(right)} of the window; {judged}; {split.unseen} windows left out]",
        "[consistency: P(the unshifted image's class) over the other shifts; 95 % intervals, "
        "bootstrapped over images, the difference's image by image; - where it cannot be had]",
    ]


def machine(
    found: Mapping[str, Placement],
    objects: Objects,
    counts: Histograms,
    split: Joined | None = None,
    cover: float = COVER,
) -> dict[str, Any]:
    """Returns all numbers of the table and of its figure, ready for JSON; unknown ones are null.

    Args:
        found: by what each row of the table is called.
        objects: what they were found in.
        counts: of all of them.
        split: of the sweep.
        cover: the share of the ranges.
    """
    return {
        "source": objects.source,
        "images": len(objects.images),
        "skipped": dict(objects.skipped),
        "keypoints": objects.pair,
        "cover": cover,
        "grid": GRID,
        "most_bits": MOST_BITS,
        "classes": [{"name": name, **asdict(one)} for name, one in found.items()],
        "histograms": {
            "centres": counts.centres.astype(int).tolist(),
            "sizes": counts.sizes.astype(int).tolist(),
            "distances": counts.distances.astype(int).tolist(),
            "longest_distance": counts.longest,
        },
        "sweep": None if split is None else asdict(split),
    }
