"""What a network answered at every shift of every image; metrics and figures are functions of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from shiftable.plan import Shifts
from shiftable.sweep import Sweep

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The answers of one network to one sweep: N images, S shifts each, D directions of a step.

    Args:
        sweep: what the network was shown.
        names: of the N images.
        labels: (N,) the true classes, -1 where unknown.
        top: (N, S, k) the k = 5 most probable classes, best first (fewer if there are fewer).
        probability: (N, S) of the most probable class.
        second_probability: (N, S) of the second.
        reference_probability: (N, S) of the image's reference class.
        label_probability: (N, S) of the true class, NaN where unknown.
        change: (N, S, D) absolute change, one step on in that direction (`sweep.plan.directions`),
            of the probability of the class predicted before the step; NaN where the step leaves
            the plan.
        total_variation: (N, S, D) half the sum over all classes of the absolute changes.
        zipf: (N, S, D) the Zipf distance between the classes' ranks before and after the step, for
            plans along one line; else NaN.
        first: the number, in the plan and the whole sweep, of the first of these images.
    """

    sweep: Sweep
    names: tuple[str, ...]
    labels: Integers
    top: Integers
    probability: Floats
    second_probability: Floats
    reference_probability: Floats
    label_probability: Floats
    change: Floats
    total_variation: Floats
    zipf: Floats
    first: int = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def predictions(self) -> Integers:
        """(N, S): the most probable class."""
        return self.top[..., 0]

    @property
    def margin(self) -> Floats:
        """(N, S): probability of the best class minus that of the second."""
        return self.probability - self.second_probability

    @property
    def references(self) -> Integers:
        """(N,): the class predicted without a shift, or at the plan's first shift if all move."""
        return self.predictions[:, self.sweep.plan.origin]

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """(N,): whether the image's true class is known."""
        return np.greater_equal(self.labels, 0)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(N, S): whether the prediction is the true class; False where that is unknown."""
        return np.equal(self.predictions, self.labels[:, None])

    def shifts_for(self, image: int) -> Shifts:
        """Returns the (S, 2) shifts (dy, dx) that image number `image` of these was seen at."""
        return self.sweep.plan.shifts_for(self.first + image)


# The fields that hold one row (or more) a shift, in the order in which they are stored.
PER_SHIFT = tuple(
    field.name
    for field in fields(Outcome)
    if field.name not in ("sweep", "names", "labels", "first")
)


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns the outcomes of consecutive images of one sweep as one."""
    rows = {
        name: np.concatenate([getattr(outcome, name) for outcome in outcomes])
        for name in ("labels", *PER_SHIFT)
    }
    names = tuple(name for outcome in outcomes for name in outcome.names)
    return Outcome(outcomes[0].sweep, names, first=outcomes[0].first, **rows)
