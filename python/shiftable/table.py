"""The metrics of a run as text for people and as JSON for machines."""

from collections.abc import Sequence
from typing import Any

from shiftable import metrics
from shiftable.metrics import METRICS, Estimate
from shiftable.store import Run


def text(run: Run, names: Sequence[str] = metrics.HEADLINE) -> str:
    """Returns a table: a row a metric, a column a sweep, each value with its 95 % interval."""
    sweeps = list(run.outcomes)
    summaries = [metrics.summary(run.outcomes[name]) for name in sweeps]
    counts = [
        (f"{len(outcome)}", f"{len(outcome.sweep.plan)}") for outcome in run.outcomes.values()
    ]
    rows = [
        ["network", *[str(run.manifest["model"]["name"])] * len(sweeps)],
        ["protocol", *sweeps],
        ["images", *[images for images, _ in counts]],
        ["shifts", *[shifts for _, shifts in counts]],
    ]
    for name in names:
        share = METRICS[name].share
        values = [_cell(summary[name], share) for summary in summaries]
        rows.append([METRICS[name].title, *values])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(4, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(
        [*lines, "[95 % intervals, bootstrapped over images; - where it cannot be had]"]
    )


def _cell(estimate: Estimate, share: bool) -> str:
    if estimate.value is None:
        return "-"

    def shown(value: float) -> str:
        return f"{100 * value:.1f}" if share else f"{value:.3f}"

    value = shown(estimate.value) + (" %" if share else "")
    if estimate.low is None or estimate.high is None:
        return f"{value} [-]"
    return f"{value} [{shown(estimate.low)}, {shown(estimate.high)}]"


def machine(run: Run) -> dict[str, Any]:
    """Returns every metric of every sweep, ready for JSON; what cannot be had is null."""
    return {
        "model": run.manifest["model"],
        "sweeps": [
            {
                "name": name,
                "protocol": outcome.sweep.protocol,
                "digest": outcome.sweep.digest,
                "images": len(outcome),
                "shifts": len(outcome.sweep.plan),
                "metrics": {
                    metric: _plain(estimate)
                    for metric, estimate in metrics.summary(outcome).items()
                },
                "worst_case_by_radius": [
                    {"radius": radius, "within": _plain(within), "ring": _plain(ring)}
                    for radius, (within, ring) in metrics.worst_case_by_radius(outcome).items()
                ],
                "by_image": [
                    {"image": image, **values}
                    for image, values in metrics.by_image(outcome).items()
                ],
            }
            for name, outcome in run.outcomes.items()
        ],
    }


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "images": estimate.images,
    }
