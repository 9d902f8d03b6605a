"""`shiftable layers`: what each layer of a network does to a shift."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn
from tqdm import tqdm

from shiftable import images, intervals, layers, models
from shiftable.allocator import tune_allocator
from shiftable.cli.options import (
    preprocessing_options,
    refuse_device,
    refuse_file,
    some_images_options,
)
from shiftable.convert.report import aligned, by_axis
from shiftable.intervals import Estimate
from shiftable.layers import Explained
from shiftable.models import Network
from shiftable.table import cell, plain

_NOTE = (
    "[relative errors: 0 is a layer that moves along with its input. borders: shifts on the layer's "
    "grid, the network's own padding. aliasing: shifts between, circular padding. both: between, own "
    "padding. {images}]"
)


@click.command("layers")
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@some_images_options
@click.option(
    "--phases",
    type=click.IntRange(2),
    default=4,
    show_default=True,
    help="Shifts between pixels of a layer's map: of 1/PHASES of one, 2/PHASES, ...",
)
@click.option("--lie", is_flag=True, help="Also each layer's part of the Lie derivative; slow.")
@click.option(
    "--probes",
    type=click.IntRange(1),
    help="Random probes an image for --lie; 32 by default.",
)
@click.option(
    "--every",
    is_flag=True,
    help="Every layer; by default those that lower resolution, and the last.",
)
@preprocessing_options
@click.option(
    "--out",
    "--figure",
    "out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A picture, a .png or .svg: all networks against depth.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--json", "as_json", is_flag=True, help="For machines, with every layer.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def layers_command(
    names: tuple[str, ...],
    sources: tuple[str, ...],
    count: int,
    phases: int,
    lie: bool,
    probes: int | None,
    every: bool,
    size: Any,
    mean: Any,
    std: Any,
    out: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measures what each layer of networks does to a shift, by aliasing and by borders.

    MODEL is demo:NAME, timm:NAME, torchvision:NAME, a file that antialias wrote, or
    package.module:callable.
    """
    refuse_file(out, ".png", ".svg")
    if probes is not None and not lie:
        raise ValueError("--probes are for --lie, which was not given")
    if len(set(names)) != len(names):
        raise ValueError(f"expected distinct networks, got {', '.join(names)}")
    refuse_device(device)
    tune_allocator()
    found: dict[str, Explained] = {}
    shown = 0
    for name in names:
        network = models.load(name, size=size, mean=mean, std=std)
        if not isinstance(network.model, nn.Module):
            raise ValueError(f"{name}: expected a torch.nn.Module, got a function")
        if isinstance(network.model, torch.jit.ScriptModule | torch.fx.GraphModule):
            raise ValueError(
                f"{name}: a compiled graph has no layers to look at; give the network that it was "
                "made of: package.module:callable, or a file that antialias wrote"
            )
        network.model.to(device)
        try:
            asked = (probes or 32) if lie else None
            found[name], shown = _explained(network, sources, count, phases, asked, quiet)
        except ValueError as error:
            reason = str(error).partition("; give one that suits it")[0]
            raise ValueError(f"{name}: {reason}") from error
        if not as_json:  # at once: another network may fail
            click.echo("\n".join([name, *_table(found[name], every), ""]))
    if out is not None:
        from shiftable.figures.depth import depth_figure  # matplotlib takes a second to import

        depth_figure(found, out)
    if as_json:
        every_one = [_machine(name, one, shown) for name, one in found.items()]
        click.echo(json.dumps(every_one, indent=1, allow_nan=False))
        return
    told = f"Means over {shown} images, with 95 % intervals" if shown > 1 else "One image"
    click.echo(_NOTE.format(images=told))
    if out is not None:
        click.echo(f"drawn to {out}")


def _explained(
    network: Network,
    sources: tuple[str, ...],
    count: int,
    phases: int,
    probes: int | None,
    quiet: bool,
) -> tuple[Explained, int]:
    assert isinstance(network.model, nn.Module)
    height, width = network.size
    code = any(map(images.is_code, sources))
    # Tensors of a dataset are not resized: they have to be large enough.
    given = images.load(sources, size=None) if code else None
    channels = 3 if given is None else int(given[0].shape[0])
    # So much more than the window, that it can slide by the largest stride.
    more = layers.total_stride(network.model, network.size, channels)
    fitted = height + more[0], width + more[1]
    photographs = given if given is not None else images.load(sources, size=fitted)
    chosen = [photographs[number] for number in range(min(count, len(photographs)))]
    hidden = True if quiet else None
    with tqdm(
        total=(2 + (probes is not None)) * len(chosen),
        desc=network.name,
        unit="image",
        disable=hidden,
    ) as bar:
        found = layers.explain(
            network.model, chosen, network.size, phases=phases, probes=probes,
            scale=network.scale[:channels], bias=network.bias[:channels], progress=bar.update,
        )  # fmt: skip
    return found, len(chosen)


def _machine(name: str, one: Explained, shown: int) -> dict[str, Any]:
    lie = one.lie
    return {
        "network": name,
        "images": shown,
        "layers": layers.rows(one),
        "operations": [asdict(operation) for operation in one.operations],
        "lie": None
        if lie is None
        else {
            "whole": plain(intervals.mean(lie.whole)),
            "between_modules": plain(intervals.mean(lie.rest)),
        },
    }


def _table(one: Explained, every: bool) -> list[str]:
    listed = layers.rows(one)
    kept = [
        row
        for layer, row in zip(one.own, listed, strict=True)
        if every or layer.lowers or layer is one.own[-1]
    ]
    head = ("layer", "kind", "depth", "stride", "aliases", "borders", "aliasing", "both")
    shown = [
        (
            row["name"] + (f", call {row['call'] + 1}" if row["call"] else ""),
            row["kind"],
            str(row["depth"]),
            by_axis(row["stride"]),
            "-" if row["aliasing_share"] is None else f"{row['aliasing_share']:.1%}",
            *(_cell(row[what]) for what in ("borders", "aliasing", "both")),
            *([] if one.lie is None else [_cell(row["lie"])]),
        )
        for row in kept
    ]
    shown += [
        (
            f"in {operation.name or 'the network'}",
            operation.kind,
            "-",
            "x" + by_axis(operation.stride),
            "-" if operation.aliasing_share is None else f"{operation.aliasing_share:.1%}",
            *["-"] * (3 + (one.lie is not None)),
        )
        for operation in layers.elsewhere(one)
    ]
    table = aligned([head + (() if one.lie is None else ("Lie derivative",)), *shown])
    if one.left_out:
        table.append(
            f"[calls of modules left out: {one.left_out}, whose maps are no (N, C, H, W), or of no "
            "whole stride]"
        )
    return table


def _cell(found: dict[str, Any] | None) -> str:
    return "-" if found is None else cell(Estimate(**found), share=False)
