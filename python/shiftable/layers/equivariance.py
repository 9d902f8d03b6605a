"""How far each layer of a network is from moving along with its input."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import ceil, lcm
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from shiftable.convert.trace import evaluating
from shiftable.intervals import Estimate, mean
from shiftable.layers.circular import CircularPadding
from shiftable.layers.found import Found, find_layers, layer_modules
from shiftable.layers.interpolation import mirror_shifted, shifted
from shiftable.layers.windows import Padding, windows

Errors = npt.NDArray[np.float64]
_EDGE = 8  # of a map on its own padding, an eighth of each side is left out


@dataclass(frozen=True, eq=False)
class Layer(Found):
    """A layer, and how far it is from moving along with its input.

    Args:
        on_grid: (N,) errors of the N images for a shift by the layer's grid, mean over both axes;
            NaN where they cannot be had.
        sub_grid: (P, N) for shifts between, at each phase.
        phases: (P,) the shifts that these are of, over the grid, from 0 to 1; none for a grid of 1.
    """

    on_grid: Errors
    sub_grid: Errors
    phases: tuple[float, ...]

    def on_grid_mean(self) -> Estimate:
        """The error on the grid, mean over the images that have one, with its 95 % interval."""
        return known_mean(self.on_grid)

    def sub_grid_mean(self) -> Estimate:
        """The error between pixels of the grid, mean over phases and images."""
        return known_mean(self.sub_grid.mean(0) if len(self.phases) else np.array([]))


def known_mean(errors: Errors) -> Estimate:
    """Estimates the mean of the errors that can be had."""
    known = errors[np.isfinite(errors)]
    return mean(known) if len(known) else Estimate(None, None, None, 0)


def layer_equivariance(
    model: nn.Module,
    images: Sequence[Tensor],
    size: tuple[int, int],
    *,
    padding: Padding = "circular",
    phases: int = 4,
    scale: float | Sequence[float] | None = None,
    bias: float | Sequence[float] | None = None,
    batch: int = 4,
    progress: Callable[[int], object] | None = None,
) -> list[Layer]:
    """Measures how far each layer of a network is from moving along with its input.

    Of the map a(x) that a layer of stride s writes for an image x, and of T_d, which moves content
    by d pixels along one axis, the error is the norm of a(T_d x) - T_(d/s) a(x) over the norm of
    a(x), for each axis. On the grid d is s: the map moves by one pixel. (After an up-sampling it is
    the least shift that is whole in every map before, and the map moves by several.) Between, d is a
    share of that, the phase, and the map is moved by the ideal, band-limited interpolation: what a
    layer whose map does not alias would do. A layer that is shiftable has an error of 0 at every
    phase.

    With `circular` padding images and maps wrap around: no border is left, the error on the grid is 0
    but for rounding, and that between is aliasing alone. With the network's `own` the windows slide
    over a larger photograph, and the error on the grid is what the borders do; an eighth of each side
    of a map is left out, and it is continued by its mirror image where it is interpolated. Both
    together separate borders from aliasing.

    Args:
        model: any network of maps `(N, C, H, W)`, on any device and in any floating dtype; put in
            eval mode meanwhile, else left as it is.
        images: N images `(C, H, W)`, uint8 or floating; larger than `size` by the network's total
            stride at least (32 pixels for most), for `own`.
        size: (h, w) of the network's input, pixels. For `circular` the nearest multiple of the
            total stride is taken, and the middle of each image.
        padding: `circular`, or `own`.
        phases: so many to a pixel of a layer's map, >= 2: shifts of 1 / phases of its stride, 2 /
            phases and so on are taken, rounded to whole pixels of the input.
        scale: factor that turns a pixel into the network's input, one value or one a channel.
        bias: term added after the factor.
        batch: images in a forward pass, >= 1; all maps of so many are in memory.
        progress: called with the number of images just done.

    Returns:
        The layers, in the order of the forward pass: calls of convolutions, norms, and modules that
        have none within, that read a map and write one of more than one pixel. Left out are maps
        whose pixels are no whole number of the input's, and with `circular` those that do not wrap
        around.

    Raises:
        ValueError: for images too small, a network that fails, or an argument outside the above.

    References:
        Simoncelli et al., Shiftable multiscale transforms (IEEE Trans. Information Theory 1992), for
        shiftability; Azulay & Weiss, Why do deep convolutional networks generalize so poorly to small
        image transformations? (JMLR 2019), section 3; Michaeli et al., Alias-Free Convnets (CVPR
        2023), section 4, for the interpolated difference.

    Examples:
        A cosine of 0.4 cycles/pixel, every second pixel of it: on the grid nothing is lost. Between,
        it appears as one of 0.2 that moves the wrong way, to the opposite of where it should be.

        >>> wave = torch.cos(2 * torch.pi * 0.4 * torch.arange(40.0)).expand(1, 40, 40)
        >>> keep = torch.nn.Conv2d(1, 1, 1, stride=(1, 2), bias=False)
        >>> _ = torch.nn.init.ones_(keep.weight)
        >>> [layer] = layer_equivariance(torch.nn.Sequential(keep), [wave], (40, 40))
        >>> float(layer.on_grid[0].round(4)), layer.phases, float(layer.sub_grid[0, 0].round(4))
        (0.0, (0.5,), 2.0)
    """
    _refuse(images, padding, phases, batch)
    pixels: dict[str, Any] = {"scale": scale, "bias": bias}
    layers, shown = _layers(model, images[0], size, padding, pixels)
    room = _total(layers)
    moves = sorted({(axis, d) for layer in layers for axis, d, _ in _moves(layer, phases)})
    found: dict[int, list[Errors]] = {number: [] for number in range(len(layers))}
    for first in range(0, len(images), batch):
        part = [images[n] for n in range(first, min(first + batch, len(images)))]

        def moved(axis: int, by: int, part: Sequence[Tensor] = part) -> Tensor:
            both = (by, 0) if axis == 0 else (0, by)
            return windows(model, part, shown, padding, both, room, **pixels)

        for number, errors in enumerate(_errors(model, layers, moved, moves, phases, padding)):
            found[number].append(errors)
        if progress is not None:
            progress(len(part))
    return [
        _layer(layer, np.concatenate(found[number], axis=1), phases)
        for number, layer in enumerate(layers)
    ]


def _refuse(images: Sequence[Tensor], padding: str, phases: int, batch: int) -> None:
    if padding not in ("own", "circular"):
        raise ValueError(f"unknown padding '{padding}'; known: own, circular")
    if phases < 2 or batch < 1:
        raise ValueError(f"expected phases >= 2 and batch >= 1, got {phases} and {batch}")
    if not len(images) or images[0].ndim != 3:
        got = tuple(images[0].shape) if len(images) else "none"
        raise ValueError(f"layer_equivariance: expected images (C, H, W), got {got}")


def _layers(
    model: nn.Module,
    image: Tensor,
    size: tuple[int, int],
    padding: Padding,
    pixels: dict[str, Any],
) -> tuple[list[Found], tuple[int, int]]:
    """The layers to measure, and the size of the windows to do it with."""
    layers = _maps(find_layers(model, windows(model, [image], size, "circular", **pixels)))
    if not layers:
        raise ValueError(
            "no convolution, norm, pool or other module of the network reads and writes maps "
            "(N, C, H, W) of several pixels: there is nothing to measure"
        )
    if padding == "own":
        return layers, size
    total = _total(layers)
    height, width = (max(1, round(n / t)) * t for n, t in zip(size, total, strict=True))
    with CircularPadding():
        found = find_layers(model, windows(model, [image], (height, width), "circular", **pixels))
    wrapped = [
        layer
        for layer in _maps(found)
        if (layer.size[0] * layer.stride[0], layer.size[1] * layer.stride[1]) == (height, width)
    ]
    if not wrapped:
        raise ValueError(
            "layer_equivariance: no map of the network wraps around with circular padding"
        )
    return wrapped, (height, width)


def _total(layers: Sequence[Found]) -> tuple[int, int]:
    """The least shift that is on the grid of all of them, by axis."""
    vertical, horizontal = (lcm(*(layer.grid[axis] for layer in layers)) for axis in (0, 1))
    return vertical, horizontal


def _maps(layers: Sequence[Found]) -> list[Found]:
    """Those of them that write more than one pixel."""
    return [layer for layer in layers if min(layer.size) > 1]


def _moves(layer: Found, phases: int) -> Iterator[tuple[int, int, int]]:
    """What to measure a layer at: axis, pixels, and which row of its errors that goes to."""
    for axis in (0, 1):
        grid = layer.grid[axis]
        yield axis, grid, 0
        for row, pixels in enumerate(_pixels(grid, phases), 1):
            yield axis, pixels, row


def _pixels(grid: int, phases: int) -> list[int]:
    """The shifts between those of a grid."""
    every = {round(k * grid / phases) for k in range(1, phases)}
    return sorted(pixels for pixels in every if 0 < pixels < grid)


def _errors(
    model: nn.Module,
    layers: Sequence[Found],
    moved: Callable[[int, int], Tensor],
    moves: Sequence[tuple[int, int]],
    phases: int,
    padding: Padding,
) -> list[Errors]:
    """Of each layer the errors of some images, a row for the grid and one a phase and axis."""
    maps: dict[int, Tensor] = {}

    def keep(number: int, written: Tensor) -> None:
        maps[number] = written.clone()  # an activation may write into it

    with torch.no_grad(), evaluating(model):
        with _watched(model, layers, keep), _padded(padding):
            model(moved(0, 0))
        count = len(next(iter(maps.values())))
        rows = [_rows(layer, phases) for layer in layers]
        sums = [np.zeros((len(own), count)) for own in rows]
        for axis, by in moves:

            def compare(number: int, written: Tensor, axis: int = axis, by: int = by) -> None:
                if (axis, by) in rows[number]:
                    stride = layers[number].stride[axis]
                    error = _error(maps[number], written, axis, by / stride, padding)
                    sums[number][rows[number].index((axis, by))] = error.cpu().numpy()

            with _watched(model, layers, compare), _padded(padding):
                model(moved(axis, by))
    return sums


def _rows(layer: Found, phases: int) -> list[tuple[int, int]]:
    return [(axis, pixels) for axis, pixels, _ in _moves(layer, phases)]


def _padded(padding: Padding) -> CircularPadding | nullcontext[None]:
    return CircularPadding() if padding == "circular" else nullcontext()


@contextmanager
def _watched(
    model: nn.Module, layers: Sequence[Found], see: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Calls `see` with the number of each layer, and the map that it has just written."""
    numbers = {(layer.name, layer.call): number for number, layer in enumerate(layers)}
    names = {id(module): name for name, module in layer_modules(model).items()}
    calls = dict.fromkeys(names.values(), 0)

    def hook(module: nn.Module, _: object, written: object) -> None:
        name = names.get(id(module))
        if name is None:
            return
        number = numbers.get((name, calls[name]))
        calls[name] += 1
        if number is not None and isinstance(written, Tensor):
            see(number, written)

    handle = register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _error(own: Tensor, moved: Tensor, axis: int, by: float, padding: Padding) -> Tensor:
    """The relative error (N,) of maps (N, C, H, W) of content that has moved by `by` map pixels."""
    own, moved = (m if m.dtype == torch.float64 else m.float() for m in (own, moved))
    if padding == "circular":
        wanted = shifted(own, axis - 2, by)
    else:
        wanted = mirror_shifted(own, axis - 2, by)
        for side in (-2, -1):
            edge = max(1, round(own.shape[side] / _EDGE), ceil(by))  # so much has entered
            inside = own.shape[side] - 2 * edge
            if inside < 1:
                return torch.full((len(own),), torch.nan)
            own, moved, wanted = (m.narrow(side, edge, inside) for m in (own, moved, wanted))
    apart, norm = ((m.flatten(1).norm(dim=1)) for m in (moved - wanted, own))
    return torch.where(norm > 0, apart / norm, torch.nan)


def _layer(layer: Found, errors: Errors, phases: int) -> Layer:
    """Means over both axes, of the grid and of every phase."""
    rows = list(_moves(layer, phases))
    grid = [errors[at] for at, (_, _, row) in enumerate(rows) if row == 0]
    between: dict[float, list[Errors]] = {}
    for at, (axis, pixels, row) in enumerate(rows):
        if row:
            between.setdefault(pixels / layer.grid[axis], []).append(errors[at])
    known = tuple(sorted(between))
    found = [np.mean(between[phase], axis=0) for phase in known]
    return Layer(
        **vars(layer),
        on_grid=np.mean(grid, axis=0),
        sub_grid=np.array(found).reshape(len(known), errors.shape[1]),
        phases=known,
    )
