"""The page: what was found, as HTML. Every name is escaped here, and nowhere else."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Any

from shiftable.colours import COLOURS, readable
from shiftable.metrics import METRICS, AtDistance, Estimate
from shiftable.report.answers import Photograph, Series, class_table, name_of
from shiftable.report.chart import line_chart, swatch
from shiftable.table import cell

Difference = tuple[str, str, str, dict[str, Estimate]]  # sweep, run, other run, by metric

_GROUNDS = {"light": "#ffffff", "dark": "#191b1f"}  # of style.css: what lines are seen against
_MEANINGS = {
    "top1_change": "share of one-step moves of the photograph at which the predicted class changes",
    "top1_change_size": "the same for one-pixel steps of the photograph's size",
    "mac": "how far the probability of the class predicted before moves in one step, on average",
    "mac_size": "the same for one-pixel steps of the photograph's size",
    "mac_pairs": "the same between the two random shifts of a pair",
    "consistency": "share of pairs of different shifts that get the same class; a constant answer would be perfect, so read it beside accuracy",
    "group_consistency": "share of groups of random shifts all of which get one class",
    "accuracy": "share of all shifts at which the true class is predicted",
    "worst_case": "share of photographs whose true class is predicted at every shift",
}
_LONG = 24  # letters of a name that may be broken
_MINUS = "\N{MINUS SIGN}"
_DISTANCE = "distance of the shift, max(|dy|, |dx|) (pixels)"


def assemble(*, title: str, lede: str, sections: Sequence[str], data: Mapping[str, Any]) -> str:
    """Puts a page together: one file, whose policy lets only its own style and script run."""
    style, script = _style(), _text("script.js")
    return Template(_text("page.html")).substitute(
        title=escape(title),
        lede=escape(lede),
        sections="\n".join(sections),
        version=escape(version("shiftable")),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=as_json(data),
    )


def as_json(value: Any) -> str:
    """JSON that stands within a script element whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _style() -> str:
    """The style sheet, with the colours that all figures share made readable on both grounds."""
    lines = [
        f"--s{number}:light-dark({readable(colour, _GROUNDS['light'])},"
        f"{readable(colour, _GROUNDS['dark'])});"
        for number, colour in enumerate(COLOURS)
    ]
    rules = [f".s{number}{{--own:var(--s{number})}}" for number in range(len(COLOURS))]
    return f"{_text('style.css')}:root{{{''.join(lines)}}}\n{''.join(rules)}\n"


# -- tables ---------------------------------------------------------------------------------------


