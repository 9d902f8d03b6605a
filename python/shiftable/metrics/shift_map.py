"""One image's answers, laid out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftable.outcome import Outcome
from shiftable.plan import Shifts


@dataclass(frozen=True, eq=False)
class ShiftMap:
    """One image's answers laid out over dy (rows) and dx (columns).

    Args:
        dy: (Y,) vertical shifts in pixels.
        dx: (X,) horizontal shifts in pixels.
        classes: (Y, X) predicted classes, -1 where the plan has no such shift.
        probability: (Y, X) of the true class, or of the reference class where that is unknown; NaN
            where the plan has no such shift.
        margin: (Y, X) probability of the best class minus that of the second.
        changed: share of the shifts whose class is not the reference class.
        first_change: the smallest Chebyshev distance at which the class is not the reference
            class, None if there is none.
    """

    dy: Shifts
    dx: Shifts
    classes: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    changed: float
    first_change: float | None


def shift_map(outcome: Outcome, image: int) -> ShiftMap:
    """Lays the answers for image number `image`, at its own size, out over (dy, dx)."""
    growth = outcome.sweep.plan.growth
    rows = np.flatnonzero(growth == growth[outcome.sweep.plan.origin])
    shifts = outcome.shifts_for(image)[rows]
    dy, row = np.unique(shifts[:, 0], return_inverse=True)
    dx, column = np.unique(shifts[:, 1], return_inverse=True)
    predicted = outcome.predictions[image, rows]
    known = bool(outcome.labelled[image])
    probability = (outcome.label_probability if known else outcome.reference_probability)[
        image, rows
    ]

    def laid_out(values: npt.NDArray[np.generic], empty: float) -> npt.NDArray[np.generic]:
        canvas = np.full((len(dy), len(dx)), empty, values.dtype)
        canvas[row, column] = values
        return canvas

    moved = predicted != outcome.references[image]
    distance = np.abs(shifts).max(1)
    return ShiftMap(
        dy,  # type: ignore[arg-type]
        dx,  # type: ignore[arg-type]
        laid_out(predicted, -1),  # type: ignore[arg-type]
        laid_out(probability, np.nan),  # type: ignore[arg-type]
        laid_out(outcome.margin[image, rows], np.nan),  # type: ignore[arg-type]
        float(moved.mean()),
        distance[moved].min().item() if moved.any() else None,
    )
