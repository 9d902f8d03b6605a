"""Estimates of a sweep's metrics, in one pass over its outcomes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from shiftable.intervals import Estimate, Terms, estimate
from shiftable.metrics.table import HEADLINE, METRICS
from shiftable.metrics.truth import changed, radii, worst_case
from shiftable.outcome import Outcome

Outcomes = Outcome | Iterable[Outcome]


def in_parts(outcomes: Outcomes) -> Iterator[Outcome]:
    """Yields the outcomes of some images after another; a single one counts as all."""
    return iter([outcomes] if isinstance(outcomes, Outcome) else outcomes)


def terms(outcomes: Outcomes, names: Iterable[str] | None = None) -> dict[str, Terms]:
    """Returns each metric's numerators and denominators by image, in one pass over the outcomes.

    Args:
        outcomes: of consecutive images of one sweep; read one at a time.
        names: which metrics; all by default.
    """
    chosen = METRICS if names is None else {name: METRICS[name] for name in names}
    return _pooled(outcomes, {name: metric.terms for name, metric in chosen.items()})


def _pooled(
    outcomes: Outcomes, functions: Mapping[str, Callable[[Outcome], Terms]]
) -> dict[str, Terms]:
    found: dict[str, list[Terms]] = {name: [] for name in functions}
    for outcome in in_parts(outcomes):
        for name, function in functions.items():
            found[name].append(function(outcome))
    return {
        name: (
            np.concatenate([np.zeros(0), *(above for above, _ in parts)]),
            np.concatenate([np.zeros(0), *(below for _, below in parts)]),
        )
        for name, parts in found.items()
    }


def summary(outcomes: Outcomes, names: Iterable[str] | None = None) -> dict[str, Estimate]:
    """Estimates every metric of the table.

    Args:
        outcomes: of one sweep: one, or those of consecutive images, which are read one at a time.
        names: which metrics; all by default.

    Examples:
        >>> import torch
        >>> from shiftable import Sweep, evaluate, line, metrics
        >>> image = torch.zeros(1, 8, 8)
        >>> image[:, :, 4] = 1
        >>> even_odd = lambda x: torch.stack([x[..., ::2].sum((1, 2, 3)),
        ...                                   x[..., 1::2].sum((1, 2, 3))], 1)
        >>> outcome = evaluate(even_odd, [image], Sweep("circular", line(2), (8, 8)))
        >>> metrics.summary(outcome)["top1_change"].value
        1.0
    """
    return {name: estimate(found) for name, found in terms(outcomes, names).items()}


def by_image(outcomes: Outcomes) -> dict[str, dict[str, float | None]]:
    """Returns each image's own value of the headline metrics, by its name."""
    found: dict[str, dict[str, float | None]] = {}
    for outcome in in_parts(outcomes):
        own = terms(outcome, HEADLINE)
        for number, image in enumerate(outcome.names):
            found[image] = {
                name: float(above[number] / below[number]) if below[number] > 0 else None
                for name, (above, below) in own.items()
            }
    return found


@dataclass(frozen=True)
class AtDistance:
    """What is known of the shifts at one Chebyshev distance r (r - 1 < max(|dy|, |dx|) <= r).

    Args:
        within: P(correct at every shift <= r), the unshifted image among them.
        ring: P(correct at every shift at r).
        changed: P(another class than the unshifted image's) at r.
    """

    within: Estimate
    ring: Estimate
    changed: Estimate


def by_distance(outcomes: Outcomes) -> dict[int, AtDistance]:
    """Estimates worst-case accuracy and change of class by the shift's distance."""
    parts = in_parts(outcomes)
    first = next(parts, None)
    if first is None:
        return {}
    distances = radii(first)
    functions = {
        f"{what} {radius}": function
        for radius in distances
        for what, function in (
            ("within", partial(worst_case, radius=radius)),
            ("ring", partial(worst_case, radius=radius, ring=True)),
            ("changed", partial(changed, radius=radius)),
        )
    }
    found = {name: estimate(own) for name, own in _pooled(chain([first], parts), functions).items()}
    return {
        radius: AtDistance(*(found[f"{what} {radius}"] for what in ("within", "ring", "changed")))
        for radius in distances
    }
