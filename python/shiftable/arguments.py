"""How the command line writes plans, sizes, numbers and colours."""

from collections.abc import Callable
from typing import Any, Literal

import click

from shiftable import plan
from shiftable.plan import Plan

ImageSize = tuple[int, int] | Literal["original"]
Fill = tuple[float, ...] | Literal["mean", "inpaint"]

_COLOURS = {"black": (0.0,), "grey": (127.5,), "white": (255.0,)}
_GROUPS: dict[str, Callable[..., Plan]] = {"pairs": plan.random_pairs, "groups": plan.random_groups}
_EXTENTS: dict[str, Callable[..., Plan]] = {
    "grid": plan.grid,
    "line": plan.line,
    "diagonal": plan.diagonal,
    "sizes": plan.sizes,
}
SHIFTS = (
    "grid:R, line:R, line:vertical:R, diagonal:R or sizes:R (FIRST:LAST may stand for R), "
    "pairs:COUNT:RADIUS or groups:COUNT:SIZE:RADIUS; after it ,spacing=PIXELS or ,step=PIXELS or "
    ",sizes=FIRST:LAST for the first three, ,spacing=PIXELS or ,seed=NUMBER for the last two, "
    ",at_rest for groups"
)


def numbers(text: str) -> tuple[float, ...]:
    """Reads numbers with commas between them."""
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected numbers with commas between, got '{text}'") from error


def size(text: str) -> tuple[int, int]:
    """Reads a size in pixels: S for a square, or HxW."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise click.BadParameter(f"expected a size such as 224 or 224x256, got '{text}'")
    return int(sides[0]), int(sides[-1])


def image_size(text: str) -> ImageSize:
    """Reads a size, or `original`."""
    return "original" if text == "original" else size(text)


def fill(text: str) -> Fill:
    """Reads a colour: its name, or one number a channel; or `inpaint`."""
    if text == "mean":
        return "mean"
    if text == "inpaint":
        return "inpaint"
    colour = _COLOURS[text] if text in _COLOURS else numbers(text)
    if not all(0 <= value <= 255 for value in colour):
        raise click.BadParameter(f"expected raw pixel values from 0 to 255, got '{text}'")
    return colour


def batch(text: str) -> int | Literal["auto"]:
    """Reads a number of windows >= 1, or `auto`."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"expected auto or a number >= 1, got '{text}'")
    return int(text)


def shifts(text: str) -> Plan:
    """Reads a plan of shifts."""
    main, *options = text.split(",")
    kind, *rest = main.split(":")
    try:
        keywords = dict(_keyword(option) for option in options)
        if kind == "line" and rest[:1] in (["horizontal"], ["vertical"]):
            keywords["axis"] = rest.pop(0)
        values = [_number(value) for value in rest]
        if kind in _EXTENTS and len(values) in (1, 2):
            extent = values[0] if len(values) == 1 else (values[0], values[1])
            return _EXTENTS[kind](extent, **keywords)
        if kind == "pairs" and len(values) == 3:
            keywords["seed"] = values.pop()
        if kind in _GROUPS:
            return _GROUPS[kind](*values, **keywords)
    except TypeError:  # a keyword that this plan does not take
        pass
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    raise click.BadParameter(f"expected {SHIFTS}; got '{text}'")


def _number(text: str) -> int | float:
    """A number, a whole one as an integer."""
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError as error:
            raise ValueError(f"expected {SHIFTS}; got '{text}' for a number") from error


def _keyword(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if name == "at_rest" and not value:
        return name, True
    low, _, high = value.partition(":")
    return name, (_number(low), _number(high)) if high else _number(low)
