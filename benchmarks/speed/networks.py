"""Whole networks: what the blur costs in them. Random weights, 8 images of 224x224."""

from collections.abc import Callable, Iterator
from itertools import product

import torch
from shiftable import nn as ours
from torch import Tensor, nn

from benchmarks.speed import peers
from benchmarks.speed.blur_downsample import LAYOUTS
from benchmarks.speed.harness import Candidate, Case

SHAPE, TAPS = (8, 3, 224, 224), 3


class _Blur(ours.BlurPool2d):
    """The signature that timm's networks call."""

    def __init__(self, channels: int | None = None, stride: int = 2, **_: object) -> None:
        super().__init__(channels, TAPS, stride)


def _replace_max_pools(
    network: nn.Module, instead: Callable[[nn.MaxPool2d, int], nn.Module]
) -> nn.Module:
    """Puts `instead(pool, channels before it)` in the place of every max pool of stride 2."""
    channels = 0
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                channels = child.out_channels
            if isinstance(child, nn.MaxPool2d) and child.stride == 2:
                setattr(parent, name, instead(child, channels))
    return network


def _slow_max(pool: nn.MaxPool2d) -> nn.MaxPool2d:
    return nn.MaxPool2d(pool.kernel_size, 1, pool.padding)


def _max_blur(pool: nn.MaxPool2d, channels: int) -> nn.Module:
    return ours.MaxBlurPool2d(pool.kernel_size, TAPS, max_pad=pool.padding)


def _resnets(name: str) -> dict[str, nn.Module]:
    """With the layers that timm puts in, and their max pool blurred in the same way."""
    timm, antialiased_cnns = peers.load("timm"), peers.load("antialiased_cnns")

    class Theirs(antialiased_cnns.BlurPool):  # type: ignore[misc]
        def __init__(self, channels: int, stride: int = 2, **_: object) -> None:
            super().__init__(channels, filt_size=TAPS, stride=stride)

    mended = timm.create_model(name, aa_layer=_Blur)
    mended.maxpool = ours.MaxBlurPool2d(3, TAPS, max_pad=1)
    averaged = timm.create_model(name, aa_layer=nn.AvgPool2d)
    averaged.maxpool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2))
    return {
        "shiftable": mended,
        "average pools": averaged,
        "antialiased-cnns": timm.create_model(name, aa_layer=Theirs),
        "plain": timm.create_model(name),
    }


def _squeezenets() -> dict[str, nn.Module]:
    models, antialiased_cnns = peers.load("torchvision.models"), peers.load("antialiased_cnns")
    # Its pools follow modules of several convolutions: the channels are counted by hand.
    channels = iter((64, 128, 256) * 2)

    def averaged(pool: nn.MaxPool2d, _: int) -> nn.Module:
        return nn.Sequential(_slow_max(pool), nn.AvgPool2d(2))

    def theirs(pool: nn.MaxPool2d, _: int) -> nn.Module:
        blur = antialiased_cnns.BlurPool(next(channels), filt_size=TAPS, stride=2)
        return nn.Sequential(_slow_max(pool), blur)

    return {
        "shiftable": _replace_max_pools(models.squeezenet1_1(), _max_blur),
        "average pools": _replace_max_pools(models.squeezenet1_1(), averaged),
        "antialiased-cnns": _replace_max_pools(models.squeezenet1_1(), theirs),
        "plain": models.squeezenet1_1(),
    }


def _inference(network: nn.Module) -> Candidate:
    def forward(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(images)

    return forward


def _training(network: nn.Module) -> Candidate:
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)

    def step(images: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = network(images).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def cases(quick: bool) -> Iterator[Case]:
    """Yields inference and training steps of each network in both layouts."""
    if any(peers.installed(name) is None for name in ("timm", "torchvision", "antialiased_cnns")):
        return
    networks = {"squeezenet1_1": _squeezenets} | {
        name: lambda name=name: _resnets(name)  # type: ignore[misc]
        for name in (("resnet18",) if quick else ("resnet18", "resnet50"))
    }
    for (name, make), layout in product(networks.items(), LAYOUTS):
        memory_format = LAYOUTS[layout]
        images = [torch.randn(SHAPE).contiguous(memory_format=memory_format)]
        for step, prepare in (("inference", _inference), ("training step", _training)):
            found = {key: net.to(memory_format=memory_format) for key, net in make().items()}
            for network in found.values():
                network.train(step == "training step")
            candidates = {key: prepare(network) for key, network in found.items()}
            yield Case(
                "networks", f"{name} {step}", SHAPE, torch.float32, layout, images, 0, 0,
                candidates, None,
            )  # fmt: skip
