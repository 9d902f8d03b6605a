"""A gate: limits that a run's metrics have to keep, on their intervals' bounds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from shiftable import metrics
from shiftable.intervals import Estimate, difference, estimate
from shiftable.metrics import METRICS, Outcomes, Terms


@dataclass(frozen=True)
class Limit:
    """What a metric may be.

    Args:
        metric: its name.
        least: the least that the lower bound of its 95 % interval may be, or None.
        most: the most that the upper bound may be, or None.
    """

    metric: str
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric '{self.metric}'; known: {', '.join(METRICS)}")
        if (self.least is None) == (self.most is None):
            raise ValueError(f"expected a least or a most of {self.metric}, got both or none")
        bound = self.most if self.least is None else self.least
        if METRICS[self.metric].share and not -1 <= (bound or 0.0) <= 1:
            raise ValueError(f"expected a share from 0 to 1 for {self.metric}, got {bound}")


@dataclass(frozen=True)
class Verdict:
    """What came of a limit.

    Args:
        limit: which.
        sweep: the sweep it was held against.
        found: the metric there, or its difference to the baseline's.
        baseline: whether it is a difference.
    """

    limit: Limit
    sweep: str
    found: Estimate
    baseline: bool

    @property
    def kept(self) -> bool:
        """Whether the limit is kept, also at the interval's bound."""
        if self.found.low is None or self.found.high is None:
            return False
        if self.limit.least is not None:
            return self.found.low >= self.limit.least
        return self.limit.most is not None and self.found.high <= self.limit.most

    def __str__(self) -> str:
        metric = METRICS[self.limit.metric]

        def shown(value: float) -> str:
            sign = "+" if self.baseline else ""
            return f"{100 * value:{sign}.2f} %" if metric.share else f"{value:{sign}.4f}"

        what = metric.title + (" against the baseline" if self.baseline else "")
        if self.limit.least is not None:
            wanted = f"at least {shown(self.limit.least)}"
        else:
            wanted = f"at most {shown(self.limit.most or 0.0)}"
        if self.found.value is None:
            return f"{self.sweep}: {what}: expected {wanted}, but this sweep does not have it"
        if self.found.low is None or self.found.high is None:
            return (
                f"{self.sweep}: {what}: expected {wanted}, got {shown(self.found.value)} on one "
                "image, which has no interval; take more images"
            )
        low, high = shown(self.found.low), shown(self.found.high)
        got = f"{shown(self.found.value)} [{low}, {high}]"
        if self.kept:
            return f"{self.sweep}: {what}: {wanted}, got {got}"
        side, bound = ("lower", low) if self.limit.least is not None else ("upper", high)
        return f"{self.sweep}: {what}: expected {wanted}, but the {side} bound is {bound}, of {got}"


def verdicts(
    sweeps: Mapping[str, Outcomes],
    limits: Iterable[Limit],
    against: Mapping[str, Outcomes] | None = None,
) -> list[Verdict]:
    """Holds limits against every sweep.

    Args:
        sweeps: outcomes by the name of their sweep.
        limits: all of them for each sweep.
        against: the same sweeps of a baseline, on the same images in the same order. The limits are
            then of the difference, this minus that, with its paired interval.
    """
    limits = list(limits)
    names = list(dict.fromkeys(limit.metric for limit in limits))
    found = []
    for sweep, outcomes in sweeps.items():
        terms = metrics.terms(outcomes, names)
        others = None if against is None else metrics.terms(against[sweep], names)
        found += [
            Verdict(limit, sweep, _estimated(limit, terms, others), others is not None)
            for limit in limits
        ]
    return found


def _estimated(
    limit: Limit, terms: Mapping[str, Terms], others: Mapping[str, Terms] | None
) -> Estimate:
    own = terms[limit.metric]
    return estimate(own) if others is None else difference(own, others[limit.metric])


def limits(**named: float) -> Iterator[Limit]:
    """Reads limits written as `min_consistency=0.9` and `max_top1_change=0.02`.

    Examples:
        >>> [str(limit.most) for limit in limits(max_mac=0.1)]
        ['0.1']
    """
    for name, value in named.items():
        bound, _, metric = name.partition("_")
        if bound not in ("min", "max"):
            raise ValueError(f"expected min_METRIC or max_METRIC, got '{name}'")
        yield Limit(metric, **{"least" if bound == "min" else "most": value})


def assert_metrics(outcomes: Outcomes, against: Outcomes | None = None, **named: float) -> None:
    """Fails a test whose network does not keep some limits.

    Args:
        outcomes: what `evaluate` returned, or a stored sweep's `outcomes()`.
        against: those of a baseline on the same sweep and images; the limits are then of the
            difference.
        named: `min_METRIC` or `max_METRIC`, on the bound of the 95 % interval; shares from 0 to 1.

    Raises:
        AssertionError: with a line for each limit that is not kept.
        ValueError: for an unknown metric.

    Examples:
        >>> import torch
        >>> from shiftable import Sweep, evaluate, line
        >>> from shiftable.check import assert_metrics
        >>> steady = lambda windows: torch.eye(2)[[0] * len(windows)]
        >>> outcome = evaluate(steady, torch.zeros(3, 1, 8, 8), Sweep("circular", line(2), (8, 8)))
        >>> assert_metrics(outcome, min_consistency=0.9, max_top1_change=0.02)
    """
    if not named:
        raise ValueError(
            "assert_metrics: expected a limit, got none; give e.g. max_top1_change=0.05"
        )
    baseline = None if against is None else {"sweep": against}
    failed = [v for v in verdicts({"sweep": outcomes}, limits(**named), baseline) if not v.kept]
    if failed:
        raise AssertionError("\n".join(str(verdict) for verdict in failed))
