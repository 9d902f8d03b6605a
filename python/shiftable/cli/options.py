"""Options that several subcommands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from shiftable import arguments

Command = Callable[..., Any]


def network_options(command: Command) -> Command:
    """Which network, and its preprocessing: `model`, `size`, `mean`, `std`, `weights`."""
    for option in reversed(_NETWORK):
        command = option(command)
    return command


_NETWORK: tuple[Callable[[Command], Command], ...] = (
    click.option(
        "--model",
        required=True,
        help="demo:NAME, timm:NAME, torchvision:NAME, a .pt2 or TorchScript file, one that antialias wrote, or package.module:callable.",
    ),
    click.option(
        "--size",
        type=arguments.size,
        metavar="SIZE",
        help="Input size of the network, S or HxW pixels.",
    ),
    click.option(
        "--mean", type=arguments.numbers, metavar="NUMBERS", help="By channel, in units of 0..1."
    ),
    click.option(
        "--std", type=arguments.numbers, metavar="NUMBERS", help="By channel, in units of 0..1."
    ),
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        help="A state dict for a timm: or torchvision: model.",
    ),
)

IMAGES_HELP = "A folder, an image, a .txt list, a .tar shard (may be repeated), package.module:dataset, or demo:photographs."


def refuse_device(name: str) -> None:
    """Raises ValueError for a device that nothing runs on."""
    try:
        torch.empty(0, device=torch.device(name)).cpu()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot run on '{name}': {reason}") from error
