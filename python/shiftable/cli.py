"""The command line: each subcommand parses, calls one function, and prints or saves."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from shiftable import arguments, images, metrics, models, store, sweep, table
from shiftable.allocator import tune_allocator
from shiftable.evaluate import evaluate
from shiftable.images import Photographs
from shiftable.models import Network
from shiftable.sweep import Plan, Sweep


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code. Bad input is one line and exit code 2.

    `SHIFTABLE_TRACEBACK=1` shows where an error came from.
    """
    try:
        shiftable.main(arguments, prog_name="shiftable", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("shiftable: stopped", err=True)
        return 130
    except Exception as error:  # a user's model may raise anything
        if os.environ.get("SHIFTABLE_TRACEBACK"):
            raise
        if isinstance(error, click.ClickException):
            message = f"{error.format_message()}; see --help"
        elif isinstance(error, ValueError | ImportError | OSError):
            message = str(error)
        else:
            message = f"{type(error).__name__}: {error}; SHIFTABLE_TRACEBACK=1 shows where"
        click.echo(f"shiftable: {' '.join(message.split())}", err=True)
        return 2
    return 0


_MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

# -- commands -----------------------------------------------------------------------------------


@click.group(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shiftable")
def shiftable() -> None:
    """Measures the shift-variance of vision networks."""


@shiftable.command("sweep")
@click.option(
    "--model",
    required=True,
    help="demo:NAME, timm:NAME, torchvision:NAME, a .pt2 or TorchScript file, or package.module:callable.",
)
@click.option(
    "--images",
    "sources",
    required=True,
    multiple=True,
    help="A folder or a file (may be repeated), or demo:photographs.",
)
@click.option(
    "--labels", help="A CSV file of name,class; 'folders'; or 'pattern:REGEX' on file names."
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    required=True,
    type=click.Choice(sweep.PROTOCOLS),
    help="May be repeated.",
)
@click.option(
    "--shifts",
    "plan",
    required=True,
    type=arguments.shifts,
    metavar="PLAN",
    help=f"{arguments.SHIFTS}.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The run directory; must not exist.",
)
@click.option(
    "--image-size",
    type=arguments.image_size,
    metavar="SIZE",
    help="Fit photographs to S or HxW pixels, or 'original'; by default by protocol: 256/224 of the input for crop, 3/4 for embed, else the input's size.",
)
@click.option(
    "--border",
    type=click.Choice(sweep.BORDERS),
    default="constant",
    show_default=True,
    help="Of the shift protocol.",
)
@click.option(
    "--fill",
    type=arguments.fill,
    metavar="COLOUR",
    default="black",
    show_default=True,
    help="Of embed and a constant border: black, grey, white, mean (what the network sees as 0), or numbers 0..255.",
)
@click.option(
    "--size",
    type=arguments.size,
    metavar="SIZE",
    help="Input size of the network, S or HxW pixels.",
)
@click.option(
    "--mean", type=arguments.numbers, metavar="NUMBERS", help="By channel, in units of 0..1."
)
@click.option(
    "--std", type=arguments.numbers, metavar="NUMBERS", help="By channel, in units of 0..1."
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A state dict for a timm: or torchvision: model.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Windows in a forward pass.",
)
@click.option(
    "--memory-format",
    type=click.Choice(tuple(_MEMORY_FORMATS)),
    default="channels_last",
    show_default=True,
    help="Of the windows and weights; contiguous for networks that call view().",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--figures/--no-figures",
    "draw",
    default=True,
    help="Draw the most unstable photograph of each sweep.",
)
@click.option(
    "--tune-allocator/--no-tune-allocator",
    "tuned",
    default=True,
    help="Keep large blocks of memory in the process: faster on a CPU, at the price of memory.",
)
@click.option(
    "--quiet",
    is_flag=True,
    help="No progress bar (there is none either where stderr is no terminal).",
)
def sweep_command(
    model: str,
    sources: tuple[str, ...],
    labels: str | None,
    protocols: tuple[sweep.Protocol, ...],
    plan: Plan,
    out: Path,
    image_size: Any,
    border: Any,
    fill: Any,
    size: Any,
    mean: Any,
    std: Any,
    weights: Path | None,
    batch: int,
    memory_format: str,
    device: str,
    draw: bool,
    tuned: bool,
    quiet: bool,
) -> None:
    """Sweeps a network over photographs and stores the run."""
    if tuned:
        tune_allocator()
    store.refuse_existing(out)  # before any work
    place = _device(device)
    layout = _MEMORY_FORMATS[memory_format]
    network = models.load(
        model, size=size, mean=mean, std=std, weights=weights, memory_format=layout
    )
    if isinstance(network.model, torch.nn.Module):
        network.model.to(place)
    colour = network.mean_colour if fill == "mean" else fill
    jobs = []
    for protocol in dict.fromkeys(protocols):
        fitted = image_size or images.size_for(protocol, network.size)
        photographs = images.load(
            sources, labels=labels, size=None if fitted == "original" else fitted
        )
        jobs.append((Sweep(protocol, plan, network.size, border, colour), photographs))
    shown = [_check(job, photographs, network) for job, photographs in jobs]
    with store.creating(out, _manifest(network, str(place), batch, memory_format)):
        _run(jobs, shown, network, place, batch, layout, out, draw, quiet)
    click.echo(table.text(store.load(out)))
    click.echo(f"stored in {out}")


def _run(
    jobs: Sequence[tuple[Sweep, Photographs]],
    shown: Sequence[Mapping[str, Any]],
    network: Network,
    place: torch.device,
    batch: int,
    layout: torch.memory_format,
    out: Path,
    draw: bool,
    quiet: bool,
) -> None:
    for (job, photographs), images_shown in zip(jobs, shown, strict=True):
        total = len(photographs) * len(job.plan)
        with tqdm(total=total, desc=job.protocol, unit="window", disable=quiet or None) as bar:
            outcome = evaluate(
                network.model,
                photographs,
                job,
                photographs.labels,
                names=photographs.names,
                scale=network.scale,
                bias=network.bias,
                batch=batch,
                memory_format=layout,
                device=place,
                progress=bar.update,
            )
        store.add(out, job.protocol, outcome, images=images_shown)
        if draw and job.plan.kind == "listed":
            from shiftable import figures  # matplotlib takes a second to import

            figures.shift_figure(outcome, out / f"{job.protocol}.png", classes=network.classes)


@shiftable.command("metrics")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Every metric, not only the headline ones.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="All of them, for machines, with worst case by radius and values by image.",
)
def metrics_command(run: Path, everything: bool, as_json: bool) -> None:
    """Prints the metrics of a stored run."""
    stored = store.load(run)
    if as_json:
        click.echo(json.dumps(table.machine(stored), indent=1))
    else:
        click.echo(table.text(stored, tuple(metrics.METRICS) if everything else metrics.HEADLINE))


# -- what they need -----------------------------------------------------------------------------


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot run on '{name}': {reason}") from error
    return device


def _check(job: Sweep, photographs: Photographs, network: Network) -> dict[str, Any]:
    """Reads every photograph and takes one window of it, so that nothing fails hours later.

    Returns what was shown, for the manifest: the fitted size and a hash of all pixels.
    """
    pixels = hashlib.sha256()
    for number, image in enumerate(photographs):
        corners = job.corners((image.shape[1], image.shape[2]), number)
        job.windows(image, corners[:1], scale=network.scale, bias=network.bias)
        pixels.update(f"{tuple(image.shape)}".encode())
        pixels.update(image.contiguous().numpy().tobytes())
    return {"count": len(photographs), "size": photographs.size, "sha256": pixels.hexdigest()}


def _manifest(network: Network, device: str, batch: int, memory_format: str) -> dict[str, Any]:
    return {
        "model": {
            "name": network.name,
            "weights": network.weights,
            "size": network.size,
            "scale": network.scale,
            "bias": network.bias,
        },
        "batch": batch,
        "memory_format": memory_format,
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {
            "shiftable": version("shiftable"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": version("pillow"),
            "python": platform.python_version(),
        },
    }
