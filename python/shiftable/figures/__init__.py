"""Figures of sweeps."""

from pathlib import Path

from shiftable import metrics
from shiftable.figures.lines import Panel, distance_figure, lines_figure
from shiftable.figures.one_image import most_unstable, shift_figure
from shiftable.figures.placement import placement_figure
from shiftable.outcome import Outcome
from shiftable.store import StoredSweep

__all__ = [
    "Panel",
    "distance_figure",
    "draw_image",
    "draw_sweep",
    "lines_figure",
    "most_unstable",
    "placement_figure",
    "shift_figure",
]


def draw_image(
    stored: StoredSweep, path: Path, *, image: str | None = None, classes: tuple[str, ...] = ()
) -> None:
    """Draws one photograph of a stored sweep, part by part, so that only one is in memory.

    Args:
        stored: of listed shifts.
        path: where to write.
        image: its name; by default the most unstable one.
        classes: names of the classes, for the legend.

    Raises:
        ValueError: for random groups of shifts, or a name that is not there.
    """
    best: tuple[tuple[float, float], Outcome, int] | None = None
    for outcome in stored.outcomes():
        if image is None:
            found = metrics.instability(outcome)
            number = found.index(max(found))
            if best is None or found[number] > best[0]:
                best = found[number], outcome, number
        elif image in outcome.names:
            best = (0.0, 0.0), outcome, outcome.names.index(image)
            break
    if best is None:
        raise ValueError(f"no image '{image}' in {stored.run}")
    shift_figure(best[1], path, image=best[2], classes=classes)


def draw_sweep(stored: StoredSweep, path: Path, classes: tuple[str, ...] = ()) -> None:
    """Draws a stored sweep: its most unstable photograph, and its metrics against the distance.

    The second figure is beside the first, with `-distance` in its name; each is left out where the
    plan has no such thing.
    """
    plan = stored.sweep.plan
    if not plan.group and len(plan) > 1:
        draw_image(stored, path, classes=classes)
    if plan.has_origin and any(plan.reach):
        distance = path.with_name(f"{path.stem}-distance.png")
        distance_figure({stored.name: stored.outcomes()}, distance)
