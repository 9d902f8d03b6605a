"""Gives a mended network back its accuracy, without labels: it learns from the network it was."""

import copy
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shiftable.convert.placement import structure
from shiftable.engine import Colour, Model, device_of, dtype_of, weights_digest
from shiftable.views import Recipe, Views

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Progress:
    """Where a recovery is: the step just done, of how many, and its losses (nats)."""

    step: int
    steps: int
    distillation: float
    consistency: float


def recover(
    student: nn.Module,
    teacher: Model,
    images: Sequence[Tensor],
    *,
    size: tuple[int, int],
    recipe: Recipe | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    checkpoint: Path | str | None = None,
    every: int = 10,
    progress: Callable[[Progress], object] | None = None,
) -> list[Progress]:
    """Fine-tunes a mended network to the outputs of the one it was, on photographs without labels.

    1. The statistics of batch norms are moved by what the blurs did to them (`renew_batch_norms`),
       since blurred maps have less variance.
    2. Each step takes a random part of some photographs, by area and aspect, perhaps mirrored, and
       shows several views of it that are shifted against each other by whole pixels. The student
       learns the mean of the teacher's probabilities over these views (their cross entropy), and
       that its own over the views be alike (the divergence of each from their mean). Batch norms
       keep their statistics meanwhile.

    Args:
        student: takes `(B, C, h, w)` and returns logits `(B, K)`; changed in place, and left in eval
            mode.
        teacher: the network before it was mended, in eval mode; another module.
        images: uint8 `(C, H, W)` each, of any sizes; read again and again, in random order.
        size: (h, w) of the networks' input, pixels.
        recipe: how; see `Recipe`.
        scale: factor that turns a pixel into the networks' input, one value or one a channel.
        bias: term added after the factor.
        precision: `bf16` runs both networks under autocast.
        checkpoint: a file that the state is written to every `every` steps and at the end, and which
            a recovery with the same recipe goes on from, to the same result as without a stop.
        every: steps between checkpoints, >= 1.
        progress: called after each step.

    Returns:
        The progress after each step, those before a stop included.

    Raises:
        ValueError: for no images or others than the above, a teacher that shares the student's
            parameters or is in training mode, networks that fail or return no logits, a loss that is
            not finite, or a checkpoint of another recovery.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network (2015), for learning from
        outputs; Zhang et al., Consistency Regularization for Generative Adversarial Networks (ICLR
        2020), for the second term's idea.

    Examples:
        >>> import copy, torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),
        ...                           torch.nn.Flatten()).eval()
        >>> photos = [torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8)]
        >>> done = recover(copy.deepcopy(net), net, photos, size=(16, 16), scale=1 / 255,
        ...                recipe=Recipe(steps=2, batch=1, shift=1))
        >>> [one.step for one in done]
        [1, 2]
    """
    recipe = recipe or Recipe()
    _refuse(student, teacher, images, precision, every)
    device, dtype = device_of(student), dtype_of(student)
    views = Views(images, size, recipe, {"scale": scale, "bias": bias}, device, dtype)
    lower = precision == "bf16"

    def answers(model: Model, windows: Tensor, who: str) -> Tensor:
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=lower):
                logits = model(windows)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"recover: the {who} failed on views {tuple(windows.shape)}: {reason}"
            ) from error
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"recover: expected logits (B, K) from the {who}, got {got}")
        return logits.float()

    student.eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    history: list[Progress] = []
    path = None if checkpoint is None else Path(checkpoint)
    told = _told(student, teacher, images, size, scale, bias, precision, recipe)
    if path is not None and path.exists():
        history = _read(path, told, student, optimizer)
    elif recipe.batch_norm:
        with torch.no_grad():  # what they cannot take is told before their norms are looked at
            answers(teacher, views(0), "teacher")
            answers(student, views(0), "student")
        with torch.autocast(device.type, torch.bfloat16, enabled=lower):
            renew_batch_norms(student, teacher, views.for_batch_norms())
    for step in range(len(history), recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, recipe.steps)
        windows = views(step)
        with torch.no_grad():
            taught = answers(teacher, windows, "teacher").softmax(1)
        logits = answers(student, windows, "student")
        if logits.shape != taught.shape:
            raise ValueError(
                f"recover: expected as many classes of both, got {logits.shape[1]} of the student "
                f"and {taught.shape[1]} of the teacher"
            )
        distillation, consistency = losses(logits, taught, recipe.views)
        optimizer.zero_grad()
        (distillation + recipe.consistency * consistency).backward()  # type: ignore[no-untyped-call]
        length = nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        if not (distillation + consistency + length).isfinite():
            raise ValueError(
                f"recover: loss or gradient of step {step + 1} is not finite; take a lower "
                f"learning_rate, it is {recipe.learning_rate}"
            )
        optimizer.step()
        history.append(Progress(step + 1, recipe.steps, distillation.item(), consistency.item()))
        if path is not None and ((step + 1) % every == 0 or step + 1 == recipe.steps):
            _write(path, told, student, optimizer, history)
        if progress is not None:
            progress(history[-1])
    return history


