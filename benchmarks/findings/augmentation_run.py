"""Trains and measures the networks of `benchmarks.findings.augmentation`, which says what for."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from shiftable import Sweep, evaluate, metrics
from shiftable import nn as ours
from shiftable.functional import take_windows
from shiftable.intervals import Terms, difference, estimate
from shiftable.outcome import PER_SHIFT, Outcome
from shiftable.plan import ListedPlan, listed
from torch import Tensor, nn

from benchmarks.findings import trained
from benchmarks.findings.fashion_mnist import DEVIATION, IMAGE, MEAN, Data, read
from benchmarks.findings.trained import Recipe, Results, missing

STRIDE = 8  # of the networks: three times two


@dataclass(frozen=True)
class Settings(Recipe):
    """What all networks have in common."""

    batch: int = 64
    training_images: int = 25_600
    widths: tuple[int, ...] = (8, 16, 32, 64)
    canvas: int = 56  # pixels of its side
    ranges: tuple[int, ...] = (0, 4, 8, 14)  # the last one is all that the canvas allows
    shown_images: int = 500  # the first ones, of training and of test

    @property
    def reach(self) -> int:
        """The farthest that an image can be from the middle, in pixels."""
        return (self.canvas - IMAGE) // 2


QUICK = Settings(
    epochs=1, training_images=256, widths=(4, 4, 4, 8), canvas=32, ranges=(0, 1, 2), shown_images=16
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A way to halve a map, and whether the last map's places are averaged."""

    title: str
    make: Callable[[], nn.Module]
    averages: bool = True


VARIANTS = {
    "max": Variant("max-pool", lambda: nn.MaxPool2d(2)),
    "max-blur": Variant("max-blur", lambda: ours.MaxBlurPool2d(2, filter_size=3)),
    "max-places": Variant("max-pool, places kept", lambda: nn.MaxPool2d(2), averages=False),
}
PARTS = {"test": "test", "train": "training"}


