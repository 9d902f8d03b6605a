"""What layers share whose peers keep their filter in the state dict."""

from typing import Any

import torch
from torch import Tensor, nn

from shiftable.filters import binomial

Taps = tuple[tuple[float, ...], tuple[float, ...]]


class KeptFilter(nn.Module):
    """A layer with taps as Python numbers, and with a buffer of them for the state dict.

    The buffer moves and is rounded with the network (`to`, `half`). The taps are what the layer
    computes with: no cast rounds them, and `load_state_dict` alone changes them.

    Args:
        name: of the buffer, and so its key in the state dict.
        shape: of the buffer, `(C, 1, kh, kw)` or `(C, 1, k)`: a binomial filter for each channel.

    Raises:
        ValueError: for no taps. `load_state_dict` raises RuntimeError with the reason for a filter
            that is not the product of vertical and horizontal taps, or differs between channels.

    Examples:
        >>> layer = KeptFilter("filt", (8, 1, 1, 3))
        >>> layer.taps
        ((1.0,), (0.25, 0.5, 0.25))
        >>> layer.state_dict()["filt"].shape
        torch.Size([8, 1, 1, 3])
    """

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        height, width = (1, *shape[2:])[-2:]
        self.taps: Taps = (binomial(height), binomial(width))
        self.kept_as = name
        self.register_buffer(name, _product(self.taps).float().expand(shape).contiguous())

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Takes the taps from the loaded filter; torch says so itself where its shape is wrong."""
        key = prefix + self.kept_as
        loaded = state_dict.get(key)
        alike = loaded is not None and loaded.shape == getattr(self, self.kept_as).shape
        if loaded is not None and alike and not loaded.is_meta:  # a meta tensor has no values
            try:
                self.taps = _taps(loaded.reshape(len(loaded), *map(len, self.taps)))
            except ValueError as error:
                error_msgs.append(f"{key}: {error}")
                return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _product(taps: Taps, device: torch.device | None = None) -> Tensor:
    """The filter of two dimensions, in float64."""
    vertical, horizontal = (torch.tensor(t, dtype=torch.float64, device=device) for t in taps)
    return torch.outer(vertical, horizontal)


def _taps(filters: Tensor) -> Taps:
    """The vertical and horizontal taps of filters `(C, kh, kw)` that are all the same product."""
    first = filters[0]
    if not torch.equal(filters, first.expand_as(filters)):
        raise ValueError("expected one filter for all channels, got some that differ")
    known = binomial(first.shape[0]), binomial(first.shape[1])
    if torch.equal(first, _product(known, first.device).to(first.dtype)):
        return known  # and not what their rounding left of them
    exact = first.double()
    vertical, horizontal = exact.sum(1) / exact.sum(), exact.sum(0)  # one row is taken as it is
    error = (torch.outer(vertical, horizontal) - exact).abs().max()
    if not error <= 16 * torch.finfo(first.dtype).eps * exact.abs().max():  # NaN where the sum is 0
        raise ValueError(
            "expected a filter that is the product of vertical and horizontal taps and whose sum "
            "is not 0, got another"
        )
    return tuple(vertical.tolist()), tuple(horizontal.tolist())
