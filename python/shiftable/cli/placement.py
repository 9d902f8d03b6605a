"""`shiftable placement`: where a data set has its objects, and what a network does elsewhere."""

import json
from pathlib import Path

import click

from shiftable import images, placement, store
from shiftable.cli.options import refuse_file
from shiftable.placement import Joined, Objects
from shiftable.placement.report import ALL
from shiftable.store import StoredSweep

_FILE = click.Path(path_type=Path)


@click.command("placement")
@click.argument("annotations", metavar="ANNOTATIONS")
@click.option(
    "--threshold",
    type=float,
    metavar="VALUE",
    help="ANNOTATIONS are images: what is brighter is the object. 0..255 for files.",
)
@click.option(
    "--masks",
    type=_FILE,
    metavar="FOLDER",
    help="ANNOTATIONS are image files: the objects are what is not 0 in the masks of these names.",
)
@click.option(
    "--labels", help="Of images: a CSV file of name,class, folders, or pattern:REGEX on file names."
)
@click.option(
    "--keypoints", metavar="LEFT,RIGHT", help="Also the distance between these two, by their names."
)
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only this class; may be repeated.")  # fmt: skip
@click.option(
    "--skip-invalid", is_flag=True, help="Skip and count annotations that are not as they ought."
)
@click.option(
    "--cover",
    type=click.FloatRange(0, 1, min_open=True),
    default=placement.COVER,
    show_default=True,
    help="Share of the objects in the ranges.",
)
@click.option(
    "--run", type=_FILE, help="A stored run: what its network does inside and outside the range."
)
@click.option("--sweep", "name", help="Of the run, where it has several.")
@click.option("--json", "as_json", is_flag=True, help="For machines, with the figure's numbers.")
@click.option(
    "--out", "--figure", "figure", type=_FILE, metavar="PATH", help="A picture, a .png or .svg."
)
def placement_command(
    annotations: str,
    threshold: float | None,
    masks: Path | None,
    labels: str | None,
    keypoints: str | None,
    classes: tuple[str, ...],
    skip_invalid: bool,
    cover: float,
    run: Path | None,
    name: str | None,
    as_json: bool,
    figure: Path | None,
) -> None:
    """Tells where the objects of a data set are, how large, and how far that is from uniform.

    ANNOTATIONS is a COCO file (.json); or images (a folder, an image, a .txt list, a .tar shard or
    package.module:dataset) with --threshold or --masks.
    """
    refuse_file(figure, ".png", ".svg")
    if name is not None and run is None:
        raise ValueError("--sweep is of a --run")
    stored = None if run is None else _sweep(run, name)
    if annotations.endswith(".json"):
        if threshold is not None or masks is not None or labels is not None:
            raise ValueError(f"--threshold, --masks and --labels are for images, got {annotations}")
        pair = None if keypoints is None else _pair(keypoints)
        objects = placement.from_coco(annotations, keypoints=pair, skip_invalid=skip_invalid)
    else:
        if keypoints is not None or skip_invalid:
            raise ValueError(f"--keypoints and --skip-invalid are for .json, got {annotations}")
        objects = _from_images(annotations, threshold, masks, labels)
    objects = objects.of(classes) if classes else objects
    if not len(objects):
        raise ValueError(f"no objects in {objects.source}")
    split = None if stored is None else placement.joined(objects, stored, cover)
    _show(objects, split, cover, as_json, figure)


def _show(
    objects: Objects, split: Joined | None, cover: float, as_json: bool, figure: Path | None
) -> None:
    by_class = objects.by_class()
    whole = placement.describe(objects, cover)
    found = {ALL: whole}
    if len(by_class) > 1 or ALL in by_class:
        found |= {
            f"class {ALL}" if name == ALL else name: placement.describe(own, cover)
            for name, own in by_class.items()
        }
    else:
        found = {next(iter(by_class)): whole}
    counts = placement.histograms(objects)
    if figure is not None:
        from shiftable import figures  # matplotlib takes a second to import

        figures.placement_figure(whole, counts, figure, pair=objects.pair, split=split, cover=cover)
    if as_json:
        click.echo(json.dumps(placement.machine(found, objects, counts, split, cover)))
        return
    click.echo(placement.text(found, objects, split, cover))
    if figure is not None:
        click.echo(f"drawn to {figure}")


def _from_images(
    source: str, threshold: float | None, masks: Path | None, labels: str | None
) -> Objects:
    if (threshold is None) == (masks is None):
        raise ValueError(
            f"expected a COCO file (.json), or images with either --threshold or --masks, got "
            f"{source} with {'neither' if masks is None else 'both'}"
        )
    photographs = images.load(source, labels=labels)
    if masks is not None:
        return placement.from_masks(photographs, masks)
    return placement.from_threshold(photographs, threshold or 0.0)


def _pair(text: str) -> tuple[str, str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(f"expected two names of keypoints with a comma between, got '{text}'")
    return names[0], names[1]


def _sweep(run: Path, name: str | None) -> StoredSweep:
    sweeps = store.load(run).sweeps
    if name is None and len(sweeps) == 1:
        return next(iter(sweeps.values()))
    if name not in sweeps:
        what = "name one by --sweep" if name is None else f"no sweep '{name}'"
        raise ValueError(f"{what}: {run} has {', '.join(sweeps)}")
    return sweeps[name]
