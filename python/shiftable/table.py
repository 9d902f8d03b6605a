"""The metrics of a run as text for people and as JSON for machines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shiftable import metrics
from shiftable.intervals import difference, estimate
from shiftable.metrics import HEADLINE, HEADLINE_WHERE_HAD, METRICS, Estimate
from shiftable.store import Run, StoredSweep, first_difference

_NOTE = "[95 % intervals, bootstrapped over images; - where it cannot be had]"
_PAIRED = "[95 % intervals, bootstrapped over the images that both runs share, image by image]"


def text(run: Run, names: Sequence[str] | None = None) -> str:
    """Returns a table: a row a metric, a column a sweep, each value with its 95 % interval.

    Args:
        run: complete.
        names: which metrics; by default the headline ones, and those that only some plans have
            where there is such a plan.
    """
    summaries = [
        metrics.summary(sweep.outcomes(), names or (*HEADLINE, *HEADLINE_WHERE_HAD))
        for sweep in run.sweeps.values()
    ]
    rows = _head(run)
    for name in names or had(summaries):
        values = [cell(summary[name], METRICS[name].share) for summary in summaries]
        rows.append([METRICS[name].title, *values])
    return "\n".join([*_aligned(rows, 4), *_lower_precision(run), _NOTE])


def had(summaries: Iterable[Mapping[str, Estimate]]) -> list[str]:
    """Returns the headline metrics, in the table's order, with the special ones that have a value."""
    every = list(summaries)
    return [
        name
        for name in METRICS
        if name in HEADLINE
        or (
            name in HEADLINE_WHERE_HAD and any(summary[name].value is not None for summary in every)
        )
    ]


def _head(run: Run) -> list[list[str]]:
    sweeps = list(run.sweeps.values())
    return [
        ["network", *[str(run.manifest["model"]["name"])] * len(sweeps)],
        ["protocol", *[sweep.name for sweep in sweeps]],
        ["images", *[str(len(sweep)) for sweep in sweeps]],
        ["shifts", *[str(len(sweep.sweep.plan)) for sweep in sweeps]],
    ]


def _lower_precision(run: Run) -> list[str]:
    found = run.manifest["lower_precision"]
    if found is None:
        return []
    share = found["other_class_than_float32"] / found["windows"]
    return [
        f"[in {run.manifest['settings']['precision']}: another class than in float32 for "
        f"{found['other_class_than_float32']} of a sample of {found['windows']} windows, {share:.2%}]"
    ]