def _refuse(
    student: nn.Module, teacher: Model, images: Sequence[Tensor], precision: str, every: int
) -> None:
    if len(images) == 0:
        raise ValueError("recover: expected images, got none")
    if every < 1:
        raise ValueError(f"recover: expected every >= 1, got {every}")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision '{precision}'; known: {', '.join(PRECISIONS)}")
    own = {id(parameter) for parameter in student.parameters() if parameter.requires_grad}
    if not own:
        raise ValueError("recover: expected a student with parameters that require a gradient")
    if isinstance(teacher, nn.Module):
        if any(id(parameter) in own for parameter in teacher.parameters()):
            raise ValueError(
                "recover: expected a teacher besides the student, got one with its parameters; "
                "copy.deepcopy the network before it is mended"
            )
        if any(module.training for module in teacher.modules()):
            raise ValueError("recover: expected a teacher in eval mode; call teacher.eval() first")


def losses(logits: Tensor, taught: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """Returns the two terms, in nats, means over photographs and views.

    Args:
        logits: of the student, `(N * views, K)`, the views of a photograph one after the other.
        taught: the teacher's probabilities, of the same shape.
        views: of each photograph.

    Returns:
        With m the mean over views, and KL(p, q) the sum of p log(p / q): KL(m of the teacher, each
        view of the student), and KL(m of the student, each of its views). 0 where they are the same.
    """
    shape = (-1, views, logits.shape[1])
    target = taught.view(shape).mean(1, keepdim=True)
    answered = logits.log_softmax(1).view(shape)
    distillation = (torch.xlogy(target, target) - target * answered).sum(-1).mean()
    # As logarithms: the gradient of p log p is lost where p is too small for its type.
    mean = answered.logsumexp(1, keepdim=True) - math.log(views)
    return distillation, (mean.exp() * (mean - answered)).sum(-1).mean()


def _schedule(step: int, steps: int) -> float:
    """The share of the highest learning rate."""
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@torch.no_grad()
def renew_batch_norms(student: nn.Module, teacher: Model, batches: Iterable[Tensor]) -> None:
    """Makes the statistics of a student's batch norms fit its maps.

    What blurring did to mean and variance is seen by showing both networks the same photographs:
    the student's means are moved by the difference, its variances multiplied by the ratio. So these
    photographs need not be like those that the old statistics are of. A norm that the teacher has
    not is given the statistics on the photographs themselves.

    Args:
        student: changed in place; modes stay.
        teacher: left as it is.
        batches: `(B, C, h, w)` each.
    """
    shown = list(batches)
    theirs = _statistics(teacher, shown) if isinstance(teacher, nn.Module) else {}
    for name, (mean, variance) in _statistics(student, shown).items():
        norm: Any = student.get_submodule(name)
        if name in theirs and theirs[name][0].shape == mean.shape:
            norm.running_mean += mean - theirs[name][0]
            norm.running_var *= variance / theirs[name][1].clamp(min=norm.eps)
        else:
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


def _statistics(model: nn.Module, batches: list[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Plain means over batches of what each batch norm sees, (mean, variance) by name."""
    norms: dict[str, Any] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BATCH_NORM) and module.track_running_stats
    }
    if not norms:
        return {}
    kept = {
        name: (norm.momentum, norm.training, copy.deepcopy(dict(norm.named_buffers())))
        for name, norm in norms.items()
    }
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True  # None: a plain mean
    try:
        for batch in batches:
            model(batch)
        return {n: (m.running_mean.clone(), m.running_var.clone()) for n, m in norms.items()}
    finally:
        for name, norm in norms.items():
            norm.momentum, norm.training, buffers = kept[name]
            for key, value in buffers.items():
                getattr(norm, key).copy_(value)


# -- checkpoints -----------------------------------------------------------------------------------


def _told(
    student: nn.Module,
    teacher: Model,
    images: Sequence[Tensor],
    size: tuple[int, int],
    scale: Colour | None,
    bias: Colour | None,
    precision: str,
    recipe: Recipe,
) -> dict[str, Any]:
    """What a recovery depends on, as plain values."""
    pixels = hashlib.sha256()
    for image in images:
        pixels.update(f"{tuple(image.shape)}".encode() + image.cpu().numpy().tobytes())
    taught_by = weights_digest(teacher) if isinstance(teacher, nn.Module) else ""
    return {
        **asdict(recipe),
        "size": f"{size[0]}x{size[1]}",
        "scale": str(scale),
        "bias": str(bias),
        "precision": precision,
        "images": pixels.hexdigest(),
        "teacher": taught_by,
        "student": weights_digest(student),
        "structure": hashlib.sha256(structure(student).encode()).hexdigest(),
    }


def _write(
    path: Path,
    told: dict[str, Any],
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[Progress],
) -> None:
    """Writes beside the old one, then takes its place: a stop leaves one or the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(
        {
            "of": told,
            "student": student.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": [asdict(one) for one in history],
        },
        partial,
    )
    partial.replace(path)


def _read(
    path: Path, told: dict[str, Any], student: nn.Module, optimizer: torch.optim.Optimizer
) -> list[Progress]:
    try:
        stored = torch.load(path, map_location=device_of(student), weights_only=True)
        theirs = dict(stored["of"])
        history = [Progress(**one) for one in stored["history"]]
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"cannot read {path} as a recovery's checkpoint ({reason}); take it away to begin anew"
        ) from error
    unlike = [
        f"another {key}" if len(str(value)) > 60 else f"{key} {theirs.get(key)}, not {value}"
        for key, value in told.items()
        if theirs.get(key) != value
    ]
    if unlike:
        raise ValueError(
            f"{path} is the checkpoint of another recovery ({'; '.join(unlike)}); take it away to "
            "begin anew"
        )
    student.load_state_dict(stored["student"])
    optimizer.load_state_dict(stored["optimizer"])
    return history
