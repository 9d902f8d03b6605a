"""The anti-aliasing layer of timm 1.0."""

from typing import Any

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import binomial


class BlurPool2d(nn.Module):
    """Low-passes with a binomial filter, then keeps every `stride`-th pixel.

    Equals `timm.layers.BlurPool2d`: k taps have `(stride - 1 + k - 1) // 2` pixels of border on
    both sides. Has no state. Goes where timm takes an `aa_layer`. Beyond it: one tap, strides of
    two numbers, any number of channels, maps smaller than the border, 16-bit images.

    Args:
        channels: ignored; images may have any number.
        filt_size: number of taps, >= 1.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair.
        pad_mode: `reflect`, `replicate`, `circular` or `constant`.
        device: ignored, there is nothing to place.
        dtype: ignored, the taps are Python numbers.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> BlurPool2d(8)(torch.ones(2, 8, 7, 1)).shape
        torch.Size([2, 8, 4, 1])
    """

    def __init__(
        self,
        channels: int | None = None,
        filt_size: int = 3,
        stride: int | tuple[int, int] = 2,
        pad_mode: F.Border = "reflect",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.channels, self.filt_size, self.stride = channels, filt_size, stride
        self.pad_mode: F.Border = pad_mode
        self.taps = binomial(filt_size)
        rows, columns = (stride, stride) if isinstance(stride, int) else stride
        y, x = (rows + filt_size - 2) // 2, (columns + filt_size - 2) // 2
        self.padding = (x, x, y, y)

    def forward(self, x: Tensor) -> Tensor:
        """Blurs `(N, C, H, W)` or `(C, H, W)`."""
        return F.blur_downsample(x, self.taps, self.stride, border=self.pad_mode, pad=self.padding)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"filt_size={self.filt_size}, stride={self.stride}, pad_mode={self.pad_mode!r}"
