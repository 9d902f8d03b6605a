"""The Lie derivative of a classifier: how fast its probabilities change as an image begins to move."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftable._ops import has_kernels
from shiftable.engine import Colour, Images, Model, device_of, dtype_of, refuse_training
from shiftable.functional import Border, take_windows
from shiftable.intervals import Estimate, mean

Axis = Literal["horizontal", "vertical"]


@dataclass(frozen=True, eq=False)
class LieDerivative:
    """How fast each image's probabilities change at rest.

    Args:
        names: of the N images.
        per_pixel: (N,) the mean over classes of `abs(dp_k / dt)`, t in pixels.
        sides: (N,) the images' sizes along the axis, in pixels.
    """

    names: tuple[str, ...]
    per_pixel: npt.NDArray[np.float64]
    sides: npt.NDArray[np.int64]

    @property
    def per_image(self) -> npt.NDArray[np.float64]:
        """(N,) the same, t in the published unit.

        There an image spans -1 to 1 from the middle of its first pixel to that of its last, so one
        is (side - 1) / 2 pixels.
        """
        return self.per_pixel * (self.sides - 1) / 2

    def estimate(self, *, per_image: bool = False) -> Estimate:
        """The mean over images, with its 95 % interval: per pixel, or in the published unit."""
        return mean(self.per_image if per_image else self.per_pixel)


def lie_derivative(
    model: Model,
    images: Images,
    *,
    axis: Axis = "horizontal",
    border: Border = "circular",
    derivative: Literal["central", "fourier"] = "central",
    scale: Colour | None = None,
    bias: Colour | None = None,
    fill: Colour | None = None,
    batch: int = 8,
    device: torch.device | str | None = None,
    names: Sequence[str] | None = None,
) -> LieDerivative:
    """Measures how fast a classifier's probabilities change as images begin to move.

    Of p(T_t x), the probabilities of an image whose content has moved by t pixels to the right (or
    down), the derivative at t = 0: the error of local equivariance, 0 for a network that is
    invariant to however small a shift.

    The published values come from another derivative of the image, at a `reflect` border: the
    one-sided difference of two neighbours, which is what a bilinear sampler has on the pixel grid.

    Args:
        model: takes `(B, C, h, w)` and returns logits `(B, K)`, K >= 2, each of its own image only;
            differentiable almost everywhere, by operators whose backward pass is differentiable
            too; a module in eval mode, or any function of a batch. It is left as it is.
        images: N images `(C, h, w)` of the network's input size, uint8 or floating.
        axis: `horizontal` or `vertical`.
        border: what enters.
        derivative: of the image: `central`, half the difference of its two neighbours; or, for the
            circular border, `fourier`, that of the band-limited function through its pixels.
        scale: factor that turns a pixel into the network's input, one value or one a channel.
        bias: term added after the factor.
        fill: what enters with a `constant` border, in raw pixel units.
        batch: images of one size in a forward pass, >= 1.
        device: where the network runs; by default where its first parameter lies.
        names: of the images, by default their numbers.

    Raises:
        ValueError: for a network in training mode, one that fails, has no gradient or whose answer
            is not logits `(B, K)`; for images that are not `(C, h, w)`; an unknown name.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance (ICLR 2023), section 4.

    Examples:
        >>> import torch
        >>> from shiftable.lie import lie_derivative
        >>> invariant = lambda x: x.mean((2, 3))
        >>> bool(lie_derivative(invariant, torch.rand(2, 3, 8, 8)).estimate().value < 1e-6)
        True
    """
    refuse_training(model)
    if axis not in ("horizontal", "vertical"):
        raise ValueError(f"lie_derivative: unknown axis '{axis}'; known: horizontal, vertical")
    if derivative not in ("central", "fourier"):
        raise ValueError(
            f"lie_derivative: unknown derivative '{derivative}'; known: central, fourier"
        )
    if derivative == "fourier" and border != "circular":
        raise ValueError(
            f"lie_derivative: a Fourier derivative wraps around, which border '{border}' does not"
        )
    count = len(images)
    named = tuple(str(number) for number in range(count)) if names is None else tuple(names)
    if not count or len(named) != count:
        raise ValueError(
            f"lie_derivative: expected as many images as names, got {count} and {len(named)}"
        )
    if len(set(named)) != count:
        raise ValueError("lie_derivative: expected distinct names, got the same one twice")
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"lie_derivative: expected batch >= 1, got {batch}")
    if fill is not None and border != "constant":
        raise ValueError(
            f"lie_derivative: a fill is of border 'constant', got {fill} for '{border}'"
        )
    place = torch.device(device) if device is not None else device_of(model)
    cut_at = place if has_kernels(place) else torch.device("cpu")
    found: list[float] = []
    sides: list[int] = []
    waiting: list[tuple[Tensor, Tensor]] = []

    def work_off() -> None:
        if waiting:
            window, moving = (torch.cat(part).to(place) for part in zip(*waiting, strict=True))
            change = _directional(model, window, moving, named[len(found) :])
            found.extend(change.abs().double().mean(1).tolist())
            waiting.clear()

    for number in range(count):
        image = images[number]
        if image.ndim != 3:
            raise ValueError(f"lie_derivative: expected images (C, h, w), got {tuple(image.shape)}")
        pair = _moving(
            image.to(cut_at), axis, border, derivative, dtype_of(model), scale, bias, fill
        )
        if len(waiting) == batch or (waiting and waiting[0][0].shape != pair[0].shape):
            work_off()
        waiting.append(pair)
        sides.append(image.shape[2 if axis == "horizontal" else 1])
    work_off()
    return LieDerivative(named, np.array(found), np.array(sides, np.int64))


def _moving(
    image: Tensor,
    axis: Axis,
    border: Border,
    derivative: str,
    dtype: torch.dtype,
    scale: Colour | None,
    bias: Colour | None,
    fill: Colour | None,
) -> tuple[Tensor, Tensor]:
    """The network's input (1, C, h, w), and how fast each of its values changes."""
    step = (0, 1) if axis == "horizontal" else (1, 0)
    # Content moved by -1, 0 and 1: a window's corner goes the other way.
    corners = torch.tensor([step, (0, 0), (-step[0], -step[1])])
    size = (image.shape[1], image.shape[2])
    before, window, after = take_windows(
        image[None], corners, size, border=border, fill=fill, scale=scale, bias=bias,
        dtype=torch.float64 if dtype == torch.float64 else torch.float32,
    )[0].to(dtype).unsqueeze(1)  # fmt: skip
    if derivative == "central":
        return window, (after - before) / 2
    dim = 3 if axis == "horizontal" else 2
    frequency = torch.fft.fftfreq(window.shape[dim], dtype=torch.float64, device=image.device)
    # The highest frequency of an even size is a cosine at rest: it has no slope there.
    turn = -2j * torch.pi * frequency.where(frequency.abs() != 0.5, 0)
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    moving = torch.fft.ifft(torch.fft.fft(window.double(), dim=dim) * turn.view(shape), dim=dim)
    return window, moving.real.to(dtype)


