"""Gives a mended network back its accuracy, without labels: it learns from the network it was."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftable.engine import Colour, Model, device_of
from shiftable.functional import take_windows

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_AREA = (0.25, 1.0)  # of a photograph that a view shows
_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Recipe:
    """How a network is recovered.

    Args:
        steps: of the optimizer.
        batch: photographs in a step.
        views: shifted views of each, >= 2.
        shift: by which views differ at most, pixels on each axis.
        learning_rate: at its highest; it rises over the first twentieth and falls as a cosine to 0.
        consistency: weight of the term that makes a photograph's views agree.
        mixed: share of photographs that another one is blended into, at random strength: more
            pictures than there are photographs, on which the teacher's answers are many.
        batch_norm: photographs for the new statistics of batch norms; 0 keeps the old ones.
        seed: of views and order.
    """

    steps: int = 1000
    batch: int = 8
    views: int = 2
    shift: int = 8
    learning_rate: float = 1e-4
    consistency: float = 1.0
    mixed: float = 0.5
    batch_norm: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch", 1), ("views", 2), ("shift", 1),
                            ("batch_norm", 0), ("consistency", 0), ("learning_rate", 0)):  # fmt: skip
            if not getattr(self, name) >= least:
                raise ValueError(f"recover: expected {name} >= {least}, got {getattr(self, name)}")


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
    every: int = 50,
    progress: Callable[[Progress], object] | None = None,
) -> list[Progress]:
    """Fine-tunes a mended network to the outputs of the one it was, on photographs without labels.

    1. The statistics of batch norms are made anew on the photographs, since blurred maps have less
       variance than those that the old ones are of.
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
        ValueError: for no images, a teacher that is the student or in training mode, a loss that is
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
    if len(images) == 0:
        raise ValueError("recover: expected images, got none")
    if every < 1:
        raise ValueError(f"recover: expected every >= 1, got {every}")
    if teacher is student:
        raise ValueError("recover: expected a teacher besides the student, got the same network")
    if isinstance(teacher, nn.Module) and any(m.training for m in teacher.modules()):
        raise ValueError("recover: expected a teacher in eval mode; call teacher.eval() first")
    device = device_of(student)
    views = _Views(images, size, recipe, scale, bias, device)
    cast: Any = nullcontext
    if precision == "bf16":
        cast = lambda: torch.autocast(device.type, torch.bfloat16)
    student.eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    history: list[Progress] = []
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        history = _read(path, recipe, len(images), student, optimizer)
    elif recipe.batch_norm:
        renew_batch_norms(student, views.for_batch_norms(), cast)
    for step in range(len(history), recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, recipe.steps)
        windows = views(step)
        with torch.no_grad(), cast():
            taught = teacher(windows).float().softmax(1)
        with cast():
            logits = student(windows).float()
        distillation, consistency = losses(logits, taught, recipe.views)
        loss = distillation + recipe.consistency * consistency
        if not loss.isfinite():
            raise ValueError(
                f"recover: the loss of step {step + 1} is not finite; take a lower learning_rate, "
                f"it is {recipe.learning_rate}"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        history.append(Progress(step + 1, recipe.steps, distillation.item(), consistency.item()))
        if path is not None and ((step + 1) % every == 0 or step + 1 == recipe.steps):
            _write(path, recipe, len(images), student, optimizer, history)
        if progress is not None:
            progress(history[-1])
    return history


def losses(logits: Tensor, taught: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """Returns the two terms, in nats, means over photographs and views.

    Args:
        logits: of the student, `(N * views, K)`, the views of a photograph one after the other.
        taught: the teacher's probabilities, of the same shape.
        views: of each photograph.

    Returns:
        The divergence of the student from the teacher's mean over views, and that of the student's
        views from their own mean. 0 where they are the same.
    """
    shape = (-1, views, logits.shape[1])
    target = taught.view(shape).mean(1, keepdim=True)
    log_probabilities = logits.log_softmax(1).view(shape)
    distillation = _divergence(target, log_probabilities)
    mean = log_probabilities.exp().mean(1, keepdim=True)
    return distillation, _divergence(mean, log_probabilities)


def _divergence(p: Tensor, log_q: Tensor) -> Tensor:
    """Kullback & Leibler's, of q from p."""
    return (torch.xlogy(p, p) - p * log_q).sum(-1).mean()


def _schedule(step: int, steps: int) -> float:
    """The share of the highest learning rate."""
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@torch.no_grad()
def renew_batch_norms(
    model: nn.Module, batches: Iterator[Tensor], cast: Callable[[], Any] = nullcontext
) -> None:
    """Makes the statistics of a network's batch norms anew: plain means over some batches.

    Args:
        model: changed in place; modes come back.
        batches: `(B, C, h, w)` each.
        cast: a context to run the network in.
    """
    norms = [m for m in model.modules() if isinstance(m, _BATCH_NORM) and m.track_running_stats]
    if not norms:
        return
    with _averaging(norms):
        for batch in batches:
            with cast():
                model(batch)


@contextmanager
def _averaging(norms: list[Any]) -> Iterator[None]:
    """Batch norms that gather plain means from nothing."""
    kept = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True
    try:
        yield
    finally:
        for norm, (momentum, training) in zip(norms, kept, strict=True):
            norm.momentum, norm.training = momentum, training


class _Views:
    """The windows of each step. They depend on seed and step alone, so that a stop loses nothing."""

    def __init__(
        self,
        images: Sequence[Tensor],
        size: tuple[int, int],
        recipe: Recipe,
        scale: Colour | None,
        bias: Colour | None,
        device: torch.device,
    ) -> None:
        self._images = images
        self._size = size
        self._recipe = recipe
        self._affine: dict[str, Any] = {"scale": scale, "bias": bias}
        self._device = device

    def __call__(self, step: int) -> Tensor:
        """The views of one step, (batch * views, C, h, w)."""
        batch, count = self._recipe.batch, len(self._images)
        drawn = torch.arange(step * batch, (step + 1) * batch)
        return torch.cat(
            [self._of(self._order(int(n) // count)[int(n) % count], int(n)) for n in drawn]
        )

    def for_batch_norms(self) -> Iterator[Tensor]:
        """Views for the statistics, drawn before the first step's."""
        per_batch = max(1, 32 // self._recipe.views)
        for first in range(0, self._recipe.batch_norm, per_batch):
            numbers = range(first, min(first + per_batch, self._recipe.batch_norm))
            yield torch.cat([self._of(n % len(self._images), -1 - n) for n in numbers])

    def _order(self, epoch: int) -> list[int]:
        return torch.randperm(len(self._images), generator=self._random(epoch)).tolist()

    def _random(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed((self._recipe.seed << 32) ^ (number & 0xFFFFFFFF))

    def _of(self, image: int, number: int) -> Tensor:
        random = self._random(number)
        photograph = self._images[image].to(self._device)
        if photograph.dtype != torch.uint8 or photograph.ndim != 3:
            raise ValueError(
                "recover: expected images (C, H, W) of uint8, got "
                f"{tuple(photograph.shape)} of {photograph.dtype}"
            )
        room = 2 * self._recipe.shift
        size = (self._size[0] + room, self._size[1] + room)
        part = random_part(photograph, size, random)
        if self._recipe.mixed and number >= 0:
            chance, strength, other = torch.rand(3, generator=random).tolist()
            if chance < self._recipe.mixed:
                another = self._images[int(other * len(self._images))].to(self._device)
                part = part.lerp(random_part(another, size, random), strength)
        corners = torch.randint(0, room + 1, (self._recipe.views, 2), generator=random)
        return take_windows(
            part[None], corners.to(self._device), self._size, dtype=torch.float32, **self._affine
        )[0]


def random_part(photograph: Tensor, size: tuple[int, int], random: torch.Generator) -> Tensor:
    """Returns a random part of a photograph, resized with an anti-aliased filter, perhaps mirrored.

    Args:
        photograph: uint8 `(C, H, W)`.
        size: (h, w) of the result, pixels.
        random: what chance is taken from.

    Returns:
        `(C, h, w)` in float32, 0..255.

    References:
        Szegedy et al., Going Deeper with Convolutions (CVPR 2015), section 6, for parts by area and
        aspect.
    """
    height, width = photograph.shape[1:]
    area, aspect, down, right, mirrored = torch.rand(5, generator=random).tolist()
    area = (_AREA[0] + area * (_AREA[1] - _AREA[0])) * height * width
    ratio = math.exp(math.log(_ASPECT[0]) + aspect * math.log(_ASPECT[1] / _ASPECT[0]))
    h = max(1, min(height, round(math.sqrt(area / ratio))))
    w = max(1, min(width, round(math.sqrt(area * ratio))))
    top, left = round(down * (height - h)), round(right * (width - w))
    part = photograph[None, :, top : top + h, left : left + w].float()
    resized = functional.interpolate(
        part, size, mode="bicubic", align_corners=False, antialias=True
    )
    result = resized[0].clamp(0, 255)
    return result.flip(2) if mirrored < 0.5 else result


# -- checkpoints -----------------------------------------------------------------------------------


def _write(
    path: Path,
    recipe: Recipe,
    count: int,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[Progress],
) -> None:
    """Writes beside the old one, then takes its place: a stop leaves one or the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(
        {
            "recipe": asdict(recipe),
            "images": count,
            "student": student.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": [asdict(one) for one in history],
        },
        partial,
    )
    partial.replace(path)


def _read(
    path: Path, recipe: Recipe, count: int, student: nn.Module, optimizer: torch.optim.Optimizer
) -> list[Progress]:
    try:
        stored = torch.load(path, map_location=device_of(student), weights_only=True)
        theirs = {**stored["recipe"], "images": stored["images"]}
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"cannot read {path} as a recovery's checkpoint ({reason}); take it away to begin anew"
        ) from error
    ours = {**asdict(recipe), "images": count}
    unlike = [f"{k} {theirs.get(k)}, not {v}" for k, v in ours.items() if theirs.get(k) != v]
    if unlike:
        raise ValueError(
            f"{path} is the checkpoint of another recovery ({'; '.join(unlike)}); take it away to "
            "begin anew"
        )
    student.load_state_dict(stored["student"])
    optimizer.load_state_dict(stored["optimizer"])
    return [Progress(**one) for one in stored["history"]]
