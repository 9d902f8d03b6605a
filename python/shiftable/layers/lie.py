"""Which layers make a network's output change as an image begins to move."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shiftable.convert.trace import evaluating
from shiftable.intervals import Estimate, mean
from shiftable.layers.found import Found, find_layers, layer_modules
from shiftable.layers.interpolation import derivative
from shiftable.layers.windows import windows
from shiftable.lie import Axis

Contributions = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerLie(Found):
    """A layer, and how much of the change of the network's output it makes.

    Args:
        contribution: (N,) for N images: the length of the vector of changes of all probabilities for
            a pixel of shift, that are this layer's.
    """

    contribution: Contributions

    def mean(self) -> Estimate:
        """The contribution, mean over the images, with its 95 % interval."""
        return mean(self.contribution)


@dataclass(frozen=True, eq=False)
class LieByLayer:
    """What each layer adds to the Lie derivative of a classifier.

    Args:
        layers: in the order of the forward pass.
        rest: (N,) what is in none of them: activations that are functions, additions.
        whole: (N,) the length of the vector of changes of all probabilities. Contributions may
            cancel: their lengths do not add up to it.
    """

    layers: list[LayerLie]
    rest: Contributions
    whole: Contributions


def lie_by_layer(
    model: nn.Module,
    images: Sequence[Tensor],
    size: tuple[int, int],
    *,
    axis: Axis = "horizontal",
    probes: int = 64,
    scale: float | Sequence[float] | None = None,
    bias: float | Sequence[float] | None = None,
    batch: int = 4,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> LieByLayer:
    """Measures what each layer adds to the change of a classifier's output as images begin to move.

    A layer f that moves along with its input has J_f dx = df, where J_f is its Jacobian and d the
    derivative of a map along the axis, for a pixel of the image. What it is off, L = J_f dx - df,
    goes through the rest of the network to its probabilities. The length of what arrives is that
    layer's contribution; it is estimated by random probes z of unit variance, of which the mean
    square of (z J L) is the square of the length of J L.

    Derivatives of maps are those of the band-limited function through their pixels, continued by the
    mirror image: what samples hold without loss costs nothing, at any stride. (The published ones are
    by a bilinear sampler.) What reads a map and writes none has df = 0.

    Args:
        model: a classifier with logits `(B, K)`; in eval mode meanwhile, else left as it is.
        images: N images `(C, H, W)` of `size` at least, of which the middle is shown.
        size: (h, w) of the network's input, pixels.
        axis: `horizontal` or `vertical`.
        probes: of each image, >= 1; an image's contribution is known to 1 / sqrt(2 * probes).
        scale: factor that turns a pixel into the network's input, one value or one a channel.
        bias: term added after the factor.
        batch: images in a forward pass, >= 1; all maps of so many are in memory, with gradients.
        seed: of the probes.
        progress: called with the number of images just done.

    Raises:
        ValueError: for a network that fails, or cannot be differentiated twice; for images that are
            too small, or an argument outside the above.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance (ICLR 2023), section 5.

    Examples:
        >>> import torch
        >>> pool = torch.nn.AdaptiveAvgPool2d(1)
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1, stride=2), pool, torch.nn.Flatten())
        >>> found = lie_by_layer(net, [torch.rand(1, 8, 8)], (8, 8), probes=8)
        >>> [layer.name for layer in found.layers]
        ['0', '1']
    """
    if axis not in ("horizontal", "vertical"):
        raise ValueError(f"lie_by_layer: unknown axis '{axis}'; known: horizontal, vertical")
    if probes < 1 or batch < 1:
        raise ValueError(f"expected probes >= 1 and batch >= 1, got {probes} and {batch}")
    if not len(images):
        raise ValueError("lie_by_layer: expected images (C, H, W), got none")
    layers: list[Found] = []
    found: list[Contributions] = []
    draw = torch.Generator().manual_seed(seed)
    for first in range(0, len(images), batch):
        part = [images[n] for n in range(first, min(first + batch, len(images)))]
        window = windows(model, part, size, scale=scale, bias=bias)
        # One of several inputs is a sum or product of them: it goes to the rest.
        layers = layers or [one for one in find_layers(model, window[:1]) if one.alone]
        found.append(_contributions(model, layers, window, axis, probes, draw))
        if progress is not None:
            progress(len(part))
    every = np.concatenate(found, axis=1)
    own = [
        LayerLie(**vars(layer), contribution=every[number]) for number, layer in enumerate(layers)
    ]
    return LieByLayer(own, every[-2], every[-1])


@dataclass
class _Seen:
    """What a layer read, at what rate that changes, and what it wrote."""

    module: nn.Module
    read: Tensor
    written: Tensor | None = None


def _contributions(
    model: nn.Module,
    layers: Sequence[Found],
    window: Tensor,
    axis: Axis,
    probes: int,
    draw: torch.Generator,
) -> Contributions:
    """A row a layer, then the rest and the whole, for each image of a batch."""
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model), _fixed(model):
        shown = window.clone().requires_grad_()
        try:
            with _watched(model, layers) as seen:
                logits = model(shown)
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(window):
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ValueError(f"its output is {got}")
            probabilities = logits.softmax(1)
            moving = derivative(window, axis, 1)
            off = [_off(layer, seen[number], axis) for number, layer in enumerate(layers)]
            written = [
                one.written
                for _, one in sorted(seen.items(), key=lambda item: item[0])
                if one.written is not None
            ]
            sums = np.zeros((len(layers) + 2, len(window)))
            for _ in range(probes):
                probe = torch.randn(probabilities.shape, generator=draw).to(probabilities)
                back = torch.autograd.grad(
                    probabilities, [shown, *written], probe, retain_graph=True, allow_unused=True
                )
                arrived = [
                    torch.zeros(len(window)) if g is None else (g * one).flatten(1).sum(1).cpu()
                    for g, one in zip(back, [moving, *off], strict=True)
                ]
                whole, own = arrived[0], torch.stack([torch.zeros(len(window)), *arrived[1:]])
                values = torch.stack([*arrived[1:], whole - own.sum(0), whole])
                sums += values.double().square().numpy()
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                "lie_by_layer: expected a network with logits (B, K) that can be differentiated "
                f"twice, got for {tuple(window.shape)}: {str(error).strip().partition(chr(10))[0]}"
            ) from error
    return np.sqrt(sums / probes)


@contextmanager
def _fixed(model: nn.Module) -> Iterator[None]:
    """Weights without gradients, which would be computed for nothing."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


