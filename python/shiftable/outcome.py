"""What a network answered at every shift of every image; metrics and figures are functions of it."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

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
        reference_probability: (N, S) of the image's reference class.
        label_probability: (N, S) of the true class, NaN where unknown.
        margin: (N, S) probability of the best class minus that of the second.
        change: (N, S, D) absolute change, one step on in that direction (`sweep.plan.directions`),
            of the probability of the class predicted before the step; NaN where the step leaves
            the plan.
        total_variation: (N, S, D) half the sum over all classes of the absolute changes.
    """

    sweep: Sweep
    names: tuple[str, ...]
    labels: Integers
    top: Integers
    probability: Floats
    reference_probability: Floats
    label_probability: Floats
    margin: Floats
    change: Floats
    total_variation: Floats

    def __len__(self) -> int:
        return len(self.names)

    @property
    def predictions(self) -> Integers:
        """(N, S): the most probable class."""
        return self.top[..., 0]

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


# The fields that hold one row (or more) a shift, in the order in which they are stored.
PER_SHIFT = tuple(
    field.name for field in fields(Outcome) if field.name not in ("sweep", "names", "labels")
)