def summary(
    series: Sequence[Series], found: Sequence[Mapping[str, Estimate]], names: Sequence[str]
) -> str:
    """The section of every sweep's headline metrics, a row a sweep."""
    head = _head("run", "sweep", *(METRICS[name].title for name in names))
    rows = []
    for one, own in zip(series, found, strict=True):
        size = f"{len(one.stored)}&nbsp;photographs, {len(one.sweep.plan)}&nbsp;shifts"
        network = escape(str(one.run.manifest["model"]["name"]))
        cells = "".join(f"<td>{_value(own[name], METRICS[name].share)}</td>" for name in names)
        rows.append(
            f'<tr><th scope="row">{_named(one.title)}<small>{network}</small></th>'
            f'<td class="text">{escape(one.name)}<small>{size}</small></td>{cells}</tr>'
        )
    meanings = "".join(
        f"<dt>{escape(METRICS[name].title)}</dt><dd>{_MEANINGS[name]}</dd>" for name in names
    )
    return (
        '<section aria-labelledby="summary"><h2 id="summary">Summary</h2>'
        + _scrolled("Summary", f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>")
        + '<p class="note">In brackets 95 % intervals, bootstrapped over photographs; - where '
        "something cannot be had.</p>"
        f"<details><summary>What these numbers are</summary><dl>{meanings}</dl></details>"
        "</section>"
    )


def differences(found: Sequence[Difference], reasons: Sequence[str]) -> str:
    """The section of paired differences, and why there are no more; nothing where there is neither."""
    said = "".join(f'<p class="note">{escape(reason)}</p>' for reason in reasons)
    start = '<section aria-labelledby="differences"><h2 id="differences">Paired differences</h2>'
    if not found:
        return f"{start}{said}</section>" if reasons else ""
    names = list(dict.fromkeys(name for *_, own in found for name in own))
    head = _head("difference", "sweep", *(METRICS[name].title for name in names))
    rows = []
    for sweep, run, other, own in found:
        cells = "".join(
            f"<td>{_value(own[name], METRICS[name].share, '+') if name in own else '-'}</td>"
            for name in names
        )
        rows.append(
            f'<tr><th scope="row">{_named(run)} {_MINUS} {_named(other)}</th>'
            f'<td class="text">{escape(sweep)}</td>{cells}</tr>'
        )
    return (
        start
        + _scrolled(
            "Paired differences", f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        )
        + '<p class="note">Both runs are resampled together, photograph by photograph. Shares '
        "differ by percentage points. In bold where the interval leaves 0 out.</p>"
        f"{said}</section>"
    )


def _named(name: str) -> str:
    """A name that stays on one line, unless it is long."""
    return escape(name) if len(name) > _LONG else f'<span class="whole">{escape(name)}</span>'


def _head(*names: str) -> str:
    return "".join(f'<th scope="col">{escape(name)}</th>' for name in names)


def _value(found: Estimate, share: bool, sign: str = "") -> str:
    """A value with its interval below it."""
    value, _, interval = cell(found, share, sign).partition(" [")
    shown = escape(value.replace("-", _MINUS) if len(value) > 1 else value)
    if sign and found.low is not None and found.high is not None and found.low * found.high > 0:
        shown = f"<strong>{shown}</strong>"
    small = f" <small>[{escape(interval.replace('-', _MINUS))}</small>" if interval else ""
    return shown + small


def _scrolled(name: str, table: str) -> str:
    """A table that scrolls within its own box where the page is narrow."""
    return (
        f'<div class="scrolled" role="region" aria-label="{escape(name)}, table" tabindex="0">'
        f"<table>{table}</table></div>"
    )


# -- curves ---------------------------------------------------------------------------------------


def curves(found: Mapping[str, Mapping[int, AtDistance]]) -> str:
    """The section of what happens with the shift's distance."""
    changed = {
        name: [(at, own.changed) for at, own in by.items() if at] for name, by in found.items()
    }
    within = {name: [(at, own.within) for at, own in by.items()] for name, by in found.items()}
    charts = [
        chart
        for chart in (
            line_chart(changed, _DISTANCE, "P(another class than unshifted)"),
            line_chart(within, _DISTANCE, "P(correct at every shift so near)"),
        )
        if chart
    ]
    if not charts:
        return ""
    legend = "".join(
        f"<li>{swatch(number)}{escape(name)}</li>" for number, name in enumerate(found)
    )
    rows = []
    for name, by in found.items():
        for at, own in by.items():
            cells = [_value(one, True) for one in (own.changed, own.within)]
            rows.append(
                f'<tr><th scope="row">{_named(name)}</th><td>{at}</td>'
                f"<td>{cells[0]}</td><td>{cells[1]}</td></tr>"
            )
    table = _scrolled(
        "Numbers of the curves",
        '<thead><tr><th scope="col">line</th><th scope="col">distance (pixels)</th>'
        '<th scope="col">another class than unshifted</th>'
        f'<th scope="col">correct at every shift so near</th></tr></thead><tbody>{"".join(rows)}'
        "</tbody>",
    )
    return (
        '<section aria-labelledby="curves"><h2 id="curves">With the shift&rsquo;s distance</h2>'
        f'<ul class="legend">{legend}</ul><div class="charts">{"".join(charts)}</div>'
        '<p class="note">Bands are 95 % intervals over photographs.</p>'
        '<details class="numbers"><summary>The same as a table</summary>'
        f"{table}</details></section>"
    )


# -- photographs ----------------------------------------------------------------------------------


def photographs(cards: Sequence[str], notes: Sequence[str]) -> str:
    """The section of photographs, most unstable first, and what has to be said about them."""
    said = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    if not cards:
        return (
            '<section aria-labelledby="photographs"><h2 id="photographs">Photographs</h2>'
            f"{said}</section>"
        )
    return (
        '<section aria-labelledby="photographs"><h2 id="photographs">Photographs</h2>'
        "<p>The most unstable first. Every cell is one shift of the photograph: point at it, or "
        "move there by keys, to see what the network saw and answered.</p>"
        f"{said}<noscript><p>Maps and pictures are drawn by JavaScript, which is off.</p></noscript>"
        '<fieldset class="modes"><legend>Colour of the cells</legend>'
        '<label><input type="radio" name="mode" value="probability" checked autocomplete="off"> '
        "probability of the true class</label>"
        '<label><input type="radio" name="mode" value="class" autocomplete="off"> predicted class'
        "</label></fieldset>"
        '<p class="keys">Keys: <kbd>Tab</kbd> to a map, <kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> '
        "<kbd>↓</kbd> one cell, <kbd>Home</kbd> <kbd>End</kbd> ends of the row, <kbd>Page Up</kbd> "
        "<kbd>Page Down</kbd> ends of the column, <kbd>0</kbd> no shift.</p>"
        f"{''.join(cards)}</section>"
    )


def card(
    number: int,
    photograph: Photograph,
    series: Sequence[Series],
    classes: Sequence[str] | Mapping[int, str],
    data: Mapping[str, Any],
) -> str:
    """One photograph: its picture, its maps, and the data that the script draws them from."""
    truth = (
        f"True class: <b>{escape(name_of(photograph.label, classes))}</b>."
        if photograph.label >= 0
        else "Its true class is unknown: maps show the probability of the class predicted without a shift."
    )
    names = legends(series)
    groups: dict[str, list[str]] = {}
    for at, answers in photograph.answers.items():
        groups.setdefault(series[at].name, []).append(
            f'<figure class="map"><figcaption>{escape(names[at])}'
            f"<small>class changes at {100 * answers.changes:.0f} % of the steps</small>"
            '</figcaption><div class="frame"><canvas class="cells"></canvas></div></figure>'
        )
    maps = "".join(f'<div class="group">{"".join(own)}</div>' for own in groups.values())
    return (
        f'<article class="photograph" aria-labelledby="photograph-{number}">'
        f'<h3 id="photograph-{number}">{escape(photograph.name)}</h3><p>{truth}</p>'
        '<div class="stage"><div class="viewer"><canvas class="picture" role="img"></canvas>'
        '<div class="readout"><p class="where"></p><ul class="found"></ul></div></div>'
        f'<div class="maps"><div class="key"></div>{maps}</div></div>'
        f'<script type="application/json">{as_json(data)}</script></article>'
    )


def legends(series: Sequence[Series]) -> list[str]:
    """A name for each series: its run's, its sweep's, or both, whatever tells it from the others."""
    runs, sweeps = {one.title for one in series}, {one.name for one in series}
    if len(sweeps) == 1:
        return [one.title for one in series]
    if len(runs) == 1:
        return [one.name for one in series]
    return [one.label for one in series]


def class_names(
    photograph: Photograph, classes: Sequence[str] | Mapping[int, str]
) -> tuple[list[int], list[str]]:
    """The classes of a photograph by number, most frequent first, and their names."""
    numbers = class_table(photograph)
    return numbers, [name_of(number, classes) for number in numbers]


# -- where from -----------------------------------------------------------------------------------


def provenance(series: Sequence[Series]) -> str:
    """The section of what the numbers are of, enough to make them again."""
    lists = []
    for title in dict.fromkeys(one.title for one in series):
        own = [one for one in series if one.title == title]
        manifest = own[0].run.manifest
        facts = {
            "network": f"{manifest['model']['name']}, weights {str(manifest['model']['weights'])[:16]}",
            "versions": ", ".join(f"{name} {v}" for name, v in manifest["versions"].items() if v),
            "precision": manifest["settings"]["precision"],
            **{f"sweep {one.name}": _of_sweep(one) for one in own},
        }
        items = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd>" for name, fact in facts.items()
        )
        lists.append(f"<h3>{escape(title)}</h3><dl>{items}</dl>")
    return (
        '<section class="provenance" aria-labelledby="provenance">'
        f'<h2 id="provenance">Where the numbers are from</h2>{"".join(lists)}</section>'
    )


def _of_sweep(one: Series) -> str:
    height, width = one.sweep.size
    how = [
        one.sweep.protocol,
        one.sweep.border and f"border {one.sweep.border}",
        None if one.sweep.fill is None else f"fill {one.sweep.fill}",
        one.sweep.interpolation and f"interpolation {one.sweep.interpolation}",
        f"windows of {height} x {width} pixels",
        f"digest {one.sweep.digest[:16]}",
        f"photographs {one.stored.entry['images']['identity'][:16]}",
    ]
    return ", ".join(filter(None, how))
