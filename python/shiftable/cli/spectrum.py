"""`shiftable spectrum`: what steps that lower resolution do to images."""

import json
from pathlib import Path

import click
from torch import Tensor

from shiftable import arguments, images, spectrum
from shiftable.arguments import ImageSize
from shiftable.cli.options import refuse_file
from shiftable.convert.report import aligned
from shiftable.intervals import mean
from shiftable.spectrum import Downsampled
from shiftable.table import cell, plain

_SIX = ("max", "convolution")  # with the original: the source's figure


@click.command("spectrum")
@click.argument("sources", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--step",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"Only this one, may be repeated: {', '.join(spectrum.NAMES)}, or blur-N for any number of taps.",
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Pixels between what is kept.",
)
@click.option(
    "--size",
    type=arguments.image_size,
    default="256",
    metavar="SIZE",
    show_default=True,
    help="Fit images to S or HxW pixels, or 'original'.",
)
@click.option(
    "--six-panels",
    is_flag=True,
    help="The figure of Azulay & Weiss: the original, max-pool and convolution, each over its spectrum.",
)
@click.option(
    "--out",
    "--figure",
    "out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The picture, a .png or .svg, of the first image.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines, with every image's own.")
def spectrum_command(
    sources: tuple[str, ...],
    names: tuple[str, ...],
    stride: int,
    size: ImageSize,
    six_panels: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Shows what steps that lower resolution do to images: what they keep, and what aliases.

    The table has the share of each image's spectral energy that is above the limit of Nyquist when
    the step keeps every STRIDE-th pixel, mean over the images.
    """
    refuse_file(out, ".png", ".svg")
    if six_panels and (names or out is None):
        raise ValueError("--six-panels is a figure of its own: give --out, and no --step")
    photographs = images.load(sources, size=None if size == "original" else size)
    chosen = _SIX if six_panels else tuple(dict.fromkeys(names)) or spectrum.NAMES
    shares: dict[str, list[float]] = {}
    first: list[Downsampled] = []
    for pixels in photographs:
        image = _shown(pixels)
        steps = [spectrum.downsampled(image, name, stride) for name in chosen]
        for step in steps:
            shares.setdefault(step.name, []).append(step.aliasing_share.item())
        first = first or steps
    image = _shown(photographs[0])
    if out is not None:
        from shiftable.figures.spectrum import spectrum_figure  # matplotlib takes a second

        spectrum_figure(image, first, out, title=photographs.names[0], curves=not six_panels)
    found = [(step, mean(shares[step.name])) for step in first]
    if as_json:
        about = {"stride": stride, "drawn": photographs.names[0], "original": _curve(image)}
        listed = [
            {
                "step": step.name,
                "title": step.title,
                "aliasing_share": plain(share),
                "by_image": dict(zip(photographs.names, shares[step.name], strict=True)),
                "curve": _curve(step.before),
            }
            for step, share in found
        ]
        click.echo(json.dumps({**about, "steps": listed}, indent=1))
        return
    rows = [(step.name, step.title, cell(each, share=True)) for step, each in found]
    click.echo("\n".join(aligned([("step", "", f"aliases at stride {stride}"), *rows])))
    told = f"means over {len(photographs)} images, with 95 % intervals over images"
    click.echo(f"[{told if len(photographs) > 1 else 'of one image'}]")
    if out is not None:
        click.echo(f"drawn to {out}")


def _shown(pixels: Tensor) -> Tensor:
    """An image (1, C, H, W) from 0 to 1; floating ones may be so already."""
    image = pixels[None].float()
    return image if pixels.is_floating_point() and float(image.max()) <= 1 else image / 255


def _curve(maps: Tensor) -> dict[str, list[float]]:
    """What the figure draws of the first image: cycles/pixel, and dB below the greatest."""
    at, energy = spectrum.radial_average(spectrum.energy_spectrum(maps))
    return {"frequency": at.tolist(), "decibels": spectrum.log_magnitude(energy)[0].tolist()}
