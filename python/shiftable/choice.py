"""Chooses how windows go through a network, by trying a few."""

from dataclasses import replace
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from shiftable.engine import (
    MEMORY_FORMATS,
    PRECISIONS,
    Forward,
    MemoryFormat,
    Model,
    OutOfMemoryError,
    Precision,
    Settings,
    device_of,
)
from shiftable.sweep import Sweep

# A batch's windows on a CPU: what its caches hold; more has never been faster there.
_CPU_BYTES = 10_000_000
_CPU_MOST, _CUDA_MOST = 256, 256
_CUDA_SHARE = 0.5  # of the free memory, for what a forward pass needs at once


def choose(
    model: Model,
    sweep: Sweep,
    image: Tensor,
    images: int,
    *,
    batch: int | Literal["auto"] = "auto",
    precision: Precision = "auto",
    memory_format: MemoryFormat = "auto",
    compile: bool = False,
    device: torch.device | str | None = None,
) -> Settings:
    """Chooses how to run a sweep, by trying a few batches of its own windows.

    Args:
        model: the network.
        sweep: what it will be shown.
        image: one of the images.
        images: how many there are.
        batch: windows in a forward pass; `auto` for as many as a CPU's caches hold, or on a GPU
            as half of its free memory holds, and never more than there are.
        precision: `auto` keeps the network's own; lower precision has to be asked for.
        memory_format: `auto` for channels_last, unless the network fails or is slower with it.
        compile: whether by torch.compile.
        device: by default where the network's first parameter lies.

    Raises:
        ValueError: for an unknown name, or a network that fails.
    """
    for what, value, known in (
        ("precision", precision, PRECISIONS),
        ("memory_format", memory_format, MEMORY_FORMATS),
    ):
        if value not in known:
            raise ValueError(f"evaluate: unknown {what} '{value}'; known: {', '.join(known)}")
    if batch != "auto" and (not isinstance(batch, int) or batch < 1):
        raise ValueError(f"evaluate: expected batch >= 1, got {batch}")
    own = device_of(model)
    place = torch.device(device) if device is not None else own
    if (
        isinstance(model, nn.Module)
        and place.type != own.type
        and any(True for _ in model.parameters())
    ):
        raise ValueError(
            f"evaluate: expected the network on {place}, got it on {own}; move it by model.to(...)"
        )
    if precision == "fp16" and place.type == "cpu":
        raise ValueError("evaluate: fp16 is for GPUs, got a CPU; take bf16")
    total = images * len(sweep.plan)
    settings = Settings(
        batch if batch != "auto" else min(total, _cache_batch(sweep, len(image))),
        precision,
        "contiguous" if memory_format == "contiguous" else "channels_last",
        compile,
        str(place),
        torch.get_num_threads(),
    )
    if memory_format == "auto":
        settings = _quicker_layout(model, sweep, image, settings, total)
    if batch == "auto" and place.type == "cuda":
        settings = _fitting_batch(model, sweep, image, settings, total)
    return settings


def _cache_batch(sweep: Sweep, channels: int) -> int:
    window = 4 * channels * sweep.size[0] * sweep.size[1]
    return min(_CPU_MOST, 1 << max(3, (_CPU_BYTES // window).bit_length() - 1))


def _trial(sweep: Sweep, image: Tensor, batch: int, forward: Forward) -> Tensor:
    """A batch of the sweep's own windows, as a run would show them (without scale and bias)."""
    rows = np.resize(np.arange(len(sweep.plan)), batch)
    out = torch.zeros(batch, len(image), *sweep.size, dtype=forward.dtype, device=forward.device)
    out = out.contiguous(memory_format=forward.settings.layout)
    for first in range(0, batch, len(sweep.plan)):
        part = out[first : first + len(sweep.plan)]
        windows = sweep.prepare(image).windows(rows[: len(part)], scale=1 / 255)
        part.copy_(windows)
    return out


def _quicker_layout(
    model: Model, sweep: Sweep, image: Tensor, settings: Settings, total: int
) -> Settings:
    """channels_last, unless the network fails with it, or is slower in a run that is long enough."""
    if not isinstance(model, nn.Module) or isinstance(model, GraphModule):
        return settings
    plain = replace(settings, memory_format="contiguous")
    long = total >= 100 * settings.batch
    few = replace(settings, batch=min(settings.batch, 16) if long else 1, compile=False)
    try:
        last = _seconds(model, sweep, image, few, 1)
    except ValueError:  # networks that call view() want contiguous maps
        return plain
    if not long:
        return settings
    last = min(last, _seconds(model, sweep, image, few, 3))
    other = _seconds(model, sweep, image, replace(few, memory_format="contiguous"), 3)
    # By a clear margin, so that the choice is the same every time.
    return plain if other < 0.85 * last else settings


def _seconds(model: Model, sweep: Sweep, image: Tensor, settings: Settings, turns: int) -> float:
    """The quickest of some forward passes."""
    forward = Forward(model, settings)
    windows = _trial(sweep, image, settings.batch, forward)
    best = float("inf")
    for _ in range(turns):
        start = perf_counter()
        forward.outputs(windows)
        if forward.device.type == "cuda":
            torch.cuda.synchronize(forward.device)
        best = min(best, perf_counter() - start)
    return best


def _fitting_batch(
    model: Model, sweep: Sweep, image: Tensor, settings: Settings, total: int
) -> Settings:
    """The largest power of two whose forward pass takes half of a GPU's free memory, and runs."""
    most = min(_CUDA_MOST, 1 << (total.bit_length() - 1))
    place = torch.device(settings.device)

    def peak(batch: int) -> int:
        chosen = replace(settings, batch=batch, compile=False)
        torch.cuda.reset_peak_memory_stats(place)
        _seconds(model, sweep, image, chosen, 1)
        return torch.cuda.max_memory_allocated(place)

    try:
        few, more = peak(1), peak(min(8, most))
        each = max(1, (more - few) // max(1, min(8, most) - 1))
        room = int(torch.cuda.mem_get_info(place)[0] * _CUDA_SHARE)
        batch = min(most, 1 << max(0, (room // each).bit_length() - 1))
        while batch > 1:
            try:
                peak(batch)
                break
            except OutOfMemoryError:
                torch.cuda.empty_cache()
                batch //= 2
    except OutOfMemoryError as error:
        raise ValueError(f"evaluate: the network does not fit in memory: {error}") from error
    return replace(settings, batch=batch)
