"""`shiftable sweep`."""

from pathlib import Path
from typing import Any, Literal

import click
from tqdm import tqdm

from shiftable import arguments, images, models, sweep, table
from shiftable.allocator import tune_allocator
from shiftable.arguments import Fill, ImageSize
from shiftable.cli.options import IMAGES_HELP, network_options, refuse_device
from shiftable.distributed import Ranks, ranks
from shiftable.engine import MEMORY_FORMATS, PRECISIONS, MemoryFormat, Precision
from shiftable.models import Network
from shiftable.plan import Plan
from shiftable.run import Job, run
from shiftable.sampled import METRICS as SAMPLED
from shiftable.sampled import sampled
from shiftable.sweep import Sweep


@click.command("sweep")
@network_options
@click.option(
    "--images",
    "sources",
    required=True,
    multiple=True,
    help=IMAGES_HELP,
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
    help="The run directory: a new one, or this very run's, to go on with it.",
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
    help="Of the shift protocol; constant by default.",
)
@click.option(
    "--fill",
    type=arguments.fill,
    metavar="COLOUR",
    help="Of embed and a constant border: black (by default), grey, white, mean (what the network sees as 0), or numbers 0..255; for embed also inpaint.",
)
@click.option(
    "--interpolation",
    type=click.Choice(sweep.INTERPOLATIONS),
    help="Of shifts between pixels; linear by default, fourier for circular only.",
)
@click.option(
    "--batch",
    type=arguments.batch,
    metavar="NUMBER",
    default="auto",
    show_default=True,
    help="Windows in a forward pass.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="auto is the network's own; lower ones change some answers, and the run says how many.",
)
@click.option(
    "--memory-format",
    type=click.Choice(MEMORY_FORMATS),
    default="auto",
    show_default=True,
    help="Of the windows and weights.",
)
@click.option("--compile", "compiled", is_flag=True, help="Put the network through torch.compile.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Of torch on the CPU, in each rank; by default as many as torch has.",
)
@click.option(
    "--part-images",
    type=click.IntRange(1),
    help="Images of a part of the stored table, which is what a killed run may lose.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Decode every image first, so that a damaged one is found at once; else headers are read.",
)
@click.option(
    "--until-width",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="W",
    help="Instead of every shift: draw at random until --metric's value on these images and shifts is known to +- W/2.",
)
@click.option(
    "--metric",
    type=click.Choice(SAMPLED),
    help="What --until-width is for; top1_change by default.",
)
@click.option("--seed", type=int, help="Of the order that --until-width draws in; 0 by default.")
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
    image_size: ImageSize | None,
    border: Any,
    fill: Fill | None,
    interpolation: Any,
    size: Any,
    mean: Any,
    std: Any,
    weights: Path | None,
    batch: int | Literal["auto"],
    precision: Precision,
    memory_format: MemoryFormat,
    compiled: bool,
    device: str,
    threads: int | None,
    part_images: int | None,
    verify: bool,
    until_width: float | None,
    metric: str | None,
    seed: int | None,
    draw: bool,
    tuned: bool,
    quiet: bool,
) -> None:
    """Sweeps a network over photographs and stores the run.

    Stopped, also killed, it goes on when the same command is given again. Under torchrun, or with
    RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, several processes share the work.
    """
    if until_width is None and (metric is not None or seed is not None):
        raise ValueError("--metric and --seed are for --until-width, got none")
    if until_width is not None and (part_images is not None or verify):
        raise ValueError("--until-width stores no parts: leave --part-images and --verify out")
    if tuned:
        tune_allocator()
    how: dict[str, Any] = {
        "batch": batch,
        "precision": precision,
        "memory_format": memory_format,
        "compile": compiled,
        "device": device,
        "threads": threads,
    }

    def loaded() -> tuple[Network, list[Job]]:
        refuse_device(device)
        network = models.load(model, size=size, mean=mean, std=std, weights=weights)
        return network, _jobs(
            network, sources, labels, protocols, plan, image_size, border, fill, interpolation
        )

    with ranks() as own:  # first, so that a mistake on one of them is told to all
        network, jobs = own.each(loaded)
        if until_width is not None:
            _sample(network, jobs, out, until_width, metric or "top1_change", seed or 0, own, how)
            return
        bar = _Bars(own, quiet)
        done = run(
            network,
            jobs,
            out,
            part_images=part_images,
            verify=verify,
            sources=images.described(sources, labels),
            ranks=own,
            started=bar.start,
            progress=bar.update,
            **how,
        )
        bar.close()
        if own.first:
            if draw:
                _draw(jobs, out, network)
            click.echo(table.text(done))
            click.echo(f"stored in {out}")


