"""`shiftable figure`: pictures of stored runs."""

from pathlib import Path

import click

from shiftable import store
from shiftable.cli.options import refuse_file

_KINDS = ("distance", "image")


@click.command("figure")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The picture, a .png or .svg.",
)
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default="distance",
    show_default=True,
    help="distance: metrics against the shift's distance, of every sweep of every run. image: one photograph of one sweep.",
)
@click.option("--sweep", "names", multiple=True, help="Only this sweep; may be repeated.")
@click.option("--image", help="The photograph's name; by default the most unstable one.")
def figure_command(
    runs: tuple[Path, ...], out: Path, kind: str, names: tuple[str, ...], image: str | None
) -> None:
    """Draws stored runs, several networks in one figure."""
    from shiftable import figures  # matplotlib takes a second to import

    refuse_file(out, ".png", ".svg")
    shown = {
        (title, sweep.name): sweep
        for title, run in zip(store.titles(runs), map(store.load, runs), strict=True)
        for sweep in run.chosen(names)
    }
    if kind == "distance":
        if image is not None:
            raise ValueError("--image is for --kind image")
        alike = len({name for _, name in shown}) == 1
        series = {
            run if alike else f"{run}, {name}": s.outcomes() for (run, name), s in shown.items()
        }
        figures.distance_figure(series, out)
    else:
        if len(shown) != 1:
            raise ValueError(
                f"expected one sweep to draw a photograph of, got {len(shown)}; name it by --sweep"
            )
        figures.draw_image(next(iter(shown.values())), out, image=image)
    click.echo(f"drawn to {out}")
