"""Streams windows through a network and keeps what the metrics need of its answers."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shiftable.outcome import PER_SHIFT, Outcome
from shiftable.sweep import Plan, Sweep

Model = Callable[[Tensor], Tensor]
Colour = float | Sequence[float]


def evaluate(
    model: Model,
    images: Sequence[Tensor] | Tensor,
    sweep: Sweep,
    labels: Sequence[int] | Tensor | None = None,
    *,
    names: Sequence[str] | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
    batch: int = 8,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.channels_last,
    device: torch.device | str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Outcome:
    """Shows a network every shift of every image and keeps its answers.

    Args:
        model: takes `(B, C, h, w)` and returns logits `(B, K)`, K >= 2; a module in eval mode, or
            any callable.
        images: N images `(C, H, W)`, uint8 or floating, of a size that suits the sweep; read one
            at a time, so a lazy sequence is welcome.
        sweep: protocol, window size and shifts.
        labels: N true classes, -1 where unknown.
        names: N distinct names, by default the numbers of the images.
        scale: factor that turns a pixel into the network's input, one value or one a channel.
        bias: term added after the factor, one value or one a channel.
        batch: windows in a forward pass, >= 1; a batch never holds two images.
        dtype: of the windows; probabilities are always float32.
        memory_format: of the windows.
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
    if batch < 1:
        raise ValueError(f"evaluate: expected batch >= 1, got {batch}")
    if isinstance(model, nn.Module) and any(module.training for module in model.modules()):
        raise ValueError("evaluate: expected a network in eval mode; call model.eval() first")
    count = len(images)
    named = [str(number) for number in range(count)] if names is None else list(names)
    truth = np.full(count, -1) if labels is None else np.asarray(labels)
    if truth.dtype.kind not in "iu" or truth.ndim != 1:
        raise ValueError(
            f"evaluate: expected labels (N,) of whole numbers, got {truth.dtype} {truth.shape}"
        )
    truth = truth.astype(np.int64)
    for what, length in (("images", count), ("names", len(named)), ("labels", len(truth))):
        if length != count or count == 0:
            raise ValueError(f"evaluate: expected {count or 'some'} {what}, got {length}")
    if len(set(named)) != count:
        raise ValueError("evaluate: expected distinct names, got the same one twice")
    place = torch.device(device) if device is not None else _device_of(model)
    rows: dict[str, list[Any]] = {name: [] for name in PER_SHIFT}
    answered: list[Tensor] = []
    batches = sweep.batches(
        images,
        batch,
        scale=scale,
        bias=bias,
        dtype=dtype,
        memory_format=memory_format,
        device=place,
    )
    for number, shifts, windows in batches:
        answered.append(_probabilities(model, windows.to(place), named[number]))
        if number == 0 and shifts.start == 0:  # the number of classes is known: no fault later
            _check_labels(truth, answered[0].shape[1], named)
        if progress is not None:
            progress(len(shifts))
        if shifts.stop == len(sweep.plan):
            answers = _answers(torch.cat(answered), sweep.plan, int(truth[number]))
            for name, value in answers.items():
                rows[name].append(value.cpu().numpy())
            answered = []
    stacked = {name: np.stack(values) for name, values in rows.items()}
    return Outcome(sweep=sweep, names=tuple(named), labels=truth, **stacked)


def _device_of(model: Model) -> torch.device:
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


@torch.inference_mode()
def _probabilities(model: Model, windows: Tensor, name: str) -> Tensor:
    shape = tuple(windows.shape)
    try:
        logits = model(windows)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"evaluate: the network failed on a batch {shape} of {name}: {reason}"
        ) from error
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"evaluate: expected logits ({shape[0]}, K) from the network, got "
            f"{type(logits).__name__}; wrap it in a function that returns them"
        )
    if logits.ndim != 2 or logits.shape[0] != shape[0] or logits.shape[1] < 2:
        raise ValueError(
            f"evaluate: expected logits ({shape[0]}, K) with K >= 2 from the network, got "
            f"{tuple(logits.shape)}; wrap it in a function that returns them"
        )
    probabilities = logits.float().softmax(1)
    if not bool(logits.isfinite().all()):
        raise ValueError(f"evaluate: expected finite logits, got NaN or infinity for {name}")
    return probabilities


def _check_labels(labels: npt.NDArray[np.int64], classes: int, names: Sequence[str]) -> None:
    for label, name in zip(labels.tolist(), names, strict=True):
        if label >= classes or label < -1:
            raise ValueError(
                f"evaluate: expected labels below {classes}, the number of classes, got {label} "
                f"for {name}"
            )


def _answers(probabilities: Tensor, plan: Plan, label: int) -> dict[str, Tensor]:
    """Everything that is kept of one image's (S, K) probabilities; names as in Outcome."""
    count = len(probabilities)
    # Stable: of equal probabilities the lower class comes first, on every device.
    best, order = probabilities.sort(dim=1, descending=True, stable=True)
    predicted = order[:, :1]
    unknown = torch.full((count,), torch.nan, device=probabilities.device)
    neighbours = torch.from_numpy(plan.neighbours()).to(probabilities.device)
    change = torch.full(neighbours.shape, torch.nan, device=probabilities.device)
    variation = change.clone()
    for direction, after in enumerate(neighbours.unbind(1)):
        before = (after >= 0).nonzero()[:, 0]
        step = (probabilities[after[before]] - probabilities[before]).abs()
        change[before, direction] = step.gather(1, predicted[before])[:, 0]
        variation[before, direction] = step.sum(1) / 2
    return {
        "top": order[:, :5],
        "probability": best[:, 0],
        "reference_probability": probabilities[:, predicted[plan.origin, 0]],
        "label_probability": probabilities[:, label] if label >= 0 else unknown,
        "margin": best[:, 0] - best[:, 1],
        "change": change,
        "total_variation": variation,
    }
