"""`shiftable report`: one page of stored runs."""

from pathlib import Path

import click

from shiftable import report
from shiftable.cli.options import IMAGES_HELP, refuse_file


def _count(_context: click.Context, _parameter: click.Parameter, given: str) -> int | None:
    """A whole number of photographs, or None for all."""
    if given == "all":
        return None
    if not given.isdecimal():
        raise click.BadParameter(f"expected a whole number >= 0 or 'all', got '{given}'")
    return int(given)


@click.command("report")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page, a .html; one that is there is replaced.",
)
@click.option(
    "--images",
    "sources",
    multiple=True,
    help=f"Where the photographs are, if no longer where the run says: {IMAGES_HELP[0].lower()}{IMAGES_HELP[1:]}",
)
@click.option(
    "--classes",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Names of the classes: one a line, or a .json list, or object by number.",
)
@click.option(
    "--photographs",
    default="12",
    callback=_count,
    show_default=True,
    metavar="NUMBER",
    help="How many to show, the most unstable ones; or all.",
)
@click.option("--sweep", "names", multiple=True, help="Only this sweep; may be repeated.")
@click.option("--title", help="Of the page; by default the runs' names.")
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Whether the photographs become part of the page.",
)
def report_command(
    runs: tuple[Path, ...],
    out: Path,
    sources: tuple[str, ...],
    classes: Path | None,
    photographs: int | None,
    names: tuple[str, ...],
    title: str | None,
    pictures: bool,
) -> None:
    """Writes stored runs as one HTML page that fetches nothing: tables, curves and photographs.

    Pointing at a shift of a photograph shows what the network saw there, and what it answered.
    """
    refuse_file(out, ".html")
    if sources and not pictures:
        raise ValueError("--images is for pictures, got --no-pictures")
    notes = report.write_report(
        runs,
        out,
        images=sources,
        classes=None if classes is None else report.read_classes(classes),
        photographs=photographs,
        sweeps=names,
        title=title,
        pictures=pictures,
    )
    for note in notes:
        click.echo(note, err=True)
    click.echo(f"written to {out}")
