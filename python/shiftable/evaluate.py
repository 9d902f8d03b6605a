"""Shows a network every shift of every image and keeps what the metrics need of its answers."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftable.choice import choose
from shiftable.engine import Colour, Forward, MemoryFormat, Model, Precision, refuse_training
from shiftable.outcome import PER_SHIFT, Outcome
from shiftable.stream import answer, read_ahead
from shiftable.sweep import Sweep


def evaluate(
    model: Model,
    images: Sequence[Tensor] | Tensor,
    sweep: Sweep,
    labels: Sequence[int] | Tensor | None = None,
    *,
    names: Sequence[str] | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
    batch: int | Literal["auto"] = "auto",
    precision: Precision = "auto",
    compile: bool = False,
    memory_format: MemoryFormat = "auto",
    device: torch.device | str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Outcome:
    """Shows a network every shift of every image and keeps its answers.

    Args:
        model: takes `(B, C, h, w)` and returns logits `(B, K)`, K >= 2; a module in eval mode, or
            any callable. It is left as it is; a copy is taken where its weights' memory format has
            to change.
        images: N images `(C, H, W)`, uint8 or floating, of a size that suits the sweep; each is
            read once (the first one also for a trial), a few ahead of the network, so a lazy
            sequence is welcome.
        sweep: protocol, window size and shifts.
        labels: N true classes, -1 where unknown.
        names: N distinct names, by default the numbers of the images.
        scale: factor that turns a pixel into the network's input, one value or one a channel.
        bias: term added after the factor, one value or one a channel.
        batch: windows in a forward pass, >= 1; they may be of several images. `auto`: as many as
            suit the CPU's caches, or fit in half of a GPU's free memory. A batch that does not fit
            after all is shown in halves.
        precision: `auto` keeps the network's own; `fp32` converts a copy of it where that is
            another; `bf16` and (on a GPU) `fp16` are by autocast and have to be asked for, since
            they change some answers. Probabilities are always float32.
        compile: whether the network goes through torch.compile first.
        memory_format: `channels_last`, `contiguous`, or `auto`: channels_last unless the network
            fails with it, or a trial on a longer sweep shows it to be slower.
        device: where the network runs; by default where its first parameter lies.
        progress: called with the number of windows just done.

    Returns:
        The outcome, on the CPU.

    Raises:
        ValueError: for images that do not suit the sweep, a network in training mode, one that
            fails, or one whose answer is not finite logits `(B, K)`.

    Examples:
        >>> import torch
        >>> from shiftable import Sweep, evaluate, line
        >>> image = torch.zeros(1, 8, 8)
        >>> image[:, :, 4] = 1
        >>> even_odd = lambda x: torch.stack([x[..., ::2].sum((1, 2, 3)),
        ...                                   x[..., 1::2].sum((1, 2, 3))], 1)
        >>> evaluate(even_odd, [image], Sweep("circular", line(2), (8, 8))).predictions
        array([[0, 1, 0, 1, 0]])
    """
    refuse_training(model)
    count = len(images)
    named = [str(number) for number in range(count)] if names is None else list(names)
    truth = np.full(count, -1) if labels is None else np.asarray(labels)
    for what, length in (("images", count), ("names", len(named)), ("labels", len(truth))):
        if length != count or count == 0:
            raise ValueError(f"evaluate: expected {count or 'some'} {what}, got {length}")
    if len(set(named)) != count:
        raise ValueError("evaluate: expected distinct names, got the same one twice")
    if sweep.plan.images not in (None, count):
        raise ValueError(f"evaluate: expected {sweep.plan.images} images by the plan, got {count}")
    settings = choose(
        model, sweep, images[0], count, batch=batch, precision=precision,
        memory_format=memory_format, compile=compile, device=device,
    )  # fmt: skip
    forward = Forward(model, settings)
    answers = answer(
        forward, read_ahead(images, range(count), forward.device), count, sweep, truth.tolist(),
        named, scale=scale, bias=bias, progress=progress,
    )  # fmt: skip
    return stacked(sweep, [found for _, found in answers], named, truth)


def stacked(
    sweep: Sweep,
    found: Sequence[dict[str, npt.NDArray[Any]]],
    names: Sequence[str],
    labels: npt.NDArray[np.int64],
    first: int = 0,
) -> Outcome:
    """Returns the outcome of some consecutive images from each one's answers."""
    fields = {name: np.stack([one[name] for one in found]) for name in PER_SHIFT}
    return Outcome(sweep, tuple(names), labels.astype(np.int64), first=first, **fields)
