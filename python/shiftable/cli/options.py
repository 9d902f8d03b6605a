"""Options that several subcommands share."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch

from shiftable import arguments

Command = Callable[..., Any]
Option = Callable[[Command], Command]


def network_options(command: Command) -> Command:
    """Which network, and its preprocessing: `model`, `size`, `mean`, `std`, `weights`."""
    return _with(command, (_MODEL, *_PREPROCESSING, _WEIGHTS))


def preprocessing_options(command: Command) -> Command:
    """What networks are shown: `size`, `mean`, `std`."""
    return _with(command, _PREPROCESSING)


def some_images_options(command: Command) -> Command:
    """Which images, and how many of them: `sources`, `count`."""
    return _with(command, _SOME_IMAGES)


def _with(command: Command, options: Sequence[Option]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


IMAGES_HELP = "A folder, an image, a .txt list, a .tar shard (may be repeated), package.module:dataset, or demo:photographs."
_MODEL = click.option(
    "--model",
    required=True,
    help="demo:NAME, timm:NAME, torchvision:NAME, a .pt2 or TorchScript file, one that antialias wrote, or package.module:callable.",
)
_PREPROCESSING: tuple[Option, ...] = (
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
)
_WEIGHTS = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A state dict for a timm: or torchvision: model.",
)
_SOME_IMAGES: tuple[Option, ...] = (
    click.option("--images", "sources", required=True, multiple=True, help=IMAGES_HELP),
    click.option(
        "--count",
        type=click.IntRange(1),
        default=16,
        show_default=True,
        help="How many of the images, the first ones.",
    ),
)


def refuse_file(path: Path | None, *suffixes: str) -> None:
    """Raises ValueError for a file that could not be written, before anything is computed for it."""
    if path is None:
        return
    if path.suffix not in suffixes:
        raise ValueError(f"expected a {' or '.join(suffixes)} to write to, got {path}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder {path.parent} is not writable")


def refuse_device(name: str) -> None:
    """Raises ValueError for a device that nothing runs on."""
    try:
        torch.empty(0, device=torch.device(name)).cpu()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot run on '{name}': {reason}") from error
