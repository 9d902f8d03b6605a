"""A network made ready to be shown windows, and how."""

import contextlib
import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

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


class OutOfMemoryError(ValueError):
    """A forward pass did not fit in memory."""


def device_of(model: Model) -> torch.device:
    """Where a network's first parameter or buffer lies; the CPU if it has none."""
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def dtype_of(model: Model) -> torch.dtype:
    """The dtype of a network's first floating parameter; float32 if it has none."""
    tensors = model.parameters() if isinstance(model, nn.Module) else ()
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain: Tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
        if self._lower:  # windows as the first layer would cast them
            self.dtype = _DTYPES[settings.precision]

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
                raise OutOfMemoryError(
                    f"out of memory on a batch {shape}; take a smaller one, or another device"
                ) from error
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
        # A copy: a network may use the memory of its answer again.
        return logits.to(torch.float32, copy=True)

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
