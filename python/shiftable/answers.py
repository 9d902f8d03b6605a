"""What is kept of one image's probabilities, shift by shift.

Two shifts are compared when the later one is seen; probabilities are let go of once no later shift
is compared with theirs: of a grid a row is held at a time, of a grid at several sizes one of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftable.plan import Integers, Plan

# The fields of an Outcome that hold one number a shift, and one a direction of each shift.
PER_VIEW = ("probability", "second_probability", "reference_probability", "label_probability")
PER_STEP = ("change", "total_variation", "zipf")
TOP = 5  # classes kept of each answer
_AT_ONCE = 64  # rows that are looked at together


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Which shifts of a plan are compared, by their places in the order in which they are seen.

    Args:
        first: (E,) place of the one seen earlier.
        second: (E,) place of the one seen later, ascending.
        onward: (E,) the direction from first to second, D (no direction) for none.
        back: (E,) the direction from second to first, D for none.
        until: (S + 1,) how many comparisons have a second place below this one.
        needed: (S + 1,) the first place, but for 0, that a shift at this place or a later one is
            compared with. (The unshifted image, at 0, is kept to the end.)
        ranked: whether the plan lies along one line, whose steps are few enough to compare ranks.
    """

    first: Tensor
    second: Tensor
    onward: Tensor
    back: Tensor
    until: Integers
    needed: Integers
    ranked: bool


def comparisons(plan: Plan, device: torch.device) -> Comparisons:
    """Works out a plan's comparisons, once for all images."""
    neighbours = plan.neighbours
    count, directions = neighbours.shape
    place = np.empty(count, np.int64)
    place[plan.order] = np.arange(count)
    rows, ways = np.nonzero(neighbours >= 0)
    starts, ends = place[rows], place[neighbours[rows, ways]]
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    # A step and the step back are one comparison: sorted by pair, they lie side by side.
    by_pair = np.lexsort((ways, low, high))
    low, high, starts, ways = (part[by_pair] for part in (low, high, starts, ways))
    new = np.ones(len(low), bool)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    both = np.full((2, int(new.sum())), directions)
    both[(starts != low).astype(int), np.cumsum(new) - 1] = ways
    first, second = low[new], high[new]
    needed = np.arange(count + 1)
    np.minimum.at(needed, second[first > 0], first[first > 0])
    needed = np.minimum.accumulate(needed[::-1])[::-1]
    on_device = [torch.from_numpy(part).to(device) for part in (first, second, *both)]
    return Comparisons(
        on_device[0],
        on_device[1],
        on_device[2],
        on_device[3],
        np.searchsorted(second, np.arange(count + 1)),
        needed,
        plan.group == 0 and int((neighbours >= 0).any(0).sum()) <= 2,
    )


