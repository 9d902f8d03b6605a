"""Tables of what `benchmarks.findings.augmentation` found, in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from benchmarks.findings.augmentation_run import PARTS, STRIDE, VARIANTS, Settings, named
from benchmarks.findings.trained import Results, as_table, missing, spread


@dataclass(frozen=True)
class Found:
    """What a run found, seed by seed.

    Args:
        settings: of the run.
        results: as they are stored.
    """

    settings: Settings
    results: Results

    def seeds(self, variant: str, farthest: int) -> dict[str, Any]:
        """All that is known of a network, by its seed."""
        return self.results.get(named(variant, farthest), {})

    def split(
        self, variant: str, farthest: int, which: str, side: str, metric: str
    ) -> dict[str, Mapping[str, float]]:
        """An estimate inside, outside or of the difference, by seed; those that can be had."""
        known = {
            seed: found[which]["split"].get(side, {}).get(metric, {"value": None})
            for seed, found in self.seeds(variant, farthest).items()
        }
        return {seed: one for seed, one in known.items() if one["value"] is not None}

    def between(
        self, variant: str, farthest: int, which: str, ends: tuple[int, int], metric: str
    ) -> dict[str, float]:
        """A mean over distances, both ends among them, by seed; as many offsets are at each."""
        return {
            seed: fmean(
                found[which]["by_distance"][str(distance)][metric]["value"]
                for distance in range(ends[0], ends[1] + 1)
            )
            for seed, found in self.seeds(variant, farthest).items()
        }

    @property
    def bands(self) -> list[tuple[int, int]]:
        """Distances that the same networks were shown."""
        known = self.settings.ranges
        return [(before + 1, after) for before, after in pairwise(known)]

    @property
    def inner(self) -> tuple[int, ...]:
        """The ranges that have an inside and an outside."""
        return tuple(self.settings.ranges[1:-1])


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[float]:
    """What seeds that both have differ by."""
    return [after[seed] - before[seed] for seed in before if seed in after]


# -- tables ----------------------------------------------------------------------------------------


def mean(known: Mapping[str, Mapping[str, float]]) -> str:
    """Over seeds, in per cent."""
    return spread(one["value"] for one in known.values()) if known else "-"


def paired(known: Mapping[str, Mapping[str, float]]) -> str:
    """The mean over seeds, and bounds that hold the interval of every seed, in points."""
    middle = fmean(one["value"] for one in known.values())
    low, high = min(one["low"] for one in known.values()), max(o["high"] for o in known.values())
    return f"{100 * middle:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def apart(known: Mapping[str, Mapping[str, float]]) -> str:
    """Whether it is less outside, by the interval of each seed."""
    less = sum(one["high"] < 0 for one in known.values())
    more = sum(one["low"] > 0 for one in known.values())
    if not less and not more:
        return "**no: no difference**"
    said = {less: "yes", more: "**no: the reverse**"}
    return said.get(len(known), f"in {less} of {len(known)} seeds")


def rose(differences: Sequence[float]) -> str:
    """What seeds differ by, in points, and whether all rose."""
    up = sum(change > 0 for change in differences)
    said = {len(differences): "yes", 0: "**no**"}.get(up, f"in {up} of {len(differences)} seeds")
    return f"{spread(differences, '+')}: {said}"


def split_table(found: Found) -> list[str]:
    """Consistency inside and outside, on test and on training images."""
    rows = [["network", "trained up to, pixels", "images", "inside, %", "outside, %"]]
    rows[0] += ["outside - inside, points", "less outside, as claimed?"]
    for variant, kind in VARIANTS.items():
        for farthest in found.settings.ranges:
            for which, title in PARTS.items():
                if not found.seeds(variant, farthest):
                    continue
                inside, outside, difference = (
                    found.split(variant, farthest, which, side, "consistency")
                    for side in ("inside", "outside", "difference")
                )
                ends = [paired(difference), apart(difference)] if difference else ["-", "-"]
                rows.append(
                    [kind.title, str(farthest), title, mean(inside), mean(outside), *ends]
                )  # fmt: skip
    return as_table(rows)


def other_table(found: Found) -> list[str]:
    """Accuracy and P(top-1 change) inside and outside, on test images."""
    rows = [["network", "trained up to, pixels", "accuracy in the middle, %"]]
    rows[0] += ["accuracy inside, %", "outside, %"]
    rows[0] += ["P(top-1 change) inside, %", "outside, %"]
    for variant, kind in VARIANTS.items():
        for farthest in found.settings.ranges:
            if found.seeds(variant, farthest):
                middle = found.between(variant, farthest, "test", (0, 0), "accuracy")
                cells = [
                    mean(found.split(variant, farthest, "test", side, metric))
                    for metric in ("accuracy", "top1_change")
                    for side in ("inside", "outside")
                ]
                rows.append([kind.title, str(farthest), spread(middle.values()), *cells])
    return as_table(rows)


def bands_table(found: Found) -> list[str]:
    """Consistency of test images at the same offsets, by what was shown."""
    stride = [(STRIDE, STRIDE)] if found.settings.reach >= STRIDE else []
    columns = [f"{first} to {last} pixels, %" for first, last in found.bands]
    columns += [f"{first} (the stride), %" for first, _ in stride]
    rows = [["network", "trained up to, pixels", *columns]]
    for variant, kind in VARIANTS.items():
        for farthest in found.settings.ranges:
            if found.seeds(variant, farthest):
                cells = []
                for band in found.bands + stride:
                    known = found.between(variant, farthest, "test", band, "consistency")
                    cell = spread(known.values())
                    cells.append(cell if band[1] <= farthest else f"*{cell}*")
                rows.append([kind.title, str(farthest), *cells])
    return as_table(rows)


def claims_table(found: Found) -> list[str]:
    """What the claim's parts are measured by, paired by seed, in points of consistency."""
    rows = [["network", "trained up to, pixels", "augmentation helped inside", "and outside"]]
    rows[0] += ["the whole canvas shown would have helped outside", "training images helped inside"]
    whole = found.settings.ranges[-1]
    for variant, kind in VARIANTS.items():
        for farthest in found.inner:
            if not all(found.seeds(variant, r) for r in (0, farthest, whole)):
                continue
            inside, outside = (1, farthest), (farthest + 1, found.settings.reach)

            def of(
                ends: tuple[int, int], shown: int, which: str = "test", variant: str = variant
            ) -> dict[str, float]:
                return found.between(variant, shown, which, ends, "consistency")

            rows.append([
                kind.title, str(farthest),
                rose(changes(of(inside, 0), of(inside, farthest))),
                rose(changes(of(outside, 0), of(outside, farthest))),
                rose(changes(of(outside, farthest), of(outside, whole))),
                rose(changes(of(inside, farthest), of(inside, farthest, "train"))),
            ])  # fmt: skip
    return as_table(rows)


def lacking(found: Found, seeds: int) -> list[str]:
    """A line on what was not run, if anything."""
    every = [named(variant, r) for variant in VARIANTS for r in found.settings.ranges]
    left: dict[int, list[str]] = {}
    for name, seed in missing(every, seeds, found.results):
        left.setdefault(seed, []).append(name)
    told = [
        f"seed {seed} of {'all networks' if len(names) == len(every) else ', '.join(names)}"
        for seed, names in left.items()
    ]
    return [f"Missing: {'; '.join(told)}."] if told else []
