"""The layers of composer's BlurPool algorithm: always three taps, 1 2 1, over zeros."""

from copy import deepcopy

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.compat.kept_filter import KeptFilter


class BlurPool2d(KeptFilter):
    """Low-passes with the taps 1 2 1, then keeps every `stride`-th pixel.

    Equals composer's `BlurPool2d`, state dict included.

    Args:
        channels: rows of the buffer `blur_filter`, where more than 0, or 1; images may have any
            number.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair.
        padding: has no effect, in composer neither: there is always one pixel of zeros.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> BlurPool2d()(torch.ones(1, 1, 4, 4))
        tensor([[[[0.5625, 0.7500],
                  [0.7500, 1.0000]]]])
        >>> BlurPool2d()(torch.ones(1, 1, 1, 1))
        tensor([[[[0.2500]]]])
    """

    def __init__(
        self, channels: int = 0, stride: int | tuple[int, int] = 2, padding: int = 1
    ) -> None:
        super().__init__("blur_filter", (max(channels, 1), 1, 3, 3))
        self.channels, self.stride, self.padding = channels, stride, padding

    def forward(self, input: Tensor) -> Tensor:
        """Blurs `(N, C, H, W)` or `(C, H, W)` to `ceil(H / stride)` rows."""
        return F.blur_downsample(input, self.taps, self.stride, border="constant")

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"channels={self.channels}, stride={self.stride}"


class BlurMaxPool2d(KeptFilter):
    """Takes the largest value of every window at stride 1, then blurs and downsamples.

    Equals composer's `BlurMaxPool2d`, state dict (`filt2d`) included.

    Args:
        kernel_size: height and width of the max window, an int or a pair.
        stride: pixels between outputs; by default `kernel_size`.
        padding: of the max window, as `torch.nn.MaxPool2d`'s.
        dilation: of the max window.
        ceil_mode: has no effect, in composer neither: at stride 1 there is nothing to round.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch
        >>> BlurMaxPool2d(3, 2, 1)(torch.ones(1, 1, 8, 8)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__("filt2d", (1, 1, 3, 3))
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    @staticmethod
    def from_maxpool2d(module: nn.MaxPool2d, module_index: int = -1) -> "BlurMaxPool2d":
        """Returns the layer in place of a max pool."""
        return BlurMaxPool2d(
            module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
        )

    def forward(self, input: Tensor) -> Tensor:
        """Pools `(N, C, H, W)` or `(C, H, W)`."""
        return F.max_blur_downsample(
            input,
            self.kernel_size,
            self.taps,
            self.stride,
            border="constant",
            max_pad=self.padding,
            dilation=self.dilation,
        )

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}"
        )


class BlurConv2d(KeptFilter):
    """A strided convolution with a blur before it, or at stride 1 with a blur and stride after it.

    Equals composer's `BlurConv2d`, state dict (`conv.weight`, `conv.bias`, `blur_filter`) included.

    Args:
        in_channels: as in `torch.nn.Conv2d`, with all to `bias`.
        out_channels: see `in_channels`.
        kernel_size: see `in_channels`.
        stride: see `in_channels`; by default 1, or `kernel_size` where the blur comes last.
        padding: see `in_channels`.
        dilation: see `in_channels`.
        groups: see `in_channels`.
        bias: see `in_channels`.
        blur_first: blur at stride 1 and convolve with the stride: cheap. Else convolve at stride 1
            and blur with the stride, as the reference has it: `stride ** 2` as dear.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch
        >>> layer = BlurConv2d(3, 8, 3, stride=2, padding=1)
        >>> layer(torch.ones(1, 3, 9, 9)).shape
        torch.Size([1, 8, 5, 5])
        >>> sorted(layer.state_dict())
        ['blur_filter', 'conv.bias', 'conv.weight']
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        blur_first: bool = True,
    ) -> None:
        super().__init__("blur_filter", (in_channels if blur_first else out_channels, 1, 3, 3))
        self.blur_first = blur_first
        if stride is None:
            stride = 1 if blur_first else kernel_size
        strides = (stride, 1) if blur_first else (1, stride)
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, strides[0], padding, dilation, groups, bias
        )
        self.blur_stride = strides[1]

    @staticmethod
    def from_conv2d(
        module: nn.Conv2d, module_index: int = -1, blur_first: bool = True
    ) -> "BlurConv2d":
        """Returns the layer in place of a convolution, with a copy of its weights."""
        stride = (module.stride[0], module.stride[1])
        layer = BlurConv2d(
            module.in_channels, module.out_channels, 1, stride, blur_first=blur_first
        )
        layer.conv = deepcopy(module)  # and so its padding mode, device and dtype
        if not blur_first:
            layer.conv.stride = (1, 1)
        return layer.to(module.weight.device)

    def forward(self, input: Tensor) -> Tensor:
        """Convolves `(N, C, H, W)` or `(C, H, W)`."""
        if self.blur_first:
            return self.conv(self._blurred(input))  # type: ignore[no-any-return]
        return self._blurred(self.conv(input))

    def _blurred(self, image: Tensor) -> Tensor:
        return F.blur_downsample(image, self.taps, self.blur_stride, border="constant")

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"blur_first={self.blur_first}, blur_stride={self.blur_stride}"
