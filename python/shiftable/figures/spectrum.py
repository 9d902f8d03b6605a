"""What steps that lower resolution do to an image, and to its spectrum."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor

from shiftable.colours import COLOURS, readable
from shiftable.figures.style import MARKERS, plain, save
from shiftable.spectrum import Downsampled, energy_spectrum, log_magnitude, radial_average

_COLUMNS = 5
_FLOOR = -60.0  # dB, of what is drawn


def spectrum_figure(
    image: Tensor, steps: Sequence[Downsampled], path: Path, *, title: str = "", curves: bool = True
) -> None:
    """Draws an image, what each step keeps of it, and the spectra before anything is left out.

    All spectra have one axis, in cycles/pixel of the original image; a dashed square is the new
    limit of Nyquist, and what lies outside of it aliases.

    Args:
        image: `(1, C, H, W)`, with C 1 or 3, from 0 to 1.
        steps: what was done to it, by `shiftable.spectrum.downsampled`, of one stride.
        path: where to write, a PNG or an SVG.
        title: of the figure.
        curves: also draw the spectra averaged over directions.
    """
    cells = 1 + len(steps) + curves
    columns = min(cells, _COLUMNS)
    blocks = -(-cells // columns)
    figure = Figure(
        figsize=(2.7 * columns + 0.9, 5.6 * blocks + 0.5), dpi=110, layout="constrained"
    )
    axes = figure.subplots(2 * blocks, columns, squeeze=False)
    for unused in axes.flat:
        unused.set_axis_off()
    places = [(2 * (cell // columns), cell % columns) for cell in range(cells)]
    size = (image.shape[2], image.shape[3])
    row, column = places[0]
    _picture(axes[row, column], image, size, "original")
    shades = _spectrum(axes[row + 1, column], image, None, f"{size[0]} x {size[1]} pixels")
    for step, (row, column) in zip(steps, places[1:], strict=False):
        _picture(axes[row, column], step.kept, size, step.title)
        share = f"{step.aliasing_share[0].item():.1%} aliases"
        _spectrum(axes[row + 1, column], step.before, step.stride, share)
    if curves:
        row, column = places[-1]
        grid = axes[row, column].get_gridspec()
        _curves(figure.add_subplot(grid[row : row + 2, column]), image, steps)
    used = [axes[row + 1, column] for row, column in places[: 1 + len(steps)]]
    figure.colorbar(
        shades, ax=used, shrink=0.5 if blocks > 1 else 0.8, aspect=30,
        label="energy against the greatest (dB)",
    )  # fmt: skip
    if steps:
        kept = (
            "every pixel is kept"
            if steps[0].stride == 1
            else f"every {_ordinal(steps[0].stride)} pixel is kept; a dashed square: the new limit of "
            "Nyquist"
        )
        figure.suptitle(plain(title + (": " if title else "") + kept), fontsize=11)
    save(figure, path)


def _ordinal(number: int) -> str:
    words = {2: "second", 3: "third", 4: "fourth", 5: "fifth", 8: "eighth"}
    return words.get(number, f"{number}-th")


def _picture(axes: Axes, image: Tensor, size: tuple[int, int], title: str) -> None:
    """The kept pixels, as large as the original."""
    pixels = image[0].permute(1, 2, 0).clamp(0, 1).numpy()
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    axes.imshow(pixels, extent=(0, size[1], size[0], 0), interpolation="nearest")
    axes.set_title(title, fontsize=10)


def _spectrum(axes: Axes, maps: Tensor, stride: int | None, text: str) -> AxesImage:
    """The centred spectrum, and the square that a stride leaves."""
    shades = log_magnitude(energy_spectrum(maps), _FLOOR)[0].numpy()
    drawn = axes.imshow(
        shades, "magma", vmin=_FLOOR, vmax=0, extent=(-0.5, 0.5, 0.5, -0.5), aspect="equal"
    )
    axes.set_axis_on()
    axes.set(xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))
    axes.tick_params(labelsize=8)
    axes.set_xlabel("cycles/pixel", fontsize=8, labelpad=1)
    axes.set_title(text, fontsize=9)
    if stride is not None:
        limit = 1 / (2 * stride)
        square = Rectangle(
            (-limit, -limit), 2 * limit, 2 * limit,
            fill=False, edgecolor="#56b4e9", linestyle="--", linewidth=1.4,
        )  # fmt: skip
        axes.add_patch(square)
    return drawn


def _curves(axes: Axes, image: Tensor, steps: Sequence[Downsampled]) -> None:
    """Energy by distance from frequency 0, in dB below the original's greatest."""
    every = [("original", image), *((step.title, step.before) for step in steps)]
    for number, (name, maps) in enumerate(every):
        at, found = radial_average(energy_spectrum(maps))
        # Against the map's own greatest: a convolution of ones is as loud as you like. Without the
        # ring at 0, whose energy was removed.
        decibels = 10 * torch.log10((found[0] / found[0].max()).clamp(min=1e-12))[1:]
        own = "#bbbbbb" if number == 0 else readable(COLOURS[(number - 1) % 7], "#ffffff")
        axes.plot(
            at[1:], decibels, color=own, linewidth=4 if number == 0 else 1.4,
            linestyle="-" if number < 5 else "--", label=plain(name),
            marker=MARKERS[(number - 1) % len(MARKERS)] if number else "", markersize=4,
            markevery=(number, max(1, len(at) // 6)),
        )  # fmt: skip
    if steps:
        axes.axvline(1 / (2 * steps[0].stride), color="#444444", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 0.5), ylim=(-70, 3))
    axes.set_xlabel("frequency (cycles/pixel)", fontsize=8)
    axes.set_ylabel("mean energy, all directions (dB)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, loc="upper right", framealpha=0.85)
