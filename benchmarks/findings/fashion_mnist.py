"""Fashion-MNIST, read from the files of the Debian package `dataset-fashion-mnist`."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from shiftable.functional import take_windows
from torch import Tensor

PACKAGE = "dataset-fashion-mnist"
PLACE = Path("/usr/share/datasets/fashion-mnist")
IMAGE = 28  # pixels of an image's side
SIDE = 24  # of the windows that can be cut from one
MEAN, DEVIATION = 73.0, 90.0  # of the training pixels, rounded


@dataclass(frozen=True)
class Data:
    """Images (N, 1, 28, 28), uint8, and their classes."""

    images: Tensor
    labels: Tensor

    def first(self, count: int) -> "Data":
        """Some of them."""
        return Data(self.images[:count], self.labels[:count])

    @property
    def middle(self) -> Tensor:
        """(N, 1, 24, 24): the middle of each."""
        edge = (self.images.shape[-1] - SIDE) // 2
        return self.images[..., edge : edge + SIDE, edge : edge + SIDE]

    def placed(self, chosen: Tensor, draw: torch.Generator) -> Tensor:
        """As `middle[chosen]`, but of each image at a random place."""
        room = self.images.shape[-1] - SIDE + 1
        corners = torch.randint(room, (len(chosen), 1, 2), generator=draw)
        return take_windows(self.images[chosen], corners, (SIDE, SIDE))[:, 0]


def read_idx(path: Path) -> Tensor:
    """Reads one of the dataset's files, compressed or not."""
    packed = path.with_name(path.name + ".gz")
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    axes = raw[3]
    shape = np.frombuffer(raw, ">i4", axes, 4)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, -1, 4 + 4 * axes).copy().reshape(shape))


def read(place: Path, part: str) -> Data:
    """Reads `train` or `t10k`."""
    images = read_idx(place / f"{part}-images-idx3-ubyte")
    return Data(images[:, None], read_idx(place / f"{part}-labels-idx1-ubyte").long())


def as_input(pixels: Tensor) -> Tensor:
    """What the network takes; `evaluate` does the same by its scale and bias."""
    return pixels.float().sub_(MEAN).div_(DEVIATION)
