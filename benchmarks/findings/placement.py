"""Where Fashion-MNIST has its objects, and what a network makes of them elsewhere.

python -m benchmarks.findings.placement [--json PATH] [--figure PATH] [--from JSON] [--quick]

The objects are what is brighter than 32 of 255 in the 60 000 training images (the Debian package
`dataset-fashion-mnist`). The same by the command line:

shiftable placement benchmarks.findings.placement:fashion_mnist --threshold 32

Then two networks, which differ in what they were trained on alone: each image in the middle of a
black canvas of 40 pixels, or anywhere on it. Both are swept over the canvas, and the answers split
by whether the garment is where the centred data have theirs.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shiftable import Sweep, figures, grid, images, placement
from shiftable.intervals import Estimate
from shiftable.models import Network
from shiftable.placement import Histograms, Joined, Placement, Range, Side
from shiftable.placement.report import ALL, split_lines
from shiftable.run import Job, run
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.findings.fashion_mnist import DEVIATION, MEAN, PLACE, Data, read
from benchmarks.findings.from_scratch import QUICK, VARIANTS, Settings, network, train
from benchmarks.speed.harness import machine

THRESHOLD = 32.0  # of 255: the grey fringe of a garment is left out
CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
ROOM = 6  # black pixels on each side of the 28
SIDE = 28 + 2 * ROOM
SEED = 0
TITLES = {"centred": "trained on centred images", "anywhere": "trained on images at random places"}


class FashionMnist:
    """Images (3, H, W), uint8, and their classes, by number."""

    classes = CLASSES

    def __init__(self, data: Data) -> None:
        self._data = data
        self.targets = data.labels

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self._data.images[number].expand(3, -1, -1), int(self.targets[number])


class Canvas(Data):
    """Images (N, 1, 28, 28) as they are shown in training: on a black canvas of 40 pixels."""

    @property
    def middle(self) -> Tensor:
        """(N, 1, 40, 40): each in the middle."""
        return F.pad(self.images, (ROOM,) * 4)

    def placed(self, chosen: Tensor, draw: torch.Generator) -> Tensor:
        """Some of them, each at a random place."""
        corners = torch.randint(2 * ROOM + 1, (len(chosen), 2), generator=draw).tolist()
        shown = self.images.new_zeros(len(chosen), 1, SIDE, SIDE)
        for canvas, image, (top, left) in zip(shown, self.images[chosen], corners, strict=True):
            canvas[:, top : top + 28, left : left + 28] = image
        return shown


def fashion_mnist() -> FashionMnist:
    """The training images: a source of images for the command line."""
    return FashionMnist(read(PLACE, "train"))


def fashion_mnist_test() -> FashionMnist:
    """The test images."""
    return FashionMnist(read(PLACE, "t10k"))


class Grey(nn.Module):
    """A network of one channel that is shown three equal ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        """Takes (B, 3, H, W)."""
        return self.inner(image[:, :1])  # type: ignore[no-any-return]


def split(settings: Settings, placed: bool, shifts: int) -> Joined:
    """Trains a network, sweeps it over the canvas, and splits the sweep."""
    training = read(PLACE, "train").first(settings.training_images)
    test = read(PLACE, "t10k").first(settings.shifted_images)
    model = network(VARIANTS["plain-zeros"], settings.widths, SEED)
    train(model, Canvas(training.images, training.labels), settings, SEED, placed)
    canvas = Data(F.pad(test.images, (ROOM,) * 4), test.labels)
    shown = images.from_dataset(FashionMnist(canvas))
    sweep = Sweep("shift", grid(shifts), (SIDE, SIDE))
    grey = Network(
        "grey", Grey(model).eval(), (SIDE, SIDE), (1 / DEVIATION,) * 3, (-MEAN / DEVIATION,) * 3
    )
    with tempfile.TemporaryDirectory() as folder:
        done = run(grey, [Job("shift", sweep, shown)], Path(folder) / "run")
        objects = placement.from_threshold(shown, THRESHOLD)
        return placement.joined(objects, done.sweeps["shift"])


def main() -> None:
    """Prints the tables, writes the JSON, and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--from", dest="stored", type=Path, help="JSON to draw again.")
    parser.add_argument("--quick", action="store_true", help="A look whether all of it runs.")
    given = parser.parse_args()
    if given.stored and given.figure:
        draw(json.loads(given.stored.read_text()), given.figure)
        return
    settings = replace(QUICK, training_images=512) if given.quick else Settings()
    shown = images.from_dataset(FashionMnist(read(PLACE, "train")))
    objects = placement.from_threshold(shown, THRESHOLD)
    found: dict[str, Placement] = {ALL: placement.describe(objects)}
    found |= {name: placement.describe(own) for name, own in objects.by_class().items()}
    counts = placement.histograms(objects)
    sweeps = {
        name: split(settings, name == "anywhere", 1 if given.quick else ROOM) for name in TITLES
    }
    print(placement.text(found, objects, sweeps["centred"]))
    print("\n".join(["", TITLES["anywhere"], *split_lines(sweeps["anywhere"])]))
    about = {
        "machine": machine(),
        "threshold": THRESHOLD,
        **placement.machine(found, objects, counts),
        "settings": {**asdict(settings), "room": ROOM, "seed": SEED},
        "sweeps": {name: asdict(one) for name, one in sweeps.items()},
    }
    del about["sweep"]  # there are two
    if given.json:
        given.json.write_text(json.dumps(about, indent=1) + "\n")
    if given.figure:
        draw(about, given.figure)


def draw(about: dict[str, Any], path: Path) -> None:
    """Draws what was measured: the data, and the network trained on centred images."""
    whole = {key: value for key, value in about["classes"][0].items() if key != "name"}
    counts, sweep = about["histograms"], about["sweeps"]["centred"]
    found = Placement(
        **{
            **whole,
            "centre": tuple(Range(**axis) for axis in whole["centre"]),
            "middle": Estimate(**whole["middle"]),
        }
    )
    sides = {
        side: Side(
            sweep[side]["windows"],
            *(Estimate(**sweep[side][metric]) for metric in ("consistency", "accuracy")),
        )
        for side in ("inside", "outside")
    }
    arrays = [np.array(counts[name], float) for name in ("centres", "sizes", "distances")]
    figures.placement_figure(
        found, Histograms(*arrays, counts["longest_distance"]), path,
        split=Joined(**{**sweep, **sides}), title="Fashion-MNIST, what is brighter than 32 of 255; "
        "a network trained on it centred",
    )  # fmt: skip


if __name__ == "__main__":
    main()
