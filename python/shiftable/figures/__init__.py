"""Figures of sweeps."""

from pathlib import Path

from shiftable.figures.lines import Panel, distance_figure, lines_figure
from shiftable.figures.one_image import instability, most_unstable, shift_figure
from shiftable.store import StoredSweep

__all__ = [
    "Panel",
    "distance_figure",
    "draw_sweep",
    "lines_figure",
    "most_unstable",
    "shift_figure",
]


def draw_sweep(stored: StoredSweep, path: Path, classes: tuple[str, ...] = ()) -> None:
    """Draws a stored sweep: its most unstable photograph, and its metrics against the distance.

    The second figure is beside the first, with `-distance` in its name; each is left out where the
    plan has no such thing.
    """
    if not stored.sweep.plan.group:
        # The most unstable image of all, part by part; its own outcome is all that is kept.
        most = max(
            ((max(instability(outcome)), outcome) for outcome in stored.outcomes()),
            key=lambda found: found[0],
        )
        shift_figure(most[1], path, classes=classes)
    if stored.sweep.plan.has_origin and len(stored.sweep.plan) > 1:
        try:
            distance_figure(
                {stored.name: stored.outcomes()}, path.with_name(f"{path.stem}-distance.png")
            )
        except ValueError:  # nothing is known of it
            return
