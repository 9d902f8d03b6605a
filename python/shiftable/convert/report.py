"""What was done to a network."""

from dataclasses import dataclass

from torch import nn

from shiftable.convert.operations import StridedOperation


@dataclass(frozen=True)
class Change:
    """An operation that has its blur now.

    Args:
        operation: as it was.
        taps: how many, (vertical, horizontal).
        place: where the blur is.
    """

    operation: StridedOperation
    taps: tuple[int, int]
    place: str


@dataclass(frozen=True)
class Left:
    """An operation that lowers resolution and was left as it is, and why."""

    operation: StridedOperation
    reason: str


@dataclass(frozen=True, eq=False)
class Report:
    """What `antialias` changed, what it left and what it costs; printed, a table.

    Args:
        model: the mended network; the untouched one after a dry run.
        changed: the operations that have their blur now.
        left: the others that lower resolution.
        already: those that were blurred before.
        macs_before: multiply-adds of the network for one image, of convolutions, matrix products
            and blurs.
        macs_after: with the changes.
    """

    model: nn.Module
    changed: tuple[Change, ...]
    left: tuple[Left, ...]
    already: tuple[StridedOperation, ...]
    macs_before: int
    macs_after: int

    def __str__(self) -> str:
        rows = [_row(c.operation, f"blurred by {_taps(c.taps)} {c.place}") for c in self.changed]
        rows += [_row(left.operation, f"left: {left.reason}") for left in self.left]
        head = [("operation", "kind", "stride", "map", "")] if rows else []
        return "\n".join([*(aligned([*head, *rows]) if rows else []), repr(self)])

    def __repr__(self) -> str:
        before, after = self.macs_before, self.macs_after
        cost = f"{after / before - 1:+.1%}" if before else "nothing counted before"
        already = f", {len(self.already)} blurred already" if self.already else ""
        return (
            f"{len(self.changed)} changed, {len(self.left)} left{already}; "
            f"{_millions(before)} -> {_millions(after)} million multiply-adds an image ({cost})"
        )


def _row(operation: StridedOperation, what: str) -> tuple[str, ...]:
    return (
        operation.name or "(the network)",
        operation.kind,
        by_axis(operation.stride),
        f"{by_axis(operation.size)} -> {by_axis(operation.to)}",
        what,
    )


def _millions(count: int) -> str:
    """Four digits, and no power of ten."""
    return f"{count / 1e6:,.0f}" if count >= 1e9 else f"{count / 1e6:.4g}"


def _taps(taps: tuple[int, int]) -> str:
    return f"{taps[0]} taps" if taps[0] == taps[1] else f"{taps[0]} x {taps[1]} taps"


def by_axis(values: tuple[float, ...]) -> str:
    """One number where all axes have the same, else all."""
    return f"{values[0]}" if len(set(values)) == 1 else "x".join(map(str, values))


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines with columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
