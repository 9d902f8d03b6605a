"""Where Fashion-MNIST has its objects, and how far that is from uniform.

python -m benchmarks.findings.placement [--json PATH] [--figure PATH] [--page PATH]

The objects are what is brighter than 32 of 255, in the 60 000 training images (the Debian package
`dataset-fashion-mnist`). The same by the command line:

shiftable placement benchmarks.findings.placement:fashion_mnist --threshold 32
"""

import argparse
import json
from pathlib import Path

from shiftable import figures, images, placement
from shiftable.placement import Placement
from shiftable.placement.report import ALL
from torch import Tensor

from benchmarks.findings.from_scratch import PLACE, Data, read

THRESHOLD = 32.0  # of 255: the grey fringe of a garment is left out
CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip


class FashionMnist:
    """Images (1, 28, 28), uint8, and their classes, by number."""

    classes = CLASSES

    def __init__(self, data: Data) -> None:
        self._data = data
        self.targets = data.labels

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self._data.images[number], int(self.targets[number])


def fashion_mnist() -> FashionMnist:
    """The training images: a source of images for the command line."""
    return FashionMnist(read(PLACE, "train"))


def fashion_mnist_test() -> FashionMnist:
    """The test images."""
    return FashionMnist(read(PLACE, "t10k"))


def main() -> None:
    """Prints the table, writes the JSON, draws the figure, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    objects = placement.from_threshold(images.from_dataset(fashion_mnist()), THRESHOLD)
    found: dict[str, Placement] = {ALL: placement.describe(objects)}
    found |= {name: placement.describe(own) for name, own in objects.by_class().items()}
    counts = placement.histograms(objects)
    print(placement.text(found, objects))
    if given.json:
        about = {"threshold": THRESHOLD, **placement.machine(found, objects, counts)}
        given.json.write_text(json.dumps(about, indent=1) + "\n")
    if given.figure:
        figures.placement_figure(
            found[ALL], counts, given.figure, title="Fashion-MNIST, what is brighter than 32 of 255"
        )


if __name__ == "__main__":
    main()
