"""`shiftable spectrum`: what steps that lower resolution do to images."""

import json
from pathlib import Path

import click

from shiftable import arguments, images, spectrum
from shiftable.arguments import ImageSize
from shiftable.convert.report import aligned
from shiftable.intervals import mean
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
    if out is not None and out.suffix not in (".png", ".svg"):
        raise ValueError(f"expected --out with a name that ends in .png or .svg, got {out}")
    if six_panels and (names or out is None):
        raise ValueError("--six-panels is a figure of its own: give --out, and no --step")
    photographs = images.load(sources, size=None if size == "original" else size)
    chosen = _SIX if six_panels else tuple(dict.fromkeys(names)) or spectrum.NAMES
    shares: dict[str, list[float]] = {}
    titles: dict[str, str] = {}
    for number, pixels in enumerate(photographs):
        image = pixels[None].float() / 255
        steps = [spectrum.downsampled(image, name, stride) for name in chosen]
        for step in steps:
            shares.setdefault(step.name, []).append(step.aliasing_share.item())
            titles[step.name] = step.title
        if number == 0 and out is not None:
            from shiftable.figures.spectrum import spectrum_figure  # matplotlib takes a second

            name = photographs.names[0]
            spectrum_figure(image, steps, out, title=name, curves=not six_panels)
    found = {name: mean(values) for name, values in shares.items()}
    if as_json:
        steps_found = [
            {
                "step": name,
                "title": titles[name],
                "aliasing_share": plain(found[name]),
                "by_image": dict(zip(photographs.names, shares[name], strict=True)),
            }
            for name in found
        ]
        click.echo(json.dumps({"stride": stride, "steps": steps_found}, indent=1))
        return
    rows = [(name, titles[name], cell(each, share=True)) for name, each in found.items()]
    click.echo("\n".join(aligned([("step", "", f"aliases at stride {stride}"), *rows])))
    click.echo(
        f"[means over {len(photographs)} image{'s' * (len(photographs) > 1)}, with 95 % intervals where there are several]"
    )
    if out is not None:
        click.echo(f"drawn to {out}")
