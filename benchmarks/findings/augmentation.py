"""Networks trained with translations up to a range, measured inside of it and outside.

python -m benchmarks.findings.augmentation [--json PATH] [--figure PATH] [--page PATH] [--quick]

The claim (Azulay & Weiss, JMLR 2019, on data augmentation): a network learns to ignore translations
only for images that are very much like those it was trained on. One at a place where it was shown
none is not.

Small networks learn Fashion-MNIST's images (the Debian package `dataset-fashion-mnist`) on a black
canvas of twice their side, each time at a place drawn from a square around the middle: of no size
(never moved), of some pixels to every side, or of the whole canvas. Then images that they were
trained on, and others, go over the canvas pixel by pixel, along a row and along a diagonal.

A seed gives every range the same parameters, order of batches, and random numbers, out of which a
range makes its offsets. Three networks: `max-pool` and `max-blur` end in an average over all places,
so they can know a place only by their stride of 8 pixels and by the canvas's edge; `max-pool,
places kept` has a weight for every place of the last map instead.

Stopped, it goes on where it was when it is started with the same --json.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from shiftable.colours import COLOURS
from shiftable.figures.style import MARKERS, save

from benchmarks.findings import trained
from benchmarks.findings.augmentation_run import PARTS, QUICK, VARIANTS, Settings, run
from benchmarks.findings.augmentation_tables import (
    Found,
    bands_table,
    claims_table,
    lacking,
    other_table,
    split_table,
)
from benchmarks.findings.fashion_mnist import PACKAGE

# -- figure ----------------------------------------------------------------------------------------


def draw(found: Found, path: Path) -> None:
    """Consistency against the distance, a panel for each network on test and training images."""
    drawn = [variant for variant in VARIANTS if _ranges(found, variant)]
    figure = Figure(figsize=(13, 8.2), dpi=110, layout="constrained")
    panels = figure.subplots(len(PARTS), len(drawn), sharex=True, squeeze=False)
    for row, (which, title) in zip(panels, PARTS.items(), strict=True):
        for axes, variant in zip(row, drawn, strict=True):
            _panel(axes, found, variant, which)
        row[0].set_ylabel(f"consistency with the middle,\n{title} images, %", fontsize=16)
    for axes, variant in zip(panels[0], drawn, strict=True):
        axes.set_title(VARIANTS[variant].title, fontsize=17)
    label = "distance from the middle, max(|dy|, |dx|), pixels"
    panels[-1][len(drawn) // 2].set_xlabel(label, fontsize=16)
    figure.legend(
        handles=_legend(found), loc="outside lower center", ncols=3, frameon=False, fontsize=15
    )  # fmt: skip
    save(figure, path)


def _ranges(found: Found, variant: str) -> list[int]:
    return [farthest for farthest in found.settings.ranges if found.seeds(variant, farthest)]


def _style(found: Found, farthest: int) -> dict[str, Any]:
    number = found.settings.ranges.index(farthest)
    return {"color": COLOURS[number], "marker": MARKERS[number]}


def _legend(found: Found) -> list[Line2D]:
    titles = {0: "trained in the middle only", found.settings.reach: "trained on the whole canvas"}
    handles = [
        Line2D([], [], **_style(found, r), label=titles.get(r, f"trained up to {r} pixels"))
        for r in found.settings.ranges
    ]
    line = {"color": "black", "linewidth": 2.5}
    return [
        *handles, Line2D([], [], **line, label="shown in training"),
        Line2D([], [], **line, linestyle=(0, (2, 1.2)), label="never shown"),
    ]  # fmt: skip


def _panel(axes: Axes, found: Found, variant: str, which: str) -> None:
    for farthest in _ranges(found, variant):
        style = _style(found, farthest)
        values = [
            found.between(variant, farthest, which, (at, at), "consistency").values()
            if at
            else [1.0]
            for at in range(found.settings.reach + 1)
        ]
        middle = [100 * fmean(one) for one in values]
        low, high = ([100 * bound(one) for one in values] for bound in (min, max))
        places = range(len(values))
        axes.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(places[: farthest + 1], middle[: farthest + 1], linewidth=2.5, **style)
        axes.plot(
            places[farthest:], middle[farthest:], linewidth=2.5, linestyle=(0, (2, 1.2)),
            markersize=4, **style,
        )  # fmt: skip
        axes.plot(farthest, middle[farthest], markersize=12, markeredgecolor="black", **style)
    axes.set_ylim((55, 102) if VARIANTS[variant].averages else (0, 104))
    axes.set_xticks(range(0, found.settings.reach + 1, 2))
    axes.tick_params(labelsize=14)
    axes.grid(alpha=0.25)


# -- page ------------------------------------------------------------------------------------------


def minutes(found: Found, seeds: int) -> float:
    """Of one core, for so many seeds of all networks."""
    every = [one["cpu_seconds"] for own in found.results.values() for one in own.values()]
    each = fmean(sum(spent.values()) for spent in every)
    return each * seeds * len(VARIANTS) * len(found.settings.ranges) / 60


def page(found: Found, figure: str, seeds: int) -> str:
    """The page of docs."""
    settings = found.settings
    known = max(len(own) for own in found.results.values())
    widths = ", ".join(str(width) for width in settings.widths)
    between = ", ".join(str(r) for r in settings.ranges[:-1])
    lines = [
        "# Augmentation",
        "",
        "Azulay & Weiss (JMLR 2019) say why showing a network translated images does not make it shift-invariant: it learns",
        "to ignore translations only for images very much like those that it was trained on; and an image at a place where",
        "none was shown is unlike them. Does a network that was trained with translations up to a range keep its class",
        "inside of it, and change it outside?",
        "",
        "```sh",
        f"apt-get install {PACKAGE}",
        "python -m benchmarks.findings.augmentation --json benchmarks/results/findings/augmentation.json \\",
        "  --figure docs/augmentation.png --page docs/augmentation.md",
        "```",
        "",
        f"takes about {minutes(found, seeds):.0f} minutes of one core; stopped, it goes on when it is started again.",
        "",
        f"![Consistency against the distance from the middle]({figure})",
        "",
        "Lines are means over seeds, bands reach from the least to the greatest; the large marker is where the range ends.",
        "The axis of `places kept` reaches down to 0, the others' to 55 %.",
        "",
        "## Inside and outside",
        "",
        "Consistency with the middle: the share of offsets at which an image gets the class that it gets in the middle.",
        "",
        *split_table(found),
        "",
        f"Means over {known} {'seeds' if known > 1 else 'seed'} [the least, the greatest]. The difference is of the same images; its bounds hold the 95 %",
        "interval (bootstrapped over images) of every seed, and `yes` says that all of these lie below 0.",
        *lacking(found, seeds),
        "",
        "Outside is also farther away and nearer to the canvas's edge. So here are the same offsets for all ranges, on test",
        "images; *italic* where the network was not shown them:",
        "",
        *bands_table(found),
        "",
        "## As claimed?",
        "",
        "Differences of consistency, in points, between networks at the same offsets (a seed gives both the same parameters,",
        "batches and random numbers), and in the last column between images:",
        "",
        *claims_table(found),
        *FOUND,
        "",
        "## Accuracy, and steps of one pixel",
        "",
        "Test images. A step along the row or the diagonal counts where both its ends are inside, or outside:",
        "",
        *other_table(found),
        "",
        "## What was done",
        "",
        f"* Four convolutions 3x3 ({widths} channels), each with norm and ReLU; after the first three the map is halved, by a",
        "  max over 2 x 2 pixels, or by `MaxBlurPool2d(2, filter_size=3)`. `max-pool` and `max-blur` then average over all",
        "  places; `places kept` has a linear layer on all of the last map. Convolutions pad with zeros, where black is",
        "  less: the edge of the canvas can be seen.",
        f"* Images of 28 x 28 pixels on a black canvas of {settings.canvas} x {settings.canvas}, up to {between} pixels from its middle in both directions, or",
        f"  up to all of {settings.ranges[-1]}: each image at another place in each of {settings.epochs} epochs. {settings.training_images:,} images in batches of {settings.batch},",
        f"  SGD, one cycle of the learning rate up to {settings.learning_rate}.",
        f"* Measured by `shiftable.evaluate` under `embed` on the first {settings.shown_images} test images, and the first {settings.shown_images} that were trained on:",
        f"  every offset along the middle row, and along one diagonal, {4 * settings.reach + 1} in all. Distances are",
        "  max(|dy|, |dx|). Values at each place are in the JSON.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


# What the numbers of the page mean; to be read again when they change.
FOUND: tuple[str, ...] = (
    "",
    "**A network that keeps its places behaves as claimed.** `places kept` learns to ignore translations inside of the",
    "range, and beyond its end loses consistency pixel by pixel; trained up to 4 pixels, it is down to guessing at 12.",
    "",
    "**A network that averages over places does so only a little.** Outside is less consistent in every seed, and being",
    "shown those places would have helped in every seed, but by points where the other loses tens of them. Trained up to",
    "4 pixels, `max-pool` has 76 to 88 % (by seed) of the gain at the places farther out that training there gives;",
    "`max-blur`, which has less to gain, 41 to 54 %, `places kept` 28 to 30 %. A network that averages can know a place",
    "only by its stride and by the canvas's edge (`tests/test_augmentation.py` checks that). Up to 4 pixels to both sides",
    "are all 8 phases of the stride; in the middle only, `max-pool` was shown one, is least consistent between whole",
    "strides, and nearly as before at 8 pixels. What is left is the edge, and the last pixels before it lose most.",
    "",
    "**Augmentation does not replace the filter.** Shown the whole canvas, `max-pool` changes its class at more than twice",
    "as many steps of one pixel as `max-blur`; and up to 4 pixels it is less consistent than a `max-blur` that was never",
    "shown a translation, in every seed. Farther out that one needs them too. With both it is steadiest.",
    "",
    "**Training images** are no test of the claim's other half. They are about as consistent as test images, which are much",
    "like them; and each was shown but twice. Small networks, one data set, a black canvas: it may differ elsewhere.",
)


def main() -> None:
    """Trains, measures, prints, draws and writes the page."""
    parser = trained.options("Trains networks with translations up to a range.")
    given = parser.parse_args()
    settings = QUICK if given.quick else Settings()
    kept = trained.resumed(
        parser, given, settings, lambda done, keep: run(given.data, settings, given.seeds, done, keep)
    )  # fmt: skip
    found = Found(settings, kept["results"])
    print("\n".join(["", *split_table(found), "", *claims_table(found)]))
    if given.figure:
        draw(found, given.figure)
    if given.page and given.figure:
        given.page.write_text(page(found, given.figure.name, given.seeds))


if __name__ == "__main__":
    main()
