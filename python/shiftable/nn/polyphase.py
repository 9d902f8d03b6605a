"""Downsampling that follows a shift: the polyphase component of largest norm."""

from typing import get_args

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import Filter, named


class PolyphaseDownsample2d(nn.Module):
    """Low-passes, then keeps of each sample the polyphase component of largest norm.

    With a circular border, and sizes that are multiples of the stride, the result of a rolled image
    is the result rolled, by any number of pixels: a network of such layers, circular convolutions
    and a global pool is invariant. With other borders the edges still tell shifts apart.

    Args:
        filter_size: number of taps of a named filter, >= 1; 1 leaves the image as it is.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair, 1 to 64.
        border: `circular`, `reflect`, `replicate` or `constant` (zero).
        filter: a name of `shiftable.filters` or taps.
        norm: `l2`, `l1` or `linf`, of which the largest is chosen.
        return_phase: return the phase too, for a branch that has to keep the same component.

    Raises:
        ValueError: for an unknown filter, border or norm, or a size less than 1.

    References:
        Chaman & Dokmanic, Truly shift-invariant convolutional neural networks (CVPR 2021), section
        3.

    Examples:
        >>> import torch
        >>> pool = PolyphaseDownsample2d(return_phase=True)
        >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> component, phase = pool(image)
        >>> component, phase
        (tensor([[[[ 5.,  7.],
                  [13., 15.]]]]), tensor([3]))
        >>> shortcut, _ = pool(-image, phase)  # the same component
    """

    def __init__(
        self,
        filter_size: int = 1,
        stride: int | tuple[int, int] = 2,
        border: F.Border = "circular",
        *,
        filter: Filter = "binomial",
        norm: F.Norm = "l2",
        return_phase: bool = False,
    ) -> None:
        super().__init__()
        F.check_border(border)
        if norm not in get_args(F.Norm):
            raise ValueError(f"unknown norm '{norm}'; known: {', '.join(get_args(F.Norm))}")
        self.filter = filter if isinstance(filter, str) else "given"
        self.taps = named(filter, filter_size)
        self.stride = stride
        self.border: F.Border = border
        self.norm: F.Norm = norm
        self.return_phase = return_phase

    def forward(self, image: Tensor, phase: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Downsamples `(N, C, H, W)` or `(C, H, W)` to `ceil(H / stride)` by `ceil(W / stride)`.

        Args:
            image: what to downsample.
            phase: int64 `(N,)`, as this layer returned it elsewhere; by default its own choice.

        Returns:
            The component, and with `return_phase` the phase beside it.
        """
        component, chosen = F.polyphase_downsample(
            image, self.taps, self.stride, border=self.border, phase=phase, norm=self.norm
        )
        return (component, chosen) if self.return_phase else component

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return (
            f"{self.filter}, filter_size={len(self.taps)}, stride={self.stride}, "
            f"border={self.border!r}, norm={self.norm!r}"
        )