def network(variant: Variant, settings: Settings, seed: int) -> nn.Module:
    """Untrained; equal seeds give equal parameters, but for the last layer where places are kept."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise((1, *settings.widths)):
        if layers:
            layers.append(variant.make())
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    places = 1 if variant.averages else settings.canvas // STRIDE
    layers += [nn.AdaptiveAvgPool2d(places), nn.Flatten()]
    head = nn.Linear(settings.widths[-1] * places**2, 10)
    return nn.Sequential(*layers, head).to(memory_format=torch.channels_last)


def offsets(count: int, farthest: int, draw: torch.Generator) -> Tensor:
    """(count, 2): (dy, dx) in pixels, uniform; a generator gives like ones, whatever the range."""
    return (torch.rand(count, 2, generator=draw) * (2 * farthest + 1)).long() - farthest


def placed(images: Tensor, shifts: Tensor, canvas: int) -> Tensor:
    """Images (N, 1, 28, 28) on black, (N, 1, canvas, canvas), each (dy, dx) from the middle."""
    corners = -(canvas - IMAGE) // 2 - shifts
    return take_windows(images, corners[:, None], (canvas, canvas))[:, 0]


def train(model: nn.Module, data: Data, settings: Settings, farthest: int, seed: int) -> None:
    """Trains on images moved up to so many pixels, anew in every epoch."""
    draw = torch.Generator().manual_seed(1000 + seed)

    def shown(chosen: Tensor) -> Tensor:
        shifts = offsets(len(chosen), farthest, draw)
        return placed(data.images[chosen], shifts, settings.canvas)

    trained.train(model, data.labels, shown, settings, seed)


# -- measuring -------------------------------------------------------------------------------------


def plan(reach: int) -> ListedPlan:
    """The offsets along the middle row, and along a diagonal, pixel by pixel."""
    steps = range(-reach, reach + 1)
    return listed(list(dict.fromkeys([(0, t) for t in steps] + [(t, t) for t in steps])))


def distances(outcome: Outcome) -> npt.NDArray[np.int64]:
    """(S,): of each offset, max(|dy|, |dx|)."""
    return metrics.rings(outcome)[0]


def part(outcome: Outcome, kept: npt.NDArray[np.bool_]) -> Outcome:
    """The outcome of some of the shifts."""
    shifts = outcome.shifts_for(0)[kept].tolist()
    sweep = replace(outcome.sweep, plan=listed([(dy, dx) for dy, dx in shifts]))
    fields = {name: getattr(outcome, name)[:, kept] for name in PER_SHIFT}
    return replace(outcome, sweep=sweep, **fields)


def consistency(outcome: Outcome) -> Terms:
    """Share of offsets that get the class that the image gets in the middle."""
    changed, count = metrics.changed(outcome)
    return count - changed, count


def split(outcome: Outcome, farthest: int) -> dict[str, Any]:
    """The metrics inside of the range and outside, and what outside differs by.

    Consistency leaves the middle itself out, accuracy inside has it. A step of one pixel counts
    where both its ends do.
    """
    away = distances(outcome)
    sides = {"inside": away <= farthest, "outside": away > farthest}
    found: dict[str, dict[str, Terms]] = {}
    for side, kept in sides.items():
        if not kept.any():
            continue
        own = part(outcome, kept)
        found[side] = {
            "consistency": consistency(part(outcome, kept | (away == 0))),
            "accuracy": metrics.accuracy(own),
            "top1_change": metrics.top1_change(own, "right", "down_right"),
        }
    known = {
        side: {name: asdict(estimate(terms)) for name, terms in own.items()}
        for side, own in found.items()
    }
    if len(found) == 2:
        known["difference"] = {
            name: asdict(difference(found["outside"][name], found["inside"][name]))
            for name in found["inside"]
        }
    return known


def by_distance(outcome: Outcome) -> dict[str, Any]:
    """Consistency and accuracy at each distance from the middle."""
    away = distances(outcome)
    found: dict[str, Any] = {}
    for distance in np.unique(away).tolist():
        at = away == distance
        same = estimate(consistency(part(outcome, at | (away == 0))))
        right = estimate(metrics.accuracy(part(outcome, at)))
        found[str(distance)] = {"consistency": asdict(same), "accuracy": asdict(right)}
    return found


def by_place(outcome: Outcome) -> dict[str, Any]:
    """Consistency and accuracy at each place of the row and the diagonal, without intervals."""
    shifts = outcome.shifts_for(0)
    same = outcome.predictions == outcome.references[:, None]
    lines = {"horizontal": shifts[:, 0] == 0, "diagonal": shifts[:, 0] == shifts[:, 1]}
    return {
        line: {
            name: values[:, np.flatnonzero(on)[np.argsort(shifts[on, 1])]].mean(0).tolist()
            for name, values in (("consistency", same), ("accuracy", outcome.correct))
        }
        for line, on in lines.items()
    }


def measure(model: nn.Module, data: Data, settings: Settings, farthest: int) -> dict[str, Any]:
    """What is found of one network on some images."""
    sweep = Sweep("embed", plan(settings.reach), (settings.canvas, settings.canvas))
    outcome = evaluate(
        model, data.images, sweep, data.labels, memory_format="channels_last",
        scale=1 / DEVIATION, bias=-MEAN / DEVIATION,
    )  # fmt: skip
    return {
        "split": split(outcome, farthest),
        "by_distance": by_distance(outcome),
        "by_place": by_place(outcome),
    }


def named(variant: str, farthest: int) -> str:
    """What results are kept under."""
    return f"{variant}-{farthest}"


def run(
    place: Path, settings: Settings, seeds: int, done: Results, keep: Callable[[], None]
) -> None:
    """Trains and measures what is not done yet."""
    every = {named(variant, r): (variant, r) for variant in VARIANTS for r in settings.ranges}
    left = missing(every, seeds, done)
    if not left:
        return
    training = read(place, "train").first(settings.training_images)
    test = read(place, "t10k")
    for name, seed in left:
        variant, farthest = every[name]
        began = time.process_time()
        model = network(VARIANTS[variant], settings, seed)
        train(model, training, settings, farthest, seed)
        half = time.process_time()
        found = {
            which: measure(model, data.first(settings.shown_images), settings, farthest)
            for which, data in (("test", test), ("train", training))
        }
        spent = {"training": half - began, "measuring": time.process_time() - half}
        done.setdefault(name, {})[str(seed)] = {**found, "cpu_seconds": spent}
        keep()
        told = found["test"]["split"]
        shown = "  ".join(
            f"{side} {own['accuracy']['value']:.1%} right"
            for side, own in told.items()
            if side != "difference"
        )
        print(f"{name:13} seed {seed}: {shown}  ({sum(spent.values()):.0f} s)", flush=True)
