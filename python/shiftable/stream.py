"""Shows a network every window, at the speed of its own forward pass."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shiftable.answers import Answers, comparisons
from shiftable.engine import Colour, Forward, Images, Model, OutOfMemoryError, Settings
from shiftable.sweep import Sweep, fill_batches

_AHEAD = 4  # images that are read while the network works


def read_ahead(
    images: Images, numbers: Sequence[int], device: torch.device
) -> Generator[tuple[int, Tensor], None, None]:
    """Yields images by number, reading the next ones while those before are worked on."""

    def read(number: int) -> Tensor:
        image = images[number]
        return image.pin_memory() if device.type == "cuda" and not image.is_cuda else image

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(read, number) for number in numbers[:_AHEAD]]
        try:
            for place, number in enumerate(numbers):
                image = waiting.pop(0).result()
                if place + _AHEAD < len(numbers):
                    waiting.append(pool.submit(read, numbers[place + _AHEAD]))
                yield number, image
        finally:
            for future in waiting:
                future.cancel()


def answer(
    forward: Forward,
    images: Iterator[tuple[int, Tensor]],
    count: int,
    sweep: Sweep,
    labels: Sequence[int],
    names: Sequence[str],
    *,
    scale: Colour | None = None,
    bias: Colour | None = None,
    split: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Shows a network every shift of some images and yields each one's answers when it is done.

    Args:
        forward: the network.
        images: with their numbers, ascending, from `read_ahead`.
        count: how many there are at most.
        sweep: what is shown.
        labels: of all images, -1 where unknown.
        names: of all images.
        scale: as in `take_windows`.
        bias: as in `take_windows`.
        split: whether a batch that does not fit in memory is shown in halves; otherwise
            `OutOfMemoryError` is raised.
        progress: called with the number of windows just done.

    Yields:
        The image's number and its fields of an `Outcome`, each with S rows.

    Raises:
        ValueError: as `evaluate` does.
    """
    settings = forward.settings
    running: dict[int, Answers] = {}
    filled_batches = fill_batches(
        sweep,
        images,
        settings.batch if forward.full else min(settings.batch, count * len(sweep.plan)),
        lambda _: sweep.plan.order,
        forward.device,
        forward.dtype,
        settings.layout,
        scale=scale,
        bias=bias,
    )
    most = settings.batch
    classes = 0
    for pieces, filled, buffer in filled_batches:
        windows = buffer if forward.full else buffer[:filled]
        logits, most = _in_parts(forward, windows, names[pieces[0].image], most, split)
        if not classes:  # all of the labels at once, so that none is a fault hours later
            classes = logits.shape[1]
            check_labels(labels, classes, names)
            compared = comparisons(sweep.plan, logits.device)
        done = 0
        for piece in pieces:
            number = piece.image
            if number not in running:
                running[number] = Answers(
                    sweep.plan, compared, labels[number], classes, logits.device
                )
            rows = len(piece.rows)
            running[number].add(logits[done : done + rows])
            done += rows
            if progress is not None:
                progress(rows)
            if running[number].complete:
                found = running.pop(number).finish()
                if found is None:
                    raise ValueError(
                        f"evaluate: expected finite logits, got NaN or infinity for {names[number]}"
                    )
                yield number, found


def _in_parts(
    forward: Forward, windows: Tensor, name: str, most: int, split: bool
) -> tuple[Tensor, int]:
    """Logits of a batch, shown at most `most` windows at a time; fewer where they do not fit."""
    while True:
        try:
            parts = [forward(part, name) for part in torch.split(windows, most)]
            return (parts[0] if len(parts) == 1 else torch.cat(parts)), most
        except OutOfMemoryError as error:
            if not split or most == 1:
                if split:
                    raise ValueError(
                        f"evaluate: out of memory on a single window of {name}; take another device"
                    ) from error
                raise
            most = max(1, most // 2)
            if forward.device.type == "cuda":
                torch.cuda.empty_cache()


def check_labels(labels: Sequence[int], classes: int, names: Sequence[str]) -> None:
    """Raises ValueError for a label that is no class's number."""
    if max(labels) < classes and min(labels) >= -1:
        return
    number = next(n for n, label in enumerate(labels) if not -1 <= label < classes)
    raise ValueError(
        f"evaluate: expected labels below {classes}, the number of classes, got {labels[number]} "
        f"for {names[number]}"
    )


def differing(
    model: Model,
    sweep: Sweep,
    images: Images,
    settings: Settings,
    *,
    windows: int = 512,
    scale: Colour | None = None,
    bias: Colour | None = None,
) -> tuple[int, int]:
    """Counts, on a sample, the top-1 classes that differ from those in float32.

    The sample is spread over images and shifts.

    Returns:
        How many differ, and of how many.
    """
    lower = Forward(model, settings)
    plain = Forward(model, replace(settings, precision="fp32", compile=False))
    each = max(1, min(len(sweep.plan), windows // max(1, min(len(images), 32))))
    shown = np.linspace(0, len(images) - 1, min(len(images), max(1, windows // each))).astype(int)
    differ = seen = 0
    for number in dict.fromkeys(shown.tolist()):
        rows = np.unique(np.linspace(0, len(sweep.plan) - 1, each).astype(int))
        image = images[number].to(lower.device)
        cut = sweep.prepare(image, number).windows(rows, scale=scale, bias=bias)
        for part in torch.split(cut, settings.batch):
            shown_part = part
            if lower.full and len(part) < settings.batch:
                missing = settings.batch - len(part)
                shown_part = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)])
            laid_out = shown_part.contiguous(memory_format=settings.layout)
            classes = [run(laid_out.to(run.dtype))[: len(part)].argmax(1) for run in (lower, plain)]
            differ += int((classes[0] != classes[1]).sum())
            seen += len(part)
    return differ, seen