@contextmanager
def _watched(model: nn.Module, layers: Sequence[Found]) -> Iterator[dict[int, _Seen]]:
    """What each layer reads and writes, by its number."""
    numbers = {(layer.name, layer.call): number for number, layer in enumerate(layers)}
    seen: dict[int, _Seen] = {}

    def hooks(name: str, module: nn.Module) -> tuple[Callable[..., Any], Callable[..., Any]]:
        calls = count()
        now: int | None = None

        def enter(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            nonlocal now
            now = numbers.get((name, next(calls)))
            if now is not None:
                # An activation may write into it.
                seen[now] = _Seen(module, arguments[0].detach().clone())

        def leave(_: nn.Module, arguments: object, written: Tensor) -> Tensor | None:
            if now is None:
                return None
            seen[now].written = written
            return written.clone()  # what comes next may write into that one

        return enter, leave

    placed = []
    for name, module in layer_modules(model).items():
        enter, leave = hooks(name, module)
        # The nearest to the module itself: a blur that is a hook is a layer of its own.
        placed.append(module.register_forward_pre_hook(enter))
        placed.append(module.register_forward_hook(leave, prepend=True))
    try:
        yield seen
    finally:
        for hook in placed:
            hook.remove()


def _off(layer: Found, seen: _Seen, axis: Axis) -> Tensor:
    """What a layer is off from moving along with its input: J dx - df."""
    at = 1 if axis == "horizontal" else 0
    assert seen.written is not None
    moving = derivative(seen.read, axis, layer.reads[at])
    change = _change(seen.module, seen.read, moving)
    return change - derivative(seen.written.detach(), axis, layer.stride[at])


def _change(module: nn.Module, read: Tensor, moving: Tensor) -> Tensor:
    """How fast a module's output changes where its input changes so: J dx."""
    # Its own work, without hooks: a blur, for instance, is a layer of its own.
    if isinstance(module, nn.Conv2d):  # affine; of a depthwise one the way below takes seconds
        with torch.no_grad():
            change: Tensor = module.forward(moving) - module.forward(torch.zeros_like(moving))
        return change
    # Two backward passes, as in `shiftable.lie`: forward mode is not known to every operator.
    read = read.requires_grad_()
    written = module.forward(read.clone())  # a copy, for one that writes in place
    along = torch.zeros_like(written, requires_grad=True)
    (back,) = torch.autograd.grad(written, read, along, create_graph=True)
    (change,) = torch.autograd.grad(back, along, moving)
    return change
