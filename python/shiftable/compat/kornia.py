"""The blur layers and functions of kornia 0.9, and by `symmetric_pad` those before it."""

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import binomial

_Taps = tuple[tuple[float, ...], tuple[float, ...]]
_Pad = tuple[int, int, int, int]


def _filter(kernel_size: int | tuple[int, int], symmetric_pad: bool) -> tuple[_Taps, _Pad | None]:
    """The taps, and the pad where it is not `blur_downsample`'s own."""
    height, width = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
    taps = (binomial(height), binomial(width))
    y, x = (height - 1) // 2, (width - 1) // 2
    return taps, (x, x, y, y) if symmetric_pad else None


def blur_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] = 2,
    *,
    symmetric_pad: bool = False,
) -> Tensor:
    """Low-passes an image over zeros with a binomial filter, then keeps every `stride`-th pixel.

    Equals `kornia.filters.blur_pool2d`. Beyond it: `kernel_size` and `stride` of two numbers.

    Args:
        input: `(N, C, H, W)` or `(C, H, W)`; float32, float64, float16 or bfloat16.
        kernel_size: number of taps, an int or a (vertical, horizontal) pair, >= 1.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair.
        symmetric_pad: kornia's sizes before 0.9.0. k taps had `(k - 1) // 2` zeros after the image
            as before it, so that an even k lost pixels: `(H + 2 * ((k - 1) // 2) - k) // stride + 1`
            rows. Since 0.9.0, and by default here, there are `k // 2` after: `ceil(H / stride)`.

    Returns:
        The blurred image in the dtype, device and memory format of `input`.

    Raises:
        ValueError: for an argument outside the above, integer images among them.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> blur_pool2d(torch.ones(1, 1, 4, 4), 3)
        tensor([[[[0.5625, 0.7500],
                  [0.7500, 1.0000]]]])
        >>> blur_pool2d(torch.ones(1, 1, 7, 7), 4).shape
        torch.Size([1, 1, 4, 4])
        >>> blur_pool2d(torch.ones(1, 1, 7, 7), 4, symmetric_pad=True).shape
        torch.Size([1, 1, 3, 3])
    """
    taps, pad = _filter(kernel_size, symmetric_pad)
    return F.blur_downsample(input, taps, stride, border="constant", pad=pad)


def max_blur_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] = 2,
    max_pool_size: int | tuple[int, int] = 2,
    ceil_mode: bool | None = False,
    *,
    symmetric_pad: bool = False,
) -> Tensor:
    """Takes the largest value of every window at stride 1, then does as `blur_pool2d`.

    Equals `kornia.filters.max_blur_pool2d`.

    Args:
        input: `(N, C, H, W)` or `(C, H, W)`, H and W at least `max_pool_size`.
        kernel_size: of the blur, as in `blur_pool2d`.
        stride: as in `blur_pool2d`.
        max_pool_size: height and width of the max window, an int or a pair.
        ceil_mode: has no effect, in kornia neither: at stride 1 there is nothing to round.
        symmetric_pad: as in `blur_pool2d`.

    Returns:
        The blurred max map, as `blur_pool2d` of a map of `H - max_pool_size + 1` rows.

    Raises:
        ValueError: for an argument outside the above, integer images among them.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch
        >>> max_blur_pool2d(torch.ones(1, 1, 4, 4), 3).shape
        torch.Size([1, 1, 2, 2])
    """
    taps, pad = _filter(kernel_size, symmetric_pad)
    return F.max_blur_downsample(input, max_pool_size, taps, stride, border="constant", pad=pad)


class BlurPool2D(nn.Module):
    """`blur_pool2d` as a layer, without state. Equals `kornia.filters.BlurPool2D`.

    Args:
        kernel_size: as in `blur_pool2d`.
        stride: as in `blur_pool2d`.
        symmetric_pad: as in `blur_pool2d`.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> BlurPool2D((3, 5))(torch.ones(1, 1, 7, 8)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 2,
        *,
        symmetric_pad: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.symmetric_pad = symmetric_pad
        self.taps, self.pad = _filter(kernel_size, symmetric_pad)

    def forward(self, input: Tensor) -> Tensor:
        """Blurs `(N, C, H, W)` or `(C, H, W)`."""
        return F.blur_downsample(input, self.taps, self.stride, border="constant", pad=self.pad)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"symmetric_pad={self.symmetric_pad}"
        )


class MaxBlurPool2D(BlurPool2D):
    """`max_blur_pool2d` as a layer, without state. Equals `kornia.filters.MaxBlurPool2D`.

    Args:
        kernel_size: of the blur, as in `blur_pool2d`.
        stride: as in `blur_pool2d`.
        max_pool_size: as in `max_blur_pool2d`.
        ceil_mode: has no effect, as in `max_blur_pool2d`.
        symmetric_pad: as in `blur_pool2d`.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch
        >>> MaxBlurPool2D(3)(torch.ones(1, 1, 9, 9)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 2,
        max_pool_size: int | tuple[int, int] = 2,
        ceil_mode: bool | None = False,
        *,
        symmetric_pad: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, symmetric_pad=symmetric_pad)
        self.max_pool_size, self.ceil_mode = max_pool_size, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """Pools `(N, C, H, W)` or `(C, H, W)`."""
        return F.max_blur_downsample(
            input, self.max_pool_size, self.taps, self.stride, border="constant", pad=self.pad
        )

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"{super().extra_repr()}, max_pool_size={self.max_pool_size}"
