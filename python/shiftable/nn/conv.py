"""Strided convolution with its blur."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import Filter, named

Order = Literal["after", "before"]
ORDERS: tuple[Order, ...] = get_args(Order)


def check_order(order: str) -> None:
    """Raises ValueError for an unknown order."""
    if order not in ORDERS:
        raise ValueError(f"unknown order '{order}'; known: {', '.join(ORDERS)}")


class BlurConv2d(nn.Conv2d):
    """A strided convolution that does not alias: `torch.nn.Conv2d` with the same state dict.

    `order="after"`: the convolution at stride 1, the activation, then blur and downsampling in one
    pass. `order="before"`: blur at stride 1, the strided convolution as it was, the activation;
    cheaper, but what the convolution and the activation make above the new limit still aliases.

    Args:
        in_channels: as all arguments up to `padding_mode`, of `torch.nn.Conv2d`.
        out_channels: see there.
        kernel_size: see there.
        stride: see there.
        padding: see there; `same` goes with `order="after"` alone.
        dilation: see there.
        groups: see there.
        bias: see there.
        padding_mode: see there.
        filter_size: number of taps of a named filter, >= 1.
        filter: a name of `shiftable.filters` or taps.
        border: of the blur, as in `BlurPool2d`.
        order: `after` or `before`.
        activation: what comes between convolution and blur, a module or a function of a tensor.

    Raises:
        ValueError: for an unknown order, filter or border, and what `torch.nn.Conv2d` refuses.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2, for
        `after`.

    Examples:
        >>> import torch
        >>> layer = BlurConv2d(3, 8, 3, stride=2, padding=1, activation=torch.nn.ReLU())
        >>> layer(torch.ones(1, 3, 9, 8)).shape, sorted(layer.state_dict())
        (torch.Size([1, 8, 5, 4]), ['bias', 'weight'])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | str | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        *,
        filter_size: int = 4,
        filter: Filter = "binomial",
        border: F.Border = "reflect",
        order: Order = "after",
        activation: Callable[[Tensor], Tensor] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_order(order)
        F.check_border(border)
        super().__init__(
            in_channels, out_channels, kernel_size, stride if order == "before" else 1, padding,
            dilation, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip
        strides = (stride, stride) if isinstance(stride, int) else stride
        if len(strides) != 2 or min(strides) < 1:
            raise ValueError(f"BlurConv2d: expected stride >= 1, got {stride!r}")
        self.order = order
        self.border: F.Border = border
        self.blur_stride = strides if order == "after" else (1, 1)
        taps = named(filter, filter_size)
        # An axis that keeps its resolution is not blurred.
        vertical, horizontal = (taps if step > 1 else (1.0,) for step in strides)
        self.taps = (vertical, horizontal)
        self.activation = activation

    def forward(self, image: Tensor) -> Tensor:
        """Convolves `(N, C, H, W)` or `(C, H, W)` to the size that `torch.nn.Conv2d` gives."""
        before = self.order == "before"
        result = super().forward(self._blurred(image) if before else image)
        if self.activation is not None:
            result = self.activation(result)
        return result if before else self._blurred(result)

    def _blurred(self, image: Tensor) -> Tensor:
        if self.taps == ((1.0,), (1.0,)):
            return image
        return F.blur_downsample(image, self.taps, self.blur_stride, border=self.border)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        sizes = tuple(len(row) for row in self.taps)
        ours = f"order={self.order!r}, filter_size={sizes}, blur_stride={self.blur_stride}"
        return f"{super().extra_repr()}, {ours}"  # type: ignore[no-untyped-call]
