"""Anti-aliased pooling layers: they hold the arguments of an operator and call it."""

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import binomial


class BlurPool2d(nn.Module):
    """Low-passes with a binomial filter, then keeps every `stride`-th pixel.

    Args:
        channels: ignored, any number is accepted at run time; kept for the signature of its peers.
        filter_size: number of taps, >= 1.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair.
        border: `reflect`, `replicate`, `circular` or `constant`.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> BlurPool2d()(torch.ones(1, 3, 7, 8)).shape
        torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self,
        channels: int | None = None,
        filter_size: int = 4,
        stride: int | tuple[int, int] = 2,
        border: F.Border = "reflect",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.filter_size = filter_size
        self.taps = binomial(filter_size)
        self.stride = stride
        self.border: F.Border = border

    def forward(self, image: Tensor) -> Tensor:
        """Blurs `(N, C, H, W)` or `(C, H, W)` to `ceil(H / stride)` by `ceil(W / stride)`."""
        return F.blur_downsample(image, self.taps, self.stride, border=self.border)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"filter_size={self.filter_size}, stride={self.stride}, border={self.border!r}"


class BlurPool1d(BlurPool2d):
    """The same along the last axis of a signal `(N, C, L)` or `(C, L)`.

    Args:
        channels: as in `BlurPool2d`.
        filter_size: number of taps, >= 1.
        stride: samples between outputs.
        border: as in `BlurPool2d`.

    Examples:
        >>> import torch
        >>> BlurPool1d()(torch.ones(1, 3, 9)).shape
        torch.Size([1, 3, 5])
    """

    def __init__(
        self,
        channels: int | None = None,
        filter_size: int = 4,
        stride: int = 2,
        border: F.Border = "reflect",
    ) -> None:
        if not isinstance(stride, int):
            raise TypeError(f"BlurPool1d: expected stride as an int, got {stride!r}")
        super().__init__(channels, filter_size, stride, border)
        self.stride: int = stride

    def forward(self, signal: Tensor) -> Tensor:
        """Blurs `(N, C, L)` or `(C, L)` to `ceil(L / stride)` samples."""
        taps = ((1.0,), self.taps)
        blurred = F.blur_downsample(
            signal.unsqueeze(-2), taps, (1, self.stride), border=self.border
        )
        return blurred.squeeze(-2)


class MaxBlurPool2d(BlurPool2d):
    """Takes the largest value of every window at stride 1, then blurs and downsamples.

    Args:
        kernel_size: height and width of the max window, an int or a pair.
        filter_size: number of taps of the blur, >= 1.
        stride: pixels between outputs.
        border: of the max map, as in `BlurPool2d`.
        max_pad: padding of the max window, as `torch.nn.MaxPool2d`'s `padding`.
        dilation: of the max window.
        ceil_mode: round the output size up, as in `max_blur_downsample`.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch
        >>> MaxBlurPool2d(kernel_size=2)(torch.ones(1, 3, 9, 9)).shape
        torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 2,
        filter_size: int = 4,
        stride: int | tuple[int, int] = 2,
        border: F.Border = "reflect",
        max_pad: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(None, filter_size, stride, border)
        self.kernel_size = kernel_size
        self.max_pad = max_pad
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, image: Tensor) -> Tensor:
        """Pools `(N, C, H, W)` or `(C, H, W)`."""
        return F.max_blur_downsample(
            image,
            self.kernel_size,
            self.taps,
            self.stride,
            border=self.border,
            max_pad=self.max_pad,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return (
            f"kernel_size={self.kernel_size}, {super().extra_repr()}, max_pad={self.max_pad}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )
