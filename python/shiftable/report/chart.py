"""Lines with the bands of their intervals, as SVG that takes its colours from the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from shiftable.metrics import Estimate

Points = Sequence[tuple[float, Estimate]]

WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 12, 12, 46
# Told apart also where there are no colours: five dashes, and seven markers around (0, 0).
_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "12 4")
_MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-4.8L4.6 3.6h-9.2z",
    "M0-5.2L4.2 0L0 5.2L-4.2 0z",
    "M0 4.8L4.6-3.6h-9.2z",
    "M-1.7-4.8h3.4v3.1h3.1v3.4h-3.1v3.1h-3.4v-3.1h-3.1v-3.4h3.1z",
    "M-4.2-2.8L-2.8-4.2L0-1.4L2.8-4.2L4.2-2.8L1.4 0L4.2 2.8L2.8 4.2L0 1.4L-2.8 4.2L-4.2 2.8L-1.4 0z",
)


def line_chart(series: Mapping[str, Points], xlabel: str, ylabel: str) -> str:
    """Draws shares, in per cent, against something.

    Args:
        series: by the name of each: where, and what was found there. Its place in the order gives
            it its colour, dash and marker.
        xlabel: what the places are, with its unit.
        ylabel: what the shares are.

    Returns:
        An `<svg>`, or nothing where no share can be had.
    """
    known = {
        number: (name, [(at, found) for at, found in points if found.value is not None])
        for number, (name, points) in enumerate(series.items())
    }
    every = [(at, found) for _, points in known.values() for at, found in points]
    if not every:
        return ""
    right = max(at for at, _ in every) or 1
    top = max(max(_bounds(found)[1], found.value or 0) for _, found in every) or 1
    step = _step(top, 5)
    top = min(1.0, math.ceil(top / step - 1e-9) * step)

    scale = _Scale(right, top)
    parts = [_axes(scale, step, xlabel, ylabel)]
    drawn = [(number, *one) for number, one in known.items() if one[1]]
    parts += [_band(scale, number, points) for number, _, points in drawn]
    parts += [_line(scale, number, name, points) for number, name, points in drawn]
    names = ", ".join(name for _, name, _ in drawn)
    label = escape(f"{ylabel}, against the {xlabel}; of {names}. The numbers follow as a table.")
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


@dataclass(frozen=True)
class _Scale:
    """Places and shares to units of the drawing."""

    right: float
    top: float

    def x(self, at: float) -> float:
        return round(_LEFT + at / self.right * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, share: float) -> float:
        return round(HEIGHT - _BOTTOM - share / self.top * (HEIGHT - _TOP - _BOTTOM), 1)


def swatch(number: int) -> str:
    """The sample of a line that a legend shows."""
    return (
        f'<svg class="swatch s{number % 8}" viewBox="0 0 40 12" aria-hidden="true">'
        f'<path class="line" d="M1 6H39"{_dash(number)}/>'
        f'<path class="dot" d="{_MARKERS[number % len(_MARKERS)]}" transform="translate(20 6)"/>'
        "</svg>"
    )


def _step(most: float, parts: int) -> float:
    """A round distance of ticks, 1, 2 or 5 times a power of ten."""
    rough = most / parts
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(round(f * power, 12) for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))


def _bounds(found: Estimate) -> tuple[float, float]:
    value = found.value or 0.0
    return (
        value if found.low is None else found.low,
        value if found.high is None else found.high,
    )


def _dash(number: int) -> str:
    dash = _DASHES[number % len(_DASHES)]
    return "" if dash == "none" else f' stroke-dasharray="{dash}"'


def _axes(scale: _Scale, step: float, xlabel: str, ylabel: str) -> str:
    """Grid lines, ticks and names of both axes."""
    parts = []
    for number in range(round(scale.top / step) + 1):
        at = scale.y(number * step)
        parts.append(
            f'<path class="rule" d="M{_LEFT} {at}H{WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 7}" y="{at + 4}" text-anchor="end">{100 * number * step:.3g} %</text>'
        )
    for place in range(0, int(scale.right) + 1, max(1, round(_step(scale.right, 8)))):
        where = f'x="{scale.x(place)}" y="{HEIGHT - _BOTTOM + 18}"'
        parts.append(f'<text {where} text-anchor="middle">{place}</text>')
    across, up = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="name" x="{across}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(xlabel)}</text>"
        f'<text class="name" transform="translate(11 {up}) rotate(-90)" text-anchor="middle">'
        f"{escape(ylabel)}</text>"
    )
    return "".join(parts)


def _band(scale: _Scale, number: int, points: Points) -> str:
    low, high = (
        [f"{scale.x(at)} {scale.y(_bounds(found)[end])}" for at, found in points] for end in (0, 1)
    )
    if len(points) == 1:  # a band of no width: a bar instead
        return f'<path class="line s{number % 8}" d="M{low[0]}L{high[0]}"/>'
    return f'<path class="band s{number % 8}" d="M{"L".join([*low, *reversed(high)])}z"/>'


def _line(scale: _Scale, number: int, name: str, points: Points) -> str:
    places = [(at, found.value or 0.0) for at, found in points]
    path = "L".join(f"{scale.x(at)} {scale.y(value)}" for at, value in places)
    marker = _MARKERS[number % len(_MARKERS)]
    dots = "".join(
        f'<path class="dot" d="{marker}" transform="translate({scale.x(at)} {scale.y(value)})">'
        f"<title>{escape(name)}, {at:g}: {value:.1%}</title></path>"
        for at, value in places
    )
    return f'<g class="s{number % 8}"><path class="line" d="M{path}"{_dash(number)}/>{dots}</g>'