def _directional(model: Model, window: Tensor, moving: Tensor, names: Sequence[str]) -> Tensor:
    """The derivatives (B, K) of the probabilities along a change of the inputs (B, C, h, w).

    By two backward passes: the derivative of u -> J^T u, which is linear in u, is J. Forward mode
    would be one pass, but not every operator has it: ours do not, and silently count as 0 there.
    """
    count = len(window)
    # Also within a caller's inference mode, whose tensors have no gradient.
    with torch.inference_mode(False), torch.enable_grad():
        window, moving = window.clone().requires_grad_(), moving.clone()
        try:
            logits = model(window)
        except Exception as error:
            raise ValueError(
                f"lie_derivative: the network failed on a batch {tuple(window.shape)} of "
                f"{names[0]}: {_first_line(error)}"
            ) from error
        if (
            not isinstance(logits, Tensor)
            or logits.ndim != 2
            or logits.shape[0] != count
            or logits.shape[1] < 2
        ):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"lie_derivative: expected logits ({count}, K) with K >= 2 from the network, got "
                f"{got}; wrap it in a function that returns them"
            )
        probabilities = (logits if logits.dtype == torch.float64 else logits.float()).softmax(1)
        along = torch.zeros_like(probabilities, requires_grad=True)
        try:
            (back,) = torch.autograd.grad(probabilities, window, along, create_graph=True)
            (change,) = torch.autograd.grad(back, along, moving)
        except RuntimeError as error:
            raise ValueError(
                "lie_derivative: expected a network that can be differentiated twice, got for "
                f"{names[0]}: {_first_line(error)}"
            ) from error
    finite = change.isfinite().all(1)
    if not bool(finite.all()):
        name = names[int(finite.int().argmin())]
        raise ValueError(f"lie_derivative: expected finite derivatives, got others for {name}")
    return change


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
