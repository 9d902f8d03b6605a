"""`shiftable metrics` and `shiftable compare`: what stored runs say."""

import json
from pathlib import Path

import click

from shiftable import store, table
from shiftable.metrics import METRICS

_RUN = click.Path(path_type=Path)


@click.command("metrics")
@click.argument("run", type=_RUN)
@click.option("--all", "everything", is_flag=True, help="Every metric, not only the headline ones.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="All of them, for machines, with values by distance and by image.",
)
def metrics_command(run: Path, everything: bool, as_json: bool) -> None:
    """Prints the metrics of a stored run."""
    stored = store.load(run)
    if as_json:
        click.echo(json.dumps(table.machine(stored), indent=1))
    else:
        click.echo(table.text(stored, tuple(METRICS) if everything else None))


@click.command("compare")
@click.argument("run", type=_RUN)
@click.argument("other", type=_RUN)
@click.option("--all", "everything", is_flag=True, help="Every metric, not only the headline ones.")
@click.option("--json", "as_json", is_flag=True, help="All of them, for machines, with ratios.")
def compare_command(run: Path, other: Path, everything: bool, as_json: bool) -> None:
    """Compares two networks on the shifts and images that their runs share.

    The difference is RUN minus OTHER, with its interval: both are resampled together, image by
    image.
    """
    first, second = store.load(run), store.load(other)
    if as_json:
        click.echo(json.dumps(table.machine_comparison(first, second), indent=1))
    else:
        click.echo(table.comparison(first, second, tuple(METRICS) if everything else None))