class Answers:
    """The answers for one image; shifts are added in the plan's `order`.

    Args:
        plan: of the sweep.
        compared: what `comparisons` worked out for it.
        label: the true class, -1 where unknown.
        classes: K.
        device: where the probabilities are, and the answers until the end.
    """

    def __init__(
        self,
        plan: Plan,
        compared: Comparisons,
        label: int,
        classes: int,
        device: torch.device,
    ) -> None:
        self._plan, self._compared, self._label = plan, compared, label
        self._waiting: list[Tensor] = []
        self._added = self._seen = 0
        # Probabilities of place 0, and of all places from this one on.
        self._start = 1
        self._kept = torch.empty(0, classes, device=device)
        self._ranks = torch.empty(0, classes, dtype=torch.int64, device=device)
        count, directions = plan.neighbours.shape
        # One direction more than there are, for what no direction asks for.
        unknown = torch.full((count, directions + 1), torch.nan, device=device)
        self._found = {
            "top": torch.empty(count, min(TOP, classes), dtype=torch.int64, device=device),
            **{name: torch.empty(count, device=device) for name in PER_VIEW},
            **{name: unknown.clone() for name in PER_STEP},
        }
        self._fault = torch.zeros((), dtype=torch.bool, device=device)
        self._rank_weights = 1 / torch.arange(1, classes + 1, device=device)

    def add(self, logits: Tensor) -> None:
        """Takes the logits (B, K) of the next B shifts, float32."""
        self._waiting.append(logits)
        self._added += len(logits)
        # A few rows cost as much as many: on so small tensors, it is the calls that take the time.
        if self._added - self._seen >= _AT_ONCE or self.complete:
            self._look(torch.cat(self._waiting).softmax(1))
            self._waiting = []

    def _look(self, probabilities: Tensor) -> None:
        """Keeps what is kept of the next (B, K) probabilities."""
        place = slice(self._seen, self._seen + len(probabilities))
        top = _best(probabilities, self._found["top"].shape[1])
        best = probabilities.gather(1, top[:, :2])
        self._fault |= best.isnan().any()  # as they are of a logit that is NaN or infinite
        if self._seen == 0:
            self._reference = top[0, :1]
        self._found["top"][place] = top
        self._found["probability"][place] = best[:, 0]
        self._found["second_probability"][place] = best[:, 1]
        self._found["reference_probability"][place] = probabilities.index_select(
            1, self._reference
        )[:, 0]
        self._found["label_probability"][place] = (
            probabilities[:, self._label] if self._label >= 0 else torch.nan
        )
        self._seen += len(probabilities)
        self._compare(place, probabilities)

    def _compare(self, place: slice, probabilities: Tensor) -> None:
        """Compares the shifts just seen with those before, and with one another."""
        compared = self._compared
        self._kept = torch.cat([self._kept, probabilities])
        if compared.ranked:
            self._ranks = torch.cat([self._ranks, _ranks(probabilities)])
        edges = slice(int(compared.until[place.start]), int(compared.until[place.stop]))
        if edges.start < edges.stop:
            first, second = compared.first[edges], compared.second[edges]
            steps = self._kept.index_select(0, self._at(second))
            steps = steps.sub_(self._kept.index_select(0, self._at(first))).abs_()
            variation = steps.sum(1) / 2
            for start, end, way in (
                (first, second, compared.onward[edges]),
                (second, first, compared.back[edges]),
            ):
                followed = self._found["top"].index_select(0, start)[:, :1]
                self._found["change"][start, way] = steps.gather(1, followed)[:, 0]
                self._found["total_variation"][start, way] = variation
                if compared.ranked:
                    self._found["zipf"][start, way] = self._zipf(start, end)
        self._forget()

    def _at(self, places: Tensor) -> Tensor:
        """Where the probabilities of these places are kept."""
        return (places - (self._start - 1)).clamp_(min=0)

    def _zipf(self, before: Tensor, after: Tensor) -> Tensor:
        weight = self._rank_weights
        ranks, then = self._ranks[self._at(before)], self._ranks[self._at(after)]
        return ((weight[ranks] - weight[then]).abs_() * weight[ranks]).sum(1)

    def _forget(self) -> None:
        """Lets go of what no later shift is compared with, place 0 excepted."""
        start = max(1, int(self._compared.needed[self._seen]))
        drop = start - self._start
        if drop > 0:
            self._kept = torch.cat([self._kept[:1], self._kept[1 + drop :]])
            self._ranks = torch.cat([self._ranks[:1], self._ranks[1 + drop :]])
            self._start = start

    @property
    def complete(self) -> bool:
        """Whether every shift has been added."""
        return self._added == len(self._plan)

    def finish(self) -> dict[str, npt.NDArray[Any]] | None:
        """Returns all of it in the plan's own order, names as in Outcome; None for a faulty logit."""
        if bool(self._fault):
            return None
        place = np.empty(len(self._plan), np.int64)
        place[self._plan.order] = np.arange(len(self._plan))
        found = {name: values.cpu().numpy()[place] for name, values in self._found.items()}
        return {name: found[name][:, :-1] if name in PER_STEP else found[name] for name in found}


def _best(probabilities: Tensor, count: int) -> Tensor:
    """The `count` most probable classes, best first; of equal ones the lower class, on any device.

    A probability's bits order as it does, since it is not negative; the class below them decides
    between equal ones, which `topk` alone leaves open.
    """
    bits = probabilities.contiguous().view(torch.int32).to(torch.int64)
    classes = torch.arange(probabilities.shape[1], device=probabilities.device)
    return ((bits << 32) - classes).topk(count, dim=1).indices


def _ranks(probabilities: Tensor) -> Tensor:
    """Each class's rank, 0 for the most probable; of equal ones the lower class comes first."""
    order = probabilities.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, ranks)
