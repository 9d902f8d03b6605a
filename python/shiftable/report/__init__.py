"""One HTML file of stored runs: tables, curves, and the photographs themselves, shift by shift."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from shiftable import demo, metrics, store, table
from shiftable.colours import COLOURS
from shiftable.images import Photographs
from shiftable.metrics import HEADLINE, HEADLINE_WHERE_HAD
from shiftable.report import page
from shiftable.report.answers import Layout, Photograph, Series, collect, layout, scan
from shiftable.report.pictures import MissingError, Picture, draw, photographs_of
from shiftable.store import Run

__all__ = ["write_report"]

Classes = Sequence[str] | Mapping[int, str]


def write_report(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    images: Sequence[str | Path] = (),
    classes: Classes | None = None,
    photographs: int | None = 12,
    sweeps: Sequence[str] = (),
    title: str | None = None,
    pictures: bool = True,
) -> list[str]:
    """Writes one self-contained page of runs: it opens anywhere and fetches nothing.

    Args:
        runs: their folders, complete.
        out: where to write; a file that is there is replaced, whole or not at all.
        images: sources of the photographs, as in `images.load`; by default where each run says that
            they were. Where they are gone the page is made without pictures.
        classes: names of the classes by number; by default ImageNet's for networks of the demo.
        photographs: how many, the most unstable ones; None for all.
        sweeps: only those of these names.
        title: of the page; by default the runs' names.
        pictures: whether photographs may become part of the page.

    Returns:
        What is missing on the page and why, a line each.

    Raises:
        ValueError: for a run that is not there or not complete, or photographs that are not its own.
    """
    series = _series([Path(run) for run in runs], sweeps)
    summaries = [
        metrics.summary(one.stored.outcomes(), (*HEADLINE, *HEADLINE_WHERE_HAD)) for one in series
    ]
    names = page.legends(series)
    distances = {
        name: metrics.by_distance(one.stored.outcomes())
        for name, one in zip(names, series, strict=True)
        if any(one.sweep.plan.reach)
    }
    found = scan(series, photographs)
    shown = collect(series, found)
    loaded, missing = _loaded(series, found.labels, shown, images) if pictures else ({}, {})
    notes = [_without(names, error.brief) for error, names in missing.items()]
    named = _class_names(series, found.labels) if classes is None else classes
    plans = [one.sweep.plan for one in series]
    layouts = {at: layout(one.sweep.plan) for at, one in enumerate(series) if one.mapped}
    data = [_card_data(photograph, series, layouts, loaded, named) for photograph in shown]
    cards = [
        page.card(number, photograph, series, named, own)
        for number, (photograph, own) in enumerate(zip(shown, data, strict=True))
    ]
    lossy = any(one["url"].startswith("data:image/webp") for own in data for one in own["pictures"])
    text = page.assemble(
        title=title or _listed(dict.fromkeys(one.title for one in series)),
        lede="How much the answers of a network change as a photograph moves by pixels.",
        sections=[
            page.summary(series, summaries, table.had(summaries)),
            page.differences(*_differences(series)),
            page.curves(distances),
            page.photographs(cards, [*notes, *_remarks(series, len(cards), pictures, lossy)]),
            page.provenance(series),
        ],
        data={
            "colours": COLOURS,
            "series": [
                _series_data(one, name, layouts.get(at), plans.index(one.sweep.plan))
                for at, (one, name) in enumerate(zip(series, names, strict=True))
            ],
        },
    )
    with store.replacing(Path(out)) as partial:
        partial.write_text(text, encoding="utf-8")
    return [_without(names, str(error)) for error, names in missing.items()]


def read_classes(path: Path) -> Classes:
    """Reads names of classes: one a line, or JSON, a list or an object by number.

    Raises:
        ValueError: if the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path} as names of classes in UTF-8: {error}") from error
    if path.suffix.lower() != ".json":
        return text.splitlines()
    expected = f"{path}: expected a JSON list of names, or an object of names by class number"
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            # ImageNet's own index has [WordNet identifier, name].
            return {
                int(number): str(name[-1] if isinstance(name, list) else name)
                for number, name in found.items()
            }
    except (ValueError, IndexError, RecursionError) as error:
        raise ValueError(f"{expected}: {error}") from error
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{expected}, got {text[:40]}")
    return found


def _series(paths: Sequence[Path], sweeps: Sequence[str]) -> list[Series]:
    if not paths:
        raise ValueError("expected a run to report on, got none")
    titles = store.titles(paths)
    if len(set(titles)) != len(titles):
        raise ValueError(f"expected each run once, got {', '.join(titles)}")
    return [
        Series(title, run, sweep.name)
        for title, run in zip(titles, map(store.load, paths), strict=True)
        for sweep in run.chosen(sweeps)
    ]