def _aligned(rows: Sequence[Sequence[str]], head: int) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(head, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return lines


def cell(found: Estimate, share: bool, sign: str = "") -> str:
    """Returns a value with its interval, in per cent if it is a share; `+` signs it."""
    if found.value is None:
        return "-"

    def shown(value: float) -> str:
        return f"{100 * value:{sign}.1f}" if share else f"{value:{sign}.3f}"

    value = shown(found.value) + (" %" if share else "")
    if found.low is None or found.high is None:
        return f"{value} [-]"
    return f"{value} [{shown(found.low)}, {shown(found.high)}]"


def shared(run: Run, other: Run) -> list[str]:
    """Returns the names of the sweeps that both runs have alike, of the same images.

    Raises:
        ValueError: if there is none.
    """
    reasons = {name: unlike(run, other, name) for name in run.sweeps}
    names = [name for name, reason in reasons.items() if reason is None]
    if not names:
        raise ValueError(
            f"{run.path} and {other.path} have no sweep of the same shifts and images in common: "
            + "; ".join(filter(None, reasons.values()))
        )
    return names


def unlike(run: Run, other: Run, name: str) -> str | None:
    """Why a sweep of one run cannot be compared with the other's; None where it can."""
    if name not in other.sweeps:
        return f"{other.path} has no sweep '{name}', it has {', '.join(other.sweeps)}"
    for what in ("sweep", "images"):
        one, two = (each.sweeps[name].entry[what] for each in (run, other))
        if one != two:
            hint = "; give both networks one --size" if one.get("size") != two.get("size") else ""
            return f"{name}: {first_difference(one, two)}{hint}"
    return None


def comparison(run: Run, other: Run, names: Sequence[str] | None = None) -> str:
    """Returns a table of both runs and their difference, for each sweep that they share."""
    lines: list[str] = []
    for sweep in shared(run, other):
        found = compared(run.sweeps[sweep], other.sweeps[sweep], names)
        rows = [["", str(run.path), str(other.path), "difference"]]
        rows[0][0] = sweep
        for name, (first, second, apart) in found.items():
            share = METRICS[name].share
            cells = [cell(first, share), cell(second, share), cell(apart, share, "+")]
            rows.append([METRICS[name].title, *cells])
        lines += [*_aligned(rows, 1), ""]
    return "\n".join([*lines[:-1], _PAIRED])


def compared(
    sweep: StoredSweep, other: StoredSweep, names: Sequence[str] | None
) -> dict[str, tuple[Estimate, Estimate, Estimate]]:
    """Estimates metrics of two networks on the same sweep, and the first minus the second.

    Args:
        sweep: of the first network.
        other: of the second, on the same shifts and images (see `unlike`).
        names: which metrics; by default the headline ones, where they can be had.
    """
    asked = names or (*HEADLINE, *HEADLINE_WHERE_HAD)
    terms, others = (metrics.terms(one.outcomes(), asked) for one in (sweep, other))
    found = {
        name: (estimate(terms[name]), estimate(others[name]), difference(terms[name], others[name]))
        for name in asked
    }
    kept = names or had([{name: three[0] for name, three in found.items()}])
    return {name: found[name] for name in kept}


def machine_comparison(run: Run, other: Run) -> dict[str, Any]:
    """Returns every metric of both runs and their difference, ready for JSON.

    `ratio` is the first value over the second: averaged over sweeps of several perturbations, with
    a baseline as the second run, it is a mean flip rate or mean top-5 distance (Hendrycks &
    Dietterich, ICLR 2019).
    """
    sweeps = []
    for name in shared(run, other):
        found = compared(run.sweeps[name], other.sweeps[name], tuple(METRICS))
        sweeps.append(
            {
                "name": name,
                "metrics": {
                    metric: {
                        "first": plain(first),
                        "second": plain(second),
                        "difference": plain(apart),
                        "ratio": first.value / second.value
                        if first.value is not None and second.value
                        else None,
                    }
                    for metric, (first, second, apart) in found.items()
                },
            }
        )
    return {"first": str(run.path), "second": str(other.path), "sweeps": sweeps}


def machine(run: Run) -> dict[str, Any]:
    """Returns every metric of every sweep, ready for JSON; what cannot be had is null."""
    return {
        "model": run.manifest["model"],
        "settings": run.manifest["settings"],
        "lower_precision": run.manifest["lower_precision"],
        "sweeps": [
            {
                "name": name,
                "protocol": sweep.sweep.protocol,
                "digest": sweep.sweep.digest,
                "images": len(sweep),
                "shifts": len(sweep.sweep.plan),
                "pixels": sweep.pixels(),
                "metrics": {
                    **{
                        metric: plain(found)
                        for metric, found in metrics.summary(sweep.outcomes()).items()
                    },
                    "variance_ratio": plain(metrics.variance_ratio(sweep.outcomes())),
                },
                "by_distance": [
                    {
                        "distance": radius,
                        "within": plain(at.within),
                        "ring": plain(at.ring),
                        "changed": plain(at.changed),
                    }
                    for radius, at in metrics.by_distance(sweep.outcomes()).items()
                ],
                "by_image": [
                    {"image": image, **values}
                    for image, values in metrics.by_image(sweep.outcomes()).items()
                ],
            }
            for name, sweep in run.sweeps.items()
        ],
    }


def plain(found: Estimate) -> dict[str, Any]:
    """A value with its interval, ready for JSON."""
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "images": found.images,
    }
