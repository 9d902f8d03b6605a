"""Upsampling with the transpose of a blur pool."""

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import Filter, named


class BlurUpsample2d(nn.Module):
    """Puts pixels `stride` apart and fills between them with a low-pass filter, in one pass.

    The transpose of `BlurPool2d`, times the stride on each axis so that brightness is kept. `border`
    continues the small image; with `constant` (zero) and `circular` it is the transpose exactly,
    with the others a constant image stays constant up to its edges.

    Args:
        filter_size: number of taps of a named filter, >= the stride for no gaps between pixels.
        stride: of the pixels in the result, an int or a (vertical, horizontal) pair, >= 1.
        border: `reflect`, `replicate`, `circular` or `constant` (zero).
        filter: a name of `shiftable.filters` or taps.

    Raises:
        ValueError: for an unknown filter or border, or a size or stride less than 1.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3; Karras et
        al., Alias-Free Generative Adversarial Networks (NeurIPS 2021), section 3.

    Examples:
        >>> import torch
        >>> BlurUpsample2d()(torch.ones(1, 1, 2, 2))[0, 0, 0]
        tensor([1., 1., 1., 1.])
    """

    def __init__(
        self,
        filter_size: int = 4,
        stride: int | tuple[int, int] = 2,
        border: F.Border = "reflect",
        *,
        filter: Filter = "binomial",
    ) -> None:
        super().__init__()
        F.check_border(border)
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        if len(self.stride) != 2 or min(self.stride) < 1:
            raise ValueError(f"BlurUpsample2d: expected stride >= 1, got {stride!r}")
        self.border: F.Border = border
        self.filter = filter if isinstance(filter, str) else "given"
        self.taps = named(filter, filter_size)

    def forward(self, image: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Upsamples `(N, C, H, W)` or `(C, H, W)`.

        Args:
            image: the small image.
            size: (H', W') of the result, with `ceil(H' / stride) == H`; `H * stride` by default.

        Raises:
            ValueError: for another size.
        """
        small = image.shape[-2:]
        height, width = size or [n * s for n, s in zip(small, self.stride, strict=True)]
        if [-(-height // self.stride[0]), -(-width // self.stride[1])] != list(small):
            raise ValueError(
                f"BlurUpsample2d: expected a size that stride {self.stride} takes to {tuple(small)}, "
                f"got {(height, width)}"
            )
        taps, reach, pad = [], [], []
        for step in self.stride:
            row = self.taps if step > 1 else (1.0,)
            taps.append([tap * step for tap in row])
            # Pixels beyond the edge that the filter reaches from inside.
            reach.append(0 if self.border == "constant" else -(-len(row) // step))
            before = (len(row) - 1) // 2 + reach[-1] * step
            pad.append((before, len(row) // 2 + reach[-1] * step))
        (top, bottom), (left, right) = pad
        up, aside = reach
        continued = image
        if up or aside:
            continued = F.blur_downsample(
                image, (1.0,), 1, border=self.border, pad=(aside, aside, up, up)
            )
        vertical, horizontal = taps
        return F.blur_upsample(
            continued, (height, width), (vertical, horizontal), (self.stride[0], self.stride[1]),
            pad=(left, right, top, bottom),
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return (
            f"{self.filter}, filter_size={len(self.taps)}, stride={self.stride}, "
            f"border={self.border!r}"
        )