def _listed(names: Iterable[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _differences(series: Sequence[Series]) -> tuple[list[page.Difference], list[str]]:
    """Of every pair of runs that share a sweep; and why other sweeps cannot be compared."""
    runs: dict[str, Run] = {one.title: one.run for one in series}
    chosen = dict.fromkeys(one.name for one in series)
    found, reasons = [], []
    for first, second in combinations(runs, 2):
        for name in chosen:
            run, other = runs[first], runs[second]
            if name not in run.sweeps or name not in other.sweeps:
                continue
            if (reason := table.unlike(run, other, name)) is not None:
                reasons.append(f"{first} and {second} cannot be compared, {reason}.")
                continue
            compared = table.compared(run.sweeps[name], other.sweeps[name], None)
            apart = {metric: three[2] for metric, three in compared.items()}
            found.append((name, first, second, apart))
    return found, reasons


def _class_names(series: Sequence[Series], labels: Sequence[tuple[int, ...]]) -> Classes:
    """ImageNet's, where networks of the demo are among them and they are installed.

    The others have the same classes if their photographs have the same labels, of which some are
    known.
    """
    ours = [str(one.run.manifest["model"]["name"]).startswith("demo:") for one in series]
    known = [own for own, one in zip(labels, ours, strict=True) if one and max(own) >= 0]
    alike = bool(known) and all(own == known[0] for own in labels)
    if all(ours) or alike:
        try:
            return demo.class_names()
        except ImportError:
            pass
    return ()


def _loaded(
    series: Sequence[Series],
    labels: Sequence[tuple[int, ...]],
    shown: Sequence[Photograph],
    images: Sequence[str | Path],
) -> tuple[dict[int, Photographs], dict[MissingError, list[str]]]:
    """The photographs of each series that is shown, and of which others they are missing, and why."""
    loaded: dict[int, Photographs] = {}
    missing: dict[str, tuple[MissingError, list[str]]] = {}
    for at in sorted({at for photograph in shown for at in photograph.answers}):
        try:
            loaded[at] = photographs_of(series[at], labels[at], images)
        except MissingError as error:
            missing.setdefault(str(error), (error, []))[1].append(series[at].label)
    return loaded, dict(missing.values())


def _without(names: Sequence[str], reason: str) -> str:
    return f"Without pictures of {'; '.join(names)}: {reason}. Name them by --images."


def _remarks(series: Sequence[Series], cards: int, pictures: bool, lossy: bool) -> list[str]:
    """What a reader of the maps has to know."""
    remarks = []
    unmapped = [one.label for one in series if not one.mapped]
    if unmapped:
        remarks.append(
            f"No map of {'; '.join(unmapped)}: random groups of shifts, or a single one, have no "
            "order to draw them in."
        )
    if cards and not pictures:
        remarks.append("The pictures are left out, as was asked for.")
    elif cards and any(one.mapped and not one.sweep.plan.whole for one in series):
        remarks.append(
            "Pictures at shifts between pixels are approximate: the browser interpolates them, not "
            "the sweep's own filter."
        )
    if cards and any(one.mapped and len(set(one.sweep.plan.growth)) > 1 and any(one.sweep.plan.reach)
                     for one in series):  # fmt: skip
        remarks.append("Maps over shifts are at the photograph's own size.")
    if lossy:
        remarks.append("Pictures are compressed for this page, with small losses.")
    return remarks


def _series_data(one: Series, name: str, cells: Layout | None, like: int) -> dict[str, Any]:
    """What the script needs of a series: the shift of each cell, and what to call it."""
    if cells is None:
        return {"name": name}
    plan = one.sweep.plan
    rows = cells.rows.reshape(-1)
    at = np.flatnonzero(rows == plan.origin)
    return {
        "name": name,
        "plan": like,
        "size": one.sweep.size,
        "shape": cells.rows.shape,
        "across": cells.across,
        "down": cells.down,
        "shifts": plan.shifts_for(0)[rows].tolist(),
        "growth": plan.growth[rows].tolist() if plan.growth.any() else None,
        "rest": int(at[0]) if plan.has_origin and len(at) else -1,
        "exact": plan.whole,
    }


def _card_data(
    photograph: Photograph,
    series: Sequence[Series],
    layouts: Mapping[int, Layout],
    loaded: Mapping[int, Photographs],
    classes: Classes,
) -> dict[str, Any]:
    """What the script needs of one photograph: its classes, its answers and its pictures."""
    numbers, names = page.class_names(photograph, classes)
    place = {number: at for at, number in enumerate(numbers)}
    pictures: dict[str, int] = {}
    drawn: list[Picture] = []
    maps = []
    for at, answers in photograph.answers.items():
        # Two networks that were shown the same share a picture.
        shown = f"{series[at].sweep.digest} {series[at].stored.entry['images']['identity']}"
        if at in loaded and shown not in pictures:
            pictures[shown] = len(drawn)
            number = photograph.number
            drawn.append(draw(series[at].sweep, layouts[at], loaded[at][number], number))
        columns = [
            np.array([place[number] for number in answers.classes.tolist()]),
            np.rint(answers.probability.astype(np.float64) * 1000),
            np.rint(answers.subject_probability.astype(np.float64) * 1000),
        ]
        cells = np.concatenate(columns).astype("<u2").tobytes()
        maps.append(
            {
                "series": at,
                "picture": pictures.get(shown, -1),
                "subject": place[answers.subject],
                "cells": base64.b64encode(cells).decode(),
            }
        )
    return {
        "classes": names,
        "truth": place.get(photograph.label, -1),
        "maps": maps,
        "pictures": [{"url": one.url, "rest": one.rest, "columns": one.columns} for one in drawn],
    }
