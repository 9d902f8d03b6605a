"""The layers of antialiased-cnns 0.3."""

from torch import Tensor

from shiftable import functional as F  # noqa: N812
from shiftable.compat.kept_filter import KeptFilter

_BORDERS: dict[str, F.Border] = {
    "reflect": "reflect",
    "refl": "reflect",
    "replicate": "replicate",
    "repl": "replicate",
    "zero": "constant",
}


class _Blur(KeptFilter):
    """The arguments that both layers have."""

    def __init__(
        self,
        shape: tuple[int, ...],
        pad_type: str,
        stride: int | tuple[int, int],
        pad_off: int,
    ) -> None:
        if pad_type not in _BORDERS:
            raise ValueError(f"unknown pad_type {pad_type!r}; known: {', '.join(_BORDERS)}")
        super().__init__("filt", shape)
        self.channels, self.filt_size = shape[0], shape[-1]
        self.pad_type, self.stride, self.pad_off = pad_type, stride, pad_off
        self.border = _BORDERS[pad_type]
        self.sides = ((self.filt_size - 1) // 2 + pad_off, self.filt_size // 2 + pad_off)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return (
            f"{self.channels}, pad_type={self.pad_type!r}, filt_size={self.filt_size}, "
            f"stride={self.stride}, pad_off={self.pad_off}"
        )


class BlurPool(_Blur):
    """Low-passes with a binomial filter, then keeps every `stride`-th pixel.

    Equals `antialiased_cnns.BlurPool`, state dict included. Beyond it: any `filt_size`, strides of
    two numbers, any map from one pixel, `(C, H, W)`, and 16-bit images whatever the layer's dtype.

    Args:
        channels: rows of the buffer `filt`; images may have any number.
        pad_type: `reflect` (or `refl`), `replicate` (`repl`) or `zero`.
        filt_size: number of taps, >= 1.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair.
        pad_off: pixels of border more on all sides, negative for fewer.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> layer = BlurPool(8)
        >>> layer(torch.ones(2, 8, 7, 1)).shape
        torch.Size([2, 8, 4, 1])
        >>> {key: tuple(value.shape) for key, value in layer.state_dict().items()}
        {'filt': (8, 1, 4, 4)}
    """

    def __init__(
        self,
        channels: int,
        pad_type: str = "reflect",
        filt_size: int = 4,
        stride: int | tuple[int, int] = 2,
        pad_off: int = 0,
    ) -> None:
        super().__init__((channels, 1, filt_size, filt_size), pad_type, stride, pad_off)

    def forward(self, inp: Tensor) -> Tensor:
        """Blurs `(N, C, H, W)` to `(H + 2 * pad_off - 1) // stride + 1` rows."""
        pad = self.sides * 2
        return F.blur_downsample(inp, self.taps, self.stride, border=self.border, pad=pad)


class BlurPool1D(_Blur):
    """The same along the last axis of a signal `(N, C, L)` or `(C, L)`.

    Equals `antialiased_cnns.blurpool.BlurPool1D`, state dict included.

    Args:
        channels: as in `BlurPool`.
        pad_type: as in `BlurPool`.
        filt_size: number of taps, >= 1.
        stride: samples between outputs.
        pad_off: samples of border more on both sides, negative for fewer.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> BlurPool1D(8)(torch.ones(2, 8, 7)).shape
        torch.Size([2, 8, 4])
    """

    def __init__(
        self,
        channels: int,
        pad_type: str = "reflect",
        filt_size: int = 3,
        stride: int = 2,
        pad_off: int = 0,
    ) -> None:
        super().__init__((channels, 1, filt_size), pad_type, stride, pad_off)

    def forward(self, inp: Tensor) -> Tensor:
        """Blurs `(N, C, L)` to `(L + 2 * pad_off - 1) // stride + 1` samples."""
        rows = F.blur_downsample(
            inp.unsqueeze(-2),
            self.taps,
            (1, self.stride),  # type: ignore[arg-type]  # one number, by the signature
            border=self.border,
            pad=(*self.sides, 0, 0),
        )
        return rows.squeeze(-2)
