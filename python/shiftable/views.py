"""How a recovery goes, and what it shows: random views of photographs, shifted a little."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shiftable.functional import take_windows

_AREA = (0.25, 1.0)  # of a photograph that a view shows
_ASPECT = (3 / 4, 4 / 3)
_WHOLE = 2**63  # seeds are less


@dataclass(frozen=True)
class Recipe:
    """How a network is recovered.

    Args:
        steps: of the optimizer.
        batch: photographs in a step.
        views: shifted views of each, >= 2.
        shift: how far from its middle place a view lies at most, pixels on each axis, >= 1; two of
            them differ by up to twice that.
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
    learning_rate: float = 5e-5
    consistency: float = 1.0
    mixed: float = 0.5
    batch_norm: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("steps", 0, math.inf), ("batch", 1, math.inf), ("views", 2, math.inf),
            ("shift", 1, math.inf), ("learning_rate", 0, math.inf), ("consistency", 0, math.inf),
            ("mixed", 0, 1), ("batch_norm", 0, math.inf),
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value <= most:
                to = "" if most == math.inf else f" and <= {most}"
                raise ValueError(f"recover: expected {name} >= {least}{to}, got {value}")


class Views:
    """The windows of each step. They depend on seed and step alone, so that a stop loses nothing.

    Args:
        images: uint8 `(C, H, W)` each.
        size: (h, w) of a view, pixels.
        recipe: how many, and how far apart.
        affine: `scale` and `bias` of `take_windows`.
        device: where they are made.
        dtype: of the views.
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        size: tuple[int, int],
        recipe: Recipe,
        affine: dict[str, Any],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._images = images
        self._size = size
        self._recipe = recipe
        self._affine = affine
        self._device = device
        self._dtype = dtype

    def __call__(self, step: int) -> Tensor:
        """The views of one step, (batch * views, C, h, w), those of a photograph side by side."""
        count = len(self._images)
        drawn = range(step * self._recipe.batch, (step + 1) * self._recipe.batch)
        return torch.cat([self._of(self._order(n // count)[n % count], n) for n in drawn])

    def for_batch_norms(self) -> Iterator[Tensor]:
        """Views for the statistics, other ones than those of the steps, and none of them mixed."""
        per_batch = max(1, 32 // self._recipe.views)
        for first in range(0, self._recipe.batch_norm, per_batch):
            numbers = range(first, min(first + per_batch, self._recipe.batch_norm))
            yield torch.cat([self._of(n % len(self._images), -1 - n) for n in numbers])

    def _order(self, epoch: int) -> list[int]:
        """A permutation of the images."""
        return torch.randperm(len(self._images), generator=self._random("order", epoch)).tolist()

    def _random(self, what: str, number: int) -> torch.Generator:
        told = f"{self._recipe.seed} {what} {number}".encode()
        digest = hashlib.sha256(told).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % _WHOLE)

    def _of(self, image: int, number: int) -> Tensor:
        random = self._random("views", number)
        room = 2 * self._recipe.shift
        size = (self._size[0] + room, self._size[1] + room)
        part = random_part(self._photograph(image), size, random)
        chance, strength, other = torch.rand(3, generator=random).tolist()
        if number >= 0 and chance < self._recipe.mixed:
            another = self._photograph(int(other * len(self._images)))
            if len(another) != len(part):
                raise ValueError(
                    f"recover: expected images of as many channels, got {len(part)} and {len(another)}"
                )
            part = part.lerp(random_part(another, size, random), strength)
        corners = torch.randint(0, room + 1, (self._recipe.views, 2), generator=random)
        return take_windows(
            part[None], corners.to(self._device), self._size, dtype=self._dtype, **self._affine
        )[0]

    def _photograph(self, number: int) -> Tensor:
        photograph = self._images[number]
        if not isinstance(photograph, Tensor):
            got = type(photograph).__name__
        elif photograph.dtype != torch.uint8 or photograph.ndim != 3:
            got = f"{tuple(photograph.shape)} of {photograph.dtype}"
        else:
            return photograph.to(self._device)
        raise ValueError(f"recover: expected images (C, H, W) of uint8, got {got}")


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
