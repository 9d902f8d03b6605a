"""What findings on networks that are trained here have in common.

The cycle of training; results that are written after every network and taken up again; tables; the
command's options.
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from shiftable.allocator import tune_allocator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.findings.fashion_mnist import PACKAGE, PLACE, as_input
from benchmarks.speed.harness import machine

Results = dict[str, dict[str, Any]]  # by network and by seed (a string, as JSON has it)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    epochs: int = 2
    batch: int = 128
    learning_rate: float = 0.1  # the highest, of one cycle
    weight_decay: float = 5e-4
    training_images: int = 60_000


def train(
    model: nn.Module, labels: Tensor, shown: Callable[[Tensor], Tensor], recipe: Recipe, seed: int
) -> None:
    """One cycle of the learning rate, over batches in an order that the seed alone decides.

    Args:
        model: left in eval mode.
        labels: (N,) the true classes.
        shown: takes the numbers of a batch's images to pixels (B, C, H, W), uint8.
        recipe: how long, and how.
        seed: of the order.
    """
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, momentum=0.9, nesterov=True,
        weight_decay=recipe.weight_decay,
    )  # fmt: skip
    steps = recipe.epochs * math.ceil(len(labels) / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps)
    model.train()
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(labels), generator=order).split(recipe.batch):
            loss = F.cross_entropy(model(as_input(shown(chosen))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.eval()


# -- results that are kept -------------------------------------------------------------------------


def missing(names: Iterable[str], seeds: int, done: Results) -> list[tuple[str, int]]:
    """What is not done yet, seed by seed: a part of a run is even, too."""
    every = [(name, seed) for seed in range(seeds) for name in names]
    return [(name, seed) for name, seed in every if str(seed) not in done.get(name, {})]


def stored(path: Path | None, settings: Recipe) -> dict[str, Any]:
    """What an earlier run with these settings found, or a run's beginning."""
    plain = json.loads(json.dumps(asdict(settings)))
    if path is None or not path.exists():
        return {"machine": machine(), "settings": plain, "results": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    if found["settings"] != plain:
        raise ValueError(f"{path} is of other settings: give another file, or delete it")
    return found


_INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")  # lists and estimates: most of a file


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\n *", " ", found.group())  # no string holds a line's end


def write(path: Path | None, found: dict[str, Any]) -> None:
    """All of it or nothing: a reader never sees half a file."""
    if path is not None:
        partial = path.with_suffix(".partial")
        text = _INNERMOST.sub(_on_one_line, json.dumps(found, indent=1))
        partial.write_text(text + "\n")
        partial.replace(path)


# -- tables ----------------------------------------------------------------------------------------


def spread(values: Iterable[float], sign: str = "") -> str:
    """The mean, the least and the greatest, in per cent."""
    known = list(values)
    mean, low, high = (f"{100 * v:{sign}.2f}" for v in (fmean(known), min(known), max(known)))
    return f"{mean} [{low}, {high}]"


def as_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown, the first row its head."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return [f"| {' | '.join(row)} |" for row in ruled]


# -- the command -----------------------------------------------------------------------------------


def _count(written: str) -> int:
    if not written.isdecimal() or int(written) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {written}")
    return int(written)


def options(description: str) -> argparse.ArgumentParser:
    """The options of a finding's command."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="Where results are kept, and taken up again.")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--data", type=Path, default=PLACE, help="Fashion-MNIST's idx files.")
    parser.add_argument("--seeds", type=_count, default=3)
    parser.add_argument("--threads", type=_count, default=1)
    parser.add_argument("--quick", action="store_true", help="A smoke run, of seconds.")
    return parser


def resumed(
    parser: argparse.ArgumentParser,
    given: argparse.Namespace,
    settings: Recipe,
    run: Callable[[Results, Callable[[], None]], None],
) -> dict[str, Any]:
    """Goes on with what is stored; what the user can mend is one line.

    Args:
        parser: whose error ends the command.
        given: the command's options.
        settings: that the stored results must be of.
        run: adds what is missing to results, and calls the function that it is given after each.
    """
    torch.set_num_threads(given.threads)
    tune_allocator()
    try:
        found = stored(given.json, settings)
        run(found["results"], lambda: write(given.json, found))
    except FileNotFoundError as error:
        parser.error(f"no {error.filename}: apt-get install {PACKAGE}, or --data with its files")
    except ValueError as error:
        parser.error(str(error))
    return found
