"""Shows a network every window, at the speed of its own forward pass."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from time import perf_counter
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from shiftable.answers import Answers
from shiftable.sweep import Sweep, fill_batches

Model = Callable[[Tensor], Tensor]
Colour = float | Sequence[float]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MemoryFormat = Literal["auto", "channels_last", "contiguous"]
MEMORY_FORMATS: tuple[MemoryFormat, ...] = get_args(MemoryFormat)


class Images(Protocol):
    """Images by number, read when they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Tensor: ...


_LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_AHEAD = 4  # images that are read while the network works

# A batch's windows on a CPU: what its caches hold; more has never been faster there.
_CPU_BYTES = 10_000_000
_CPU_MOST, _CUDA_MOST = 256, 256
_CUDA_SHARE = 0.5  # of the free memory, for what a forward pass needs at once


@dataclass(frozen=True)
class Settings:
    """How the windows go through the network. None of it changes what they show.

    Args:
        batch: windows in a forward pass.
        precision: `auto` for the network's own dtype; `fp32` converts a copy of it where that is
            another; `bf16` and `fp16` by autocast.
        memory_format: of the windows, and of the weights.
        compile: whether by torch.compile.
        device: where the network runs.
        threads: of torch on the CPU.
    """

    batch: int
    precision: Precision
    memory_format: Literal["channels_last", "contiguous"]
    compile: bool
    device: str
    threads: int

    @property
    def layout(self) -> torch.memory_format:
        """The memory format, as torch names it."""
        return _LAYOUTS[self.memory_format]


class OutOfMemoryError(Exception):
    """A forward pass did not fit in memory."""


def device_of(model: Model) -> torch.device:
    """Where a network's first parameter or buffer lies; the CPU if it has none."""
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def dtype_of(model: Model) -> torch.dtype:
    """The dtype of a network's first floating parameter; float32 if it has none."""
    tensors = model.parameters() if isinstance(model, nn.Module) else ()
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def refuse_training(model: Model) -> None:
    """Raises ValueError for a network in training mode."""
    if isinstance(model, nn.Module) and any(module.training for module in model.modules()):
        raise ValueError("evaluate: expected a network in eval mode; call model.eval() first")


class Forward:
    """A network made ready to be called: layout, precision and compilation, and its faults named.

    Args:
        model: takes (B, C, h, w) and returns logits (B, K).
        settings: how to call it. The user's own network is left as it is.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        refuse_training(model)
        self.settings = settings
        self.dtype = dtype_of(model)
        self.device = torch.device(settings.device)
        if isinstance(model, nn.Module):
            if settings.precision == "fp32" and self.dtype != torch.float32:
                model, self.dtype = copy.deepcopy(model).float(), torch.float32
            model = _laid_out(model, settings.layout)
        self._model: Model = model
        if settings.compile:
            self._model = torch.compile(model, dynamic=False)
        # What is compiled, or exported perhaps for one batch size, is always shown full batches.
        self.full = settings.compile or isinstance(model, GraphModule)
        self._lower = settings.precision in ("bf16", "fp16")

    @torch.inference_mode()
    def outputs(self, windows: Tensor, name: str = "an image") -> Any:
        """Returns what the network does; `name` says whose windows they are, for a fault.

        Raises:
            ValueError: for a network that fails.
            OutOfMemoryError: where the batch does not fit.
        """
        try:
            with self._autocast():
                return self._model(windows.to(self.device))
        except Exception as error:
            shape = tuple(windows.shape)
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"a batch {shape}") from error
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"evaluate: the network failed on a batch {shape} of {name}: {reason}"
            ) from error

    @torch.inference_mode()
    def __call__(self, windows: Tensor, name: str = "an image") -> Tensor:
        """Returns float32 logits (B, K).

        Raises:
            ValueError: as `outputs`, and where the answer is not logits (B, K).
            OutOfMemoryError: where the batch does not fit.
        """
        logits = self.outputs(windows, name)
        count = len(windows)
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"evaluate: expected logits ({count}, K) from the network, got "
                f"{type(logits).__name__}; wrap it in a function that returns them"
            )
        if logits.ndim != 2 or logits.shape[0] != count or logits.shape[1] < 2:
            raise ValueError(
                f"evaluate: expected logits ({count}, K) with K >= 2 from the network, got "
                f"{tuple(logits.shape)}; wrap it in a function that returns them"
            )
        return logits.float()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if not self._lower:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _DTYPES[self.settings.precision])


def _laid_out(model: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The network with its weights in a memory format: itself where they are, else a copy."""
    weights = [p for p in model.parameters() if p.ndim == 4]
    if all(weight.is_contiguous(memory_format=layout) for weight in weights):
        return model
    try:
        return copy.deepcopy(model).to(memory_format=layout)  # type: ignore[call-overload,no-any-return]
    except Exception:  # what cannot be copied is used as it is: only its speed is at stake
        return model


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(said in text for said in ("out of memory", "can't allocate memory"))
    )


# -- choosing -------------------------------------------------------------------------------------


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
    place = torch.device(device) if device is not None else device_of(model)
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


