"""`shiftable strides` and `shiftable antialias`: what aliases in a network, and its mending."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
import torch
from torch import Tensor, nn
from tqdm import tqdm

from shiftable import filters, images, mended, models, sweep
from shiftable.allocator import tune_allocator
from shiftable.cli.options import IMAGES_HELP, network_options, refuse_device, some_images_options
from shiftable.convert import Report, antialias, strided_operations
from shiftable.convert.report import aligned, by_axis
from shiftable.mended import Mended
from shiftable.models import Network
from shiftable.nn.conv import ORDERS, Order
from shiftable.recover import Progress, recover
from shiftable.views import Recipe

_RECIPE = Recipe()
_EVERY = 10  # steps between checkpoints


@click.command("strides")
@network_options
@some_images_options
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def strides_command(
    model: str,
    size: Any,
    mean: Any,
    std: Any,
    weights: Path | None,
    sources: tuple[str, ...],
    count: int,
    as_json: bool,
) -> None:
    """Lists what lowers a network's resolution, and how much of it aliases.

    The last column is the share of energy of the map before the stride above the limit of Nyquist
    after it, mean over the images.
    """
    network = models.load(model, size=size, mean=mean, std=std, weights=weights)
    photographs = images.load(sources, size=network.size)
    chosen = [photographs[number] for number in range(min(count, len(photographs)))]
    found = strided_operations(_module(network), _shown(network, torch.stack(chosen)))
    if as_json:
        click.echo(json.dumps([asdict(operation) for operation in found], indent=1))
        return
    rows = [
        (
            operation.name or "(the network)",
            operation.kind,
            by_axis(operation.stride),
            f"{by_axis(operation.size)} -> {by_axis(operation.to)}",
            str(operation.channels),
            "yes" if operation.blurred else "no",
            "-" if operation.aliasing_share is None else f"{operation.aliasing_share:.1%}",
        )
        for operation in found
    ]
    head = ("operation", "kind", "stride", "map", "channels", "blurred", "aliases")
    click.echo("\n".join(aligned([head, *rows])))


@click.command("antialias")
@network_options
@click.option(
    "--filter-size",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Taps of the blurs for a stride of 2.",
)
@click.option(
    "--filter",
    type=click.Choice(filters.NAMES),
    default="binomial",
    show_default=True,
    help="Of the blurs.",
)
@click.option(
    "--border",
    type=click.Choice(sweep.BORDERS),
    default="reflect",
    show_default=True,
    help="Of the blurs.",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default="after",
    show_default=True,
    help="Blur behind a convolution's activation, or before the convolution.",
)
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only modules of these names; * and ? work."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No modules of these names.")
@click.option("--dry-run", is_flag=True, help="Report what would be changed, and write nothing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write, .pt: a --model of every command.",
)
@click.option("--images", "sources", multiple=True, help=f"To recover on. {IMAGES_HELP}")
@click.option(
    "--recover",
    "steps",
    type=click.IntRange(0),
    metavar="STEPS",
    help="Fine-tune to the outputs that the network had, on --images; 1000 steps are a start. 0 moves the statistics of batch norms alone.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=_RECIPE.learning_rate,
    show_default=True,
    help="Of the recovery, at its highest.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=_RECIPE.batch,
    show_default=True,
    help="Photographs in a step of the recovery, each in two views.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the recovery.")
@click.option(
    "--precision",
    type=click.Choice(("fp32", "bf16")),
    default="fp32",
    show_default=True,
    help="Of the recovery.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--threads", type=click.IntRange(1), help="Of torch on the CPU.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def antialias_command(
    model: str,
    size: Any,
    mean: Any,
    std: Any,
    weights: Path | None,
    filter_size: int,
    filter: filters.Name,
    border: Any,
    order: Order,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    out: Path | None,
    sources: tuple[str, ...],
    steps: int | None,
    learning_rate: float,
    batch: int,
    seed: int,
    precision: Literal["fp32", "bf16"],
    device: str,
    threads: int | None,
    quiet: bool,
) -> None:
    """Mends a network: a blur before everything that lowers its resolution.

    Prints what was changed, what was left and why, and the cost. Stopped while it recovers, it goes
    on when the same command is given again.
    """
    _refuse_unlike(out, dry_run, sources, steps)
    refuse_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    network = models.load(model, size=size, mean=mean, std=std, weights=weights)
    original = _module(network).to(device)
    example = _shown(network, torch.zeros((1, 3, *network.size), dtype=torch.uint8)).to(device)
    settings: dict[str, Any] = {
        "filter_size": filter_size,
        "filter": filter,
        "border": border,
        "order": order,
        "include": list(include) or None,
        "exclude": list(exclude),
    }
    teacher = copy.deepcopy(original) if steps is not None else None
    report = antialias(original, example, dry_run=dry_run, **settings)
    click.echo(str(report))
    if out is None:
        return
    if not report.changed:
        why = f": {len(report.already)} operations are blurred already" if report.already else ""
        raise ValueError(f"nothing was changed{why}, so nothing is written")
    recipe = None
    if steps is not None and teacher is not None:
        recipe = Recipe(steps=steps, learning_rate=learning_rate, batch=batch, seed=seed)
        _recover(network, report, teacher, sources, recipe, precision, out, quiet)
    mended.save(
        Mended(
            model, network.size, settings, original.state_dict(), mean, std,
            asdict(recipe) if recipe else {},
        ),
        out,
    )  # fmt: skip
    _checkpoint(out).unlink(missing_ok=True)
    click.echo(f"stored in {out}")


def _recover(
    network: Network,
    report: Report,
    teacher: nn.Module,
    sources: tuple[str, ...],
    recipe: Recipe,
    precision: Literal["fp32", "bf16"],
    out: Path,
    quiet: bool,
) -> None:
    tune_allocator()
    # Each in memory, at a size that parts of it can be cut from.
    room = max(network.size) * 10 // 7
    photographs = list(images.load(sources, size=(room, room)))
    with tqdm(total=recipe.steps, desc="recovery", disable=True if quiet else None) as bar:

        def told(progress: Progress) -> None:
            bar.set_postfix_str(
                f"distillation {progress.distillation:.3f}, consistency {progress.consistency:.4f}",
                refresh=False,
            )
            bar.update(progress.step - bar.n)

        done = recover(
            report.model, teacher, photographs, size=network.size, recipe=recipe,
            scale=network.scale, bias=network.bias, precision=precision,
            checkpoint=_checkpoint(out), every=_EVERY, progress=told,
        )  # fmt: skip
    if done:
        part = max(1, len(done) // 20)
        first, last = (sum(p.distillation for p in ps) / part for ps in (done[:part], done[-part:]))
        click.echo(f"recovered in {len(done)} steps: distillation {first:.3f} -> {last:.3f} nats")


def _checkpoint(out: Path) -> Path:
    return out.with_name(out.name + ".recovery")


def _refuse_unlike(
    out: Path | None, dry_run: bool, sources: tuple[str, ...], steps: int | None
) -> None:
    """Refuses options that do not go together, before anything is loaded."""
    if (out is None) != dry_run:
        raise ValueError("expected --out FILE, or --dry-run")
    if bool(sources) != (steps is not None):
        raise ValueError("--recover STEPS and --images go together, got one of them")
    if dry_run and steps is not None:
        raise ValueError("--dry-run changes nothing that could be recovered: leave --recover out")
    if out is not None and out.suffix not in (".pt", ".pth"):
        raise ValueError(f"expected --out with a name that ends in .pt or .pth, got {out}")
    if out is not None and out.exists():
        raise ValueError(f"{out} exists: give a new name, or take it away")


def _module(network: Network) -> nn.Module:
    if not isinstance(network.model, nn.Module):
        raise ValueError(f"expected a torch.nn.Module, got {type(network.model).__name__}")
    return network.model


def _shown(network: Network, pixels: Tensor) -> Tensor:
    """Pixels (B, 3, h, w) as the network wants them."""
    scale, bias = (torch.tensor(v).view(3, 1, 1) for v in (network.scale, network.bias))
    return pixels * scale + bias
