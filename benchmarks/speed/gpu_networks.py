"""A ResNet-50 on a GPU, plain and blurred in three ways, under float16 autocast. Random weights."""

import copy
from collections.abc import Callable, Iterator
from itertools import product

import torch
from shiftable import filters
from shiftable import nn as ours
from torch import Tensor, nn

from benchmarks.speed import peers
from benchmarks.speed.blur_downsample import LAYOUTS
from benchmarks.speed.harness import Candidate, Case

TAPS = 3
WIDTHS, DEPTHS = (64, 128, 256, 512), (3, 4, 6, 3)

Reduce = Callable[[int], nn.Module]  # what halves a map of so many channels


class _Convolved(nn.Module):
    """The blur as others have it: reflecting padding, then a convolution of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor(filters.binomial(TAPS))
        weight = torch.outer(row, row).expand(channels, 1, TAPS, TAPS).contiguous()
        self.register_buffer("weight", weight)
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        padded = nn.functional.pad(image, (TAPS // 2,) * 4, mode="reflect")
        weight = self.weight.to(image.dtype)
        return nn.functional.conv2d(padded, weight, stride=2, groups=self.channels)


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut; what halves the map stands behind the 3x3 one."""

    def __init__(
        self, before: int, width: int, stride: int, inner: nn.Module | None, skip: nn.Module
    ) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            inner or nn.Identity(),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        self.skip = skip

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.steps(image) + self.skip(image))


def resnet50(reduce: Reduce | None) -> nn.Sequential:
    """The network; `reduce` in the place of every strided convolution and pool but the first one."""
    pool = (
        nn.MaxPool2d(3, 2, 1)
        if reduce is None
        else nn.Sequential(nn.MaxPool2d(3, 1, 1), reduce(64))
    )
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), pool]
    blocks: list[nn.Module] = []
    before = 64
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        for number in range(depth):
            blocks.append(_block(before, width, stage > 0, number == 0, reduce))
            before = 4 * width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000)]
    return nn.Sequential(*stem, *blocks, *head)


def _block(before: int, width: int, halves: bool, first: bool, reduce: Reduce | None) -> nn.Module:
    if not first:
        return _Bottleneck(before, width, 1, None, nn.Identity())
    strided = 2 if halves and reduce is None else 1
    skip: list[nn.Module] = [
        nn.Conv2d(before, 4 * width, 1, strided, bias=False), nn.BatchNorm2d(4 * width),
    ]  # fmt: skip
    if not halves or reduce is None:
        return _Bottleneck(before, width, strided, None, nn.Sequential(*skip))
    return _Bottleneck(before, width, 1, reduce(width), nn.Sequential(reduce(before), *skip))


def variants() -> dict[str, nn.Module]:
    """Ours first; all but the plain one compute the same but for what blurs, with equal weights."""
    mended = resnet50(lambda channels: ours.BlurPool2d(channels, TAPS))
    mended[3] = ours.MaxBlurPool2d(3, TAPS, max_pad=1)
    made = {
        "average pools": resnet50(lambda _: nn.AvgPool2d(2)),
        "pad + conv2d": resnet50(_Convolved),
        "plain": resnet50(None),
    }
    theirs = peers.installed("antialiased_cnns")
    if theirs is not None:
        made["antialiased-cnns"] = resnet50(
            lambda channels: theirs.BlurPool(channels, filt_size=TAPS)
        )
    for network in made.values():
        for source, target in zip(mended.parameters(), network.parameters(), strict=True):
            target.data.copy_(source.data)
    return {"shiftable": mended, **made}


def _inference(network: nn.Module) -> Candidate:
    def forward(images: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(images.device.type, torch.float16):
            return network(images)

    return forward


def _training(network: nn.Module) -> Candidate:
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-6)

    def step(images: Tensor) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.float16):
            loss = network(images).float().square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def cases(
    quick: bool, device: torch.device, batches: tuple[int, int] = (128, 64), side: int = 224
) -> Iterator[Case]:
    """Yields inference and training steps in both layouts; `quick`: channels_last alone."""
    steps = (("inference", _inference, batches[0]), ("training step", _training, batches[1]))
    for layout, (name, prepare, batch) in product(LAYOUTS, steps):
        if quick and layout != "channels_last":
            continue
        memory_format = LAYOUTS[layout]
        images = torch.randn(batch, 3, side, side, device=device).contiguous(
            memory_format=memory_format
        )
        found = {k: n.to(device, memory_format=memory_format).eval() for k, n in variants().items()}
        yield Case(
            "networks", f"resnet50 {name}, float16 autocast", tuple(images.shape), torch.float32,
            layout, [images], 0, 0, {key: prepare(network) for key, network in found.items()}, None,
        )  # fmt: skip