def _jobs(
    network: Network,
    sources: tuple[str, ...],
    labels: str | None,
    protocols: tuple[sweep.Protocol, ...],
    plan: Plan,
    image_size: ImageSize | None,
    border: Any,
    fill: Fill | None,
    interpolation: Any,
) -> list[Job]:
    """One sweep a protocol; a border, and a fill, are for those of them that have one."""
    shown = network.mean_colour if fill == "mean" else fill
    if border is not None and "shift" not in protocols:
        raise ValueError(f"--border is of the shift protocol, got {', '.join(protocols)}")
    coloured = [
        protocol
        for protocol in protocols
        if protocol == "embed" or (protocol == "shift" and border in (None, "constant"))
    ]
    if fill is not None and not coloured:
        raise ValueError(f"--fill is of embed and of a constant border, got {', '.join(protocols)}")
    jobs = []
    for protocol in dict.fromkeys(protocols):
        fitted = image_size or images.size_for(protocol, network.size)
        photographs = images.load(
            sources, labels=labels, size=None if fitted == "original" else fitted
        )
        planned = Sweep(
            protocol,
            plan,
            network.size,
            border if protocol == "shift" else None,
            shown if protocol in coloured else None,
            interpolation,
        )
        jobs.append(Job(protocol, planned, photographs))
    return jobs


class _Bars:
    """A progress bar for each sweep, on the first rank, of what is done there."""

    def __init__(self, own: Ranks, quiet: bool) -> None:
        self._hidden = True if quiet or not own.first else None  # None: where stderr is no terminal
        self._ranks = own.count
        self._images = 0
        self._bar: Any = None

    def start(self, name: str, stored: int, here: int) -> None:
        """Begins a sweep; what is stored already counts as done."""
        self.close()
        self._images = 0
        done = stored if self._ranks == 1 else 0
        self._bar = tqdm(
            total=done + here,
            initial=done,
            desc=name if self._ranks == 1 else f"{name}, rank 0 of {self._ranks}",
            unit="shift",
            disable=self._hidden,
        )

    def update(self, windows: int, finished: int) -> None:
        """Goes on by some windows and images."""
        self._images += finished
        if finished and not self._bar.disable:
            seconds = max(1e-9, self._bar.format_dict["elapsed"])
            self._bar.set_postfix_str(f"{self._images / seconds:.2f} images/s", refresh=False)
        self._bar.update(windows)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _draw(jobs: list[Job], out: Path, network: Network) -> None:
    from shiftable import figures, store  # matplotlib takes a second to import

    stored = store.load(out)
    for job in jobs:
        figures.draw_sweep(stored.sweeps[job.name], out / f"{job.name}.png", network.classes)


def _sample(
    network: Network,
    jobs: list[Job],
    out: Path,
    width: float,
    metric: str,
    seed: int,
    own: Ranks,
    how: dict[str, Any],
) -> None:
    if own.count > 1:
        raise ValueError("--until-width draws in one order: run it in one process")
    for job in jobs:
        found = sampled(network, job, metric, width, out=out, seed=seed, **how)
        click.echo(str(found))
    click.echo(f"stored in {out}")
