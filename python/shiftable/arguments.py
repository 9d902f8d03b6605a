"""How the command line writes plans, sizes, numbers and colours."""

from collections.abc import Callable
from typing import Literal

import click

from shiftable import sweep
from shiftable.sweep import Plan

ImageSize = tuple[int, int] | Literal["original"]
Fill = tuple[float, ...] | Literal["mean"]

_COLOURS = {"black": (0.0,), "grey": (127.5,), "white": (255.0,)}
_PLANS: dict[str, Callable[..., Plan]] = {
    "grid": sweep.grid,
    "line": sweep.line,
    "diagonal": sweep.diagonal,
}
SHIFTS = (
    "grid:R, line:R, line:vertical:R, diagonal:R (FIRST:LAST may stand for R), "
    "pairs:COUNT:RADIUS or pairs:COUNT:RADIUS:SEED"
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
    """Reads a colour: its name, or one number a channel."""
    if text == "mean":
        return "mean"
    colour = _COLOURS[text] if text in _COLOURS else numbers(text)
    if not all(0 <= value <= 255 for value in colour):
        raise click.BadParameter(f"expected raw pixel values from 0 to 255, got '{text}'")
    return colour


def shifts(text: str) -> Plan:
    """Reads a plan of shifts."""
    kind, *rest = text.split(":")
    axis = rest[:1] if kind == "line" and rest[:1] in (["horizontal"], ["vertical"]) else []
    try:
        values = [int(number) for number in rest[len(axis) :]]
    except ValueError:
        values = []
    try:
        if kind in _PLANS and len(values) in (1, 2):
            return _PLANS[kind](values[0] if len(values) == 1 else tuple(values), *axis)
        if kind == "pairs" and len(values) in (2, 3):
            return sweep.random_pairs(*values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    raise click.BadParameter(f"expected {SHIFTS}; got '{text}'")
