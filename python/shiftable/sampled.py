"""Sampling to a target: as few forward passes as make a metric of the full grid known so well.

Cells of the full grid are drawn without replacement in a seeded order until a confidence sequence
for the grid's own value is narrow enough. That value is about these images and these shifts only;
how it would be on other images is what the interval of a complete run says.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftable.choice import choose
from shiftable.engine import Forward, Images
from shiftable.models import Network
from shiftable.plan import Integers, ListedPlan, Plan
from shiftable.run import Job
from shiftable.sampling import ConfidenceSequence, shuffled
from shiftable.store import replacing
from shiftable.stream import check_labels
from shiftable.sweep import fill_batches

_FIRST, _MOST = 256, 4096  # cells drawn between two looks
_MOST_PAIRED = 5000  # shifts whose pairs are all listed

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Cells:
    """The cells of one image: which shifts each looks at, and its value from 0 to 1.

    Args:
        before: (C,) the shift, by its number in the plan.
        after: (C,) the shift it is compared with; the same where there is none.
        value: of the classes (B,), or the probabilities (B, K), at both and the labels (B,).
        labelled: whether only images with a label count.
        of_classes: whether it is of the classes.
    """

    before: Integers
    after: Integers
    value: Callable[[Tensor, Tensor, Tensor], Tensor]
    labelled: bool = False
    of_classes: bool = True


def _differs(before: Tensor, after: Tensor, _: Tensor) -> Tensor:
    return (before != after).double()


def _agrees(before: Tensor, after: Tensor, _: Tensor) -> Tensor:
    return (before == after).double()


def _follows(before: Tensor, after: Tensor, _: Tensor) -> Tensor:
    followed = before.argmax(1)[:, None]
    return (after.gather(1, followed) - before.gather(1, followed))[:, 0].abs().double()


def _varies(before: Tensor, after: Tensor, _: Tensor) -> Tensor:
    return ((after - before).abs().sum(1) / 2).double().clamp_(max=1)


def _right(before: Tensor, _: Tensor, labels: Tensor) -> Tensor:
    return (before == labels).double()


def _steps(plan: Plan, value: Callable[[Tensor, Tensor, Tensor], Tensor], once: bool) -> _Cells:
    """The steps to the eight neighbours; `once`: a step and the step back are one cell."""
    neighbours = plan.neighbours[:, : 8 if plan.group == 0 else None]
    before, way = np.nonzero(neighbours >= 0)
    after = neighbours[before, way]
    kept = before < after if once else np.ones(len(before), bool)
    return _Cells(before[kept], after[kept], value, of_classes=value is _differs)


def _pairs(plan: Plan) -> _Cells:
    if len(plan) > _MOST_PAIRED:
        raise ValueError(
            f"cannot sample the pairs of more than {_MOST_PAIRED} shifts, got {len(plan)}; take "
            "fewer, or random_pairs"
        )
    return _Cells(*np.triu_indices(len(plan), 1), _agrees)


def _from_rest(plan: Plan) -> _Cells:
    others = np.delete(np.arange(len(plan)), plan.origin) if plan.has_origin else np.arange(0)
    return _Cells(np.full(len(others), plan.origin), others, _differs)


_CELLS: dict[str, Callable[[Plan], _Cells]] = {
    "top1_change": lambda plan: _steps(plan, _differs, once=True),
    "mac": lambda plan: _steps(plan, _follows, once=False),
    "total_variation": lambda plan: _steps(plan, _varies, once=True),
    "consistency": _pairs,
    "changed": _from_rest,
    "accuracy": lambda plan: _Cells(
        np.arange(len(plan)), np.arange(len(plan)), _right, labelled=True
    ),
}
METRICS = tuple(_CELLS)


@dataclass(frozen=True)
class Sampled:
    """What a sample says of the full grid's value on these images.

    Args:
        metric: which.
        sweep: its name.
        value: the sample's mean.
        low: of the confidence sequence.
        high: of the confidence sequence.
        level: its coverage, whenever one looks.
        drawn: cells that were drawn.
        cells: of the full grid.
        forwards: windows that the network was shown.
        full: windows of the full grid.
        seed: of the order.
    """

    metric: str
    sweep: str
    value: float
    low: float
    high: float
    level: float
    drawn: int
    cells: int
    forwards: int
    full: int
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.sweep}: {self.metric} of the full grid on these images: {self.value:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}] ({self.level:.0%} confidence sequence, "
            f"{self.drawn} of {self.cells} cells drawn, {self.forwards} forward passes for "
            f"{self.full}; no interval over images)"
        )


def sampled(
    network: Network,
    job: Job,
    metric: str,
    width: float,
    *,
    level: float = 0.95,
    seed: int = 0,
    out: Path | None = None,
    **how: Any,
) -> Sampled:
    """Draws cells until the full grid's value of a metric is known to a width.

    A cell is an (image, shift) for `accuracy`, an (image, step) for the metrics of steps, an
    (image, pair of shifts) for `consistency`.

    Args:
        network: from `models.load`.
        job: a sweep of listed shifts, and its images.
        metric: one that is a mean over cells: those of `sampled.METRICS`.
        width: of the confidence sequence at which to stop, in (0, 1).
        level: coverage of the confidence sequence, whenever one looks.
        seed: of the order of cells; any integer.
        out: a folder for `<sweep>.<metric>.sample.json`.
        how: `batch`, `precision`, `memory_format`, `compile` and `device` of `evaluate`.

    Raises:
        ValueError: for a metric that is no such mean, random groups, or images that do not suit.

    References:
        Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting (JRSS-B
        2023), section 5: sampling without replacement.
    """
    plan = job.sweep.plan
    if metric not in _CELLS:
        raise ValueError(
            f"cannot sample '{metric}': it is no mean over cells, as a worst case or what whole "
            f"groups agree on is not; such are {', '.join(METRICS)}"
        )
    if not isinstance(plan, ListedPlan):
        raise ValueError("cannot sample random groups of shifts: they are a sample; take a grid")
    if not 0 < width < 1:
        raise ValueError(f"expected a width between 0 and 1, got {width}")
    threads = how.pop("threads", None)
    if threads is not None:
        torch.set_num_threads(threads)
    cells = _CELLS[metric](plan)
    each = len(cells.before)
    known = [n for n, label in enumerate(job.images.labels) if label >= 0 or not cells.labelled]
    if not each or not known:
        raise ValueError(
            f"cannot sample {metric}: "
            + ("the plan has no such steps" if not each else "no image has a label")
        )
    for size in dict.fromkeys(job.images.image_sizes()):
        job.sweep.check(size)
    if isinstance(network.model, torch.nn.Module) and how.get("device") is not None:
        network.model.to(how["device"])
    settings = choose(network.model, job.sweep, job.images[known[0]], len(job.images), **how)
    path = None if out is None else _place(out, job.name, metric)
    look = _Look(Forward(network.model, settings), network, job, cells)
    sequence = ConfidenceSequence(len(known) * each, level, width)
    order = shuffled(len(known) * each, seed)
    at_once = _FIRST
    while sequence.width > width:
        drawn = np.fromiter(islice(order, at_once), np.int64)
        sequence.update(look.values(np.array(known)[drawn // each], drawn % each))
        at_once = min(_MOST, 2 * at_once)
    found = Sampled(
        metric,
        job.name,
        sequence.mean,
        sequence.low,
        sequence.high,
        level,
        sequence.count,
        len(known) * each,
        look.forwards,
        len(known) * len(plan),
        seed,
    )
    if path is not None:
        about = {**asdict(found), "digest": job.sweep.digest, "images": job.images.identity()}
        about |= {"model": network.name, "weights": network.weights, "settings": asdict(settings)}
        with replacing(path) as partial:
            partial.write_text(json.dumps(about, indent=1) + "\n")
    return found


def _place(out: Path, sweep: str, metric: str) -> Path:
    """Where the sample will be stored: found out before it is drawn."""
    path = out / f"{sweep}.{metric}.sample.json"
    if (out / "manifest.json").exists() or path.exists():
        raise ValueError(f"{out} holds a run or this sample already; name a new folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {out}: {error.strerror}") from error
    return path


class _Look:
    """Looks at cells of several images at a time: each image is read once a look.

    Where only classes count, those of windows that were shown are remembered.
    """

    def __init__(self, forward: Forward, network: Network, job: Job, cells: _Cells) -> None:
        self._forward, self._network, self._job, self._cells = forward, network, job, cells
        self.forwards = 0
        self._classes: dict[int, int] = {}  # by image * shifts + shift

    def values(self, images: Integers, cells: Integers) -> Floats:
        """Returns the value of each cell, in the order given."""
        before, after = self._cells.before[cells], self._cells.after[cells]
        wanted = np.unique(
            np.concatenate([np.stack([images, before]), np.stack([images, after])], axis=1), axis=1
        )
        shifts = len(self._job.sweep.plan)
        new = np.array([p not in self._classes for p in (wanted[0] * shifts + wanted[1]).tolist()])
        wanted = wanted[:, new]
        places = wanted[0] * shifts + wanted[1]
        shown = list(self._shown(np.unique(wanted[0]).tolist(), wanted))
        labels = torch.tensor([self._job.images.labels[number] for number in images.tolist()])

        def at(rows: Integers) -> Tensor:
            asked = images * shifts + rows
            if self._cells.of_classes:
                return torch.tensor([self._classes[place] for place in asked.tolist()])
            return probabilities[torch.from_numpy(np.searchsorted(places, asked))]

        if self._cells.of_classes:
            for part in shown:
                classes = part.argmax(1).tolist()
                self._classes.update(zip(places[: len(part)].tolist(), classes, strict=True))
                places = places[len(part) :]
        else:
            probabilities = torch.cat(shown)
        return self._cells.value(at(before), at(after), labels).numpy()

    def _shown(self, numbers: Sequence[int], wanted: Integers) -> Iterator[Tensor]:
        """Probabilities of the wanted (image, shift) pairs, which are sorted, in batches."""
        rows = {number: wanted[1][wanted[0] == number] for number in numbers}
        images: Images = self._job.images
        settings = self._forward.settings
        for pieces, filled, buffer in fill_batches(
            self._job.sweep,
            ((number, images[number]) for number in numbers),
            settings.batch,
            rows.__getitem__,
            self._forward.device,
            self._forward.dtype,
            settings.layout,
            scale=self._network.scale,
            bias=self._network.bias,
        ):
            name = self._job.images.names[pieces[0].image]
            logits = self._forward(buffer if self._forward.full else buffer[:filled], name)[:filled]
            probabilities = logits.softmax(1).cpu()
            if bool(probabilities.isnan().any()):
                raise ValueError(f"expected finite logits, got NaN or infinity for {name}")
            if not self.forwards:
                check_labels(self._job.images.labels, logits.shape[1], self._job.images.names)
            self.forwards += filled
            yield probabilities