# -- running --------------------------------------------------------------------------------------


def read_ahead(
    images: Images, numbers: Sequence[int], device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """Yields images by number, reading the next ones while those before are worked on."""

    def read(number: int) -> Tensor:
        image = images[number]
        return image.pin_memory() if device.type == "cuda" and not image.is_cuda else image

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(read, number) for number in numbers[:_AHEAD]]
        try:
            for place, number in enumerate(numbers):
                image = waiting.pop(0).result()
                if place + _AHEAD < len(numbers):
                    waiting.append(pool.submit(read, numbers[place + _AHEAD]))
                yield number, image
        finally:
            for future in waiting:
                future.cancel()


def answer(
    forward: Forward,
    images: Images,
    sweep: Sweep,
    labels: Sequence[int],
    names: Sequence[str],
    *,
    numbers: Sequence[int] | None = None,
    scale: Colour | None = None,
    bias: Colour | None = None,
    split: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Shows a network every shift of some images and yields each one's answers when it is done.

    Args:
        forward: the network.
        images: all of them; only those asked for are read, each once.
        sweep: what is shown.
        labels: of all images, -1 where unknown.
        names: of all images.
        numbers: which images, ascending; all by default.
        scale: as in `take_windows`.
        bias: as in `take_windows`.
        split: whether a batch that does not fit in memory is shown in halves; otherwise
            `OutOfMemoryError` is raised.
        progress: called with the number of windows just done.

    Yields:
        The image's number and its fields of an `Outcome`, each with S rows.

    Raises:
        ValueError: as `evaluate` does.
    """
    chosen = range(len(images)) if numbers is None else numbers
    settings = forward.settings
    running: dict[int, Answers] = {}
    filled_batches = fill_batches(
        sweep,
        read_ahead(images, chosen, forward.device),
        settings.batch,
        lambda _: sweep.plan.order,
        forward.device,
        forward.dtype,
        settings.layout,
        scale=scale,
        bias=bias,
    )
    most = settings.batch
    for pieces, filled, buffer in filled_batches:
        windows = buffer if forward.full else buffer[:filled]
        logits, most = _in_parts(forward, windows, names[pieces[0].image], most, split)
        done = 0
        for piece in pieces:
            number = piece.image
            if number not in running:
                check_label(labels[number], logits.shape[1], names[number])
                running[number] = Answers(
                    sweep.plan, labels[number], logits.shape[1], logits.device
                )
            count = len(piece.rows)
            running[number].add(logits[done : done + count])
            done += count
            if progress is not None:
                progress(count)
            if running[number].complete:
                found = running.pop(number).finish()
                if found is None:
                    raise ValueError(
                        f"evaluate: expected finite logits, got NaN or infinity for {names[number]}"
                    )
                yield number, found


def _in_parts(
    forward: Forward, windows: Tensor, name: str, most: int, split: bool
) -> tuple[Tensor, int]:
    """Logits of a batch, shown at most `most` windows at a time; fewer where they do not fit."""
    while True:
        try:
            parts = [forward(part, name) for part in torch.split(windows, most)]
            return (parts[0] if len(parts) == 1 else torch.cat(parts)), most
        except OutOfMemoryError as error:
            if not split or most == 1:
                if split:
                    raise ValueError(
                        f"evaluate: out of memory on a single window of {name}; take another device"
                    ) from error
                raise
            most = max(1, most // 2)
            if forward.device.type == "cuda":
                torch.cuda.empty_cache()


def check_label(label: int, classes: int, name: str) -> None:
    """Raises ValueError for a label that is no class's number."""
    if label >= classes or label < -1:
        raise ValueError(
            f"evaluate: expected labels below {classes}, the number of classes, got {label} for {name}"
        )


def differing(
    model: Model,
    sweep: Sweep,
    images: Images,
    settings: Settings,
    *,
    windows: int = 512,
    scale: Colour | None = None,
    bias: Colour | None = None,
) -> tuple[int, int]:
    """Counts, on a sample, the top-1 classes that differ from those in float32.

    The sample is spread over images and shifts.

    Returns:
        How many differ, and of how many.
    """
    lower = Forward(model, settings)
    plain = Forward(model, replace(settings, precision="fp32", compile=False))
    each = max(1, min(len(sweep.plan), windows // max(1, min(len(images), 32))))
    shown = np.linspace(0, len(images) - 1, min(len(images), max(1, windows // each))).astype(int)
    differ = seen = 0
    for number in dict.fromkeys(shown.tolist()):
        rows = np.unique(np.linspace(0, len(sweep.plan) - 1, each).astype(int))
        image = images[number].to(lower.device)
        cut = sweep.prepare(image, number).windows(rows, scale=scale, bias=bias)
        for part in torch.split(cut, settings.batch):
            laid_out = part.contiguous(memory_format=settings.layout)
            classes = [run(laid_out.to(run.dtype)).argmax(1) for run in (lower, plain)]
            differ += int((classes[0] != classes[1]).sum())
            seen += len(part)
    return differ, seen
