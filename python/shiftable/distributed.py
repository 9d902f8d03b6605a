"""Several processes that share one run, as torchrun or a cluster's scheduler starts them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among those that share the work.

    Args:
        rank: its number.
        count: how many there are.
        local: its number on this machine.
        local_count: how many there are on this machine.
        group: torch.distributed's, None if there is one process.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks for all."""
        return self.rank == 0

    def share(self, make: Callable[[], Value]) -> Value:
        """Returns on every rank what `make` returns on the first, where alone it is called.

        Raises:
            ValueError: on every rank what it raised on the first.
        """
        if self.count == 1:
            return make()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told = [make(), None]
            except (ValueError, ImportError, OSError) as error:
                told = [None, str(error)]
        with _lost():
            dist.broadcast_object_list(told, group=self.group)
        if told[1] is not None:
            raise ValueError(told[1])
        return told[0]  # type: ignore[no-any-return]

    def each(self, make: Callable[[], Value]) -> Value:
        """Returns on every rank what `make` returns there.

        Raises:
            ValueError: on every rank if one of them cannot.
        """
        if self.count == 1:
            return make()
        found, fault = None, None
        try:
            found = make()
        except Exception as error:  # a user's module may raise anything
            fault = (
                str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            )
        self.wait(fault)
        return found  # type: ignore[return-value]

    def wait(self, fault: str | None = None) -> None:
        """Waits until every rank is here.

        Args:
            fault: what went wrong on this one.

        Raises:
            ValueError: on every rank if something went wrong on one, or one has died.
        """
        faults: list[str | None] = [fault]
        if self.count > 1:
            faults = [None] * self.count
            with _lost():
                dist.all_gather_object(faults, fault, group=self.group)
        for rank, text in enumerate(faults):
            if text is not None:
                raise ValueError(f"rank {rank}: {text}" if self.count > 1 else text)


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ValueError(
            "another rank has stopped; what is stored stays: start all of them again to go on"
        ) from error


@contextmanager
def ranks() -> Iterator[Ranks]:
    """Joins the other ranks, if there are any: by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.

    What they tell one another is small and lies on the CPU, so it goes by gloo whatever the
    networks run on.

    Raises:
        ValueError: where they cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    try:
        dist.init_process_group("gloo", timeout=timedelta(minutes=10))
        # Then one may wait for hours; one that dies is noticed at once, by its connection.
        group = dist.new_group(timeout=timedelta(days=30))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot join the other ranks: {reason}") from error
    try:
        yield Ranks(
            dist.get_rank(),
            count,
            int(os.environ.get("LOCAL_RANK", "0")),
            int(os.environ.get("LOCAL_WORLD_SIZE", str(count))),
            group,
        )
    finally:
        dist.destroy_process_group()


def device_for(name: str, ranks: Ranks) -> str:
    """The device of a rank: `cuda` alone means a GPU each, in turn."""
    if name == "cuda" and ranks.local_count > 1 and torch.cuda.is_available():
        return f"cuda:{ranks.local % torch.cuda.device_count()}"
    return name
