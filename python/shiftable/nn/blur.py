"""Pooling that low-passes before it downsamples."""

from collections.abc import Sequence

from torch import Tensor, nn

from shiftable import functional as F  # noqa: N812
from shiftable.filters import Filter, named

Pad = tuple[int, int, int, int]


def _taps(filter: Filter | tuple[Filter, Filter], size: int) -> F.Taps:
    """One filter for both axes, or a (vertical, horizontal) pair."""
    if isinstance(filter, tuple) and len(filter) == 2 and isinstance(filter[0], Sequence):
        vertical, horizontal = filter
        return named(vertical, size), named(horizontal, size)
    return named(filter, size)


def _size(taps: F.Taps) -> int | tuple[int, int]:
    if not isinstance(taps[0], Sequence):
        return len(taps)
    vertical, horizontal = (len(row) for row in taps)  # type: ignore[arg-type]
    return vertical if vertical == horizontal else (vertical, horizontal)


class BlurPool2d(nn.Module):
    """Low-passes, then keeps every `stride`-th pixel, in one pass.

    Args:
        channels: ignored, any number is accepted at run time; kept for the signature of its peers.
        filter_size: number of taps of a named filter, >= 1.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair.
        border: `reflect`, `replicate`, `circular` or `constant` (zero).
        filter: a name of `shiftable.filters` or taps, or a (vertical, horizontal) pair of these.
            An axis of stride 1 is filtered, too.
        pad: `(left, right, top, bottom)` as in `blur_downsample`, which has a default.

    Raises:
        ValueError: for an unknown filter or border, or a size less than 1.

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
        *,
        filter: Filter | tuple[Filter, Filter] = "binomial",
        pad: Pad | None = None,
    ) -> None:
        super().__init__()
        F.check_border(border)
        self.channels = channels
        self.filter = filter if isinstance(filter, str) else "given"
        self.taps: F.Taps = _taps(filter, filter_size)
        self.filter_size = _size(self.taps)
        self.stride = stride
        self.border: F.Border = border
        self.pad = pad

    def forward(self, image: Tensor) -> Tensor:
        """Blurs `(N, C, H, W)` or `(C, H, W)` to `ceil(H / stride)` by `ceil(W / stride)`."""
        return F.blur_downsample(image, self.taps, self.stride, border=self.border, pad=self.pad)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        pad = "" if self.pad is None else f", pad={self.pad}"
        return f"{self.filter}, filter_size={self.filter_size}, stride={self.stride}, border={self.border!r}{pad}"


class BlurPool1d(BlurPool2d):
    """The same along the last axis of a signal `(N, C, L)` or `(C, L)`.

    Args:
        channels: as in `BlurPool2d`.
        filter_size: as in `BlurPool2d`.
        stride: samples between outputs.
        border: as in `BlurPool2d`.
        filter: as in `BlurPool2d`.
        pad: samples `(before, after)`.

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
        *,
        filter: Filter = "binomial",
        pad: tuple[int, int] | None = None,
    ) -> None:
        if not isinstance(stride, int):
            raise TypeError(f"BlurPool1d: expected stride as an int, got {stride!r}")
        both = None if pad is None else (*pad, 0, 0)
        along = ((1.0,), named(filter, filter_size))
        super().__init__(channels, filter_size, stride, border, filter=along, pad=both)
        self.filter = filter if isinstance(filter, str) else "given"
        self.filter_size = len(along[1])
        self.stride: int = stride

    def forward(self, signal: Tensor) -> Tensor:
        """Blurs `(N, C, L)` or `(C, L)` to `ceil(L / stride)` samples."""
        blurred = F.blur_downsample(
            signal.unsqueeze(-2), self.taps, (1, self.stride), border=self.border, pad=self.pad
        )
        return blurred.squeeze(-2)


class BlurPool3d(nn.Module):
    """The same along the last three axes of a volume `(N, C, D, H, W)` or `(C, D, H, W)`.

    Args:
        channels: as in `BlurPool2d`.
        filter_size: as in `BlurPool2d`.
        stride: voxels between outputs, an int or a (depth, vertical, horizontal) triple.
        border: as in `BlurPool2d`.
        filter: as in `BlurPool2d`, the same along all three axes.

    Examples:
        >>> import torch
        >>> BlurPool3d(stride=(1, 2, 2))(torch.ones(1, 3, 5, 9, 8)).shape
        torch.Size([1, 3, 5, 5, 4])
    """

    def __init__(
        self,
        channels: int | None = None,
        filter_size: int = 4,
        stride: int | tuple[int, int, int] = 2,
        border: F.Border = "reflect",
        *,
        filter: Filter = "binomial",
    ) -> None:
        super().__init__()
        strides = (stride,) * 3 if isinstance(stride, int) else tuple(stride)
        if len(strides) != 3:
            raise ValueError(f"BlurPool3d: expected stride as an int or three, got {stride!r}")
        depth, *plane = strides
        self.plane = BlurPool2d(channels, filter_size, (plane[0], plane[1]), border, filter=filter)
        self.depth = BlurPool2d(
            channels, filter_size, (depth, 1), border, filter=(named(filter, filter_size), (1.0,))
        )

    def forward(self, volume: Tensor) -> Tensor:
        """Blurs each axis to `ceil(size / stride)` voxels."""
        if volume.ndim not in (4, 5):
            raise ValueError(
                f"BlurPool3d: expected (N, C, D, H, W) or (C, D, H, W), got {tuple(volume.shape)}"
            )
        # Each plane by itself, then lines along the depth, with a plane's pixels side by side.
        depth = volume.shape[-3]
        planes = self.plane(volume.flatten(-4, -3))
        size = planes.shape[-2:]
        lines = planes.unflatten(-3, (-1, depth)).flatten(-2)
        return self.depth(lines).unflatten(-1, size)  # type: ignore[no-any-return]


class MaxBlurPool2d(BlurPool2d):
    """Takes the largest value of every window at stride 1, then blurs and downsamples.

    Args:
        kernel_size: height and width of the max window, an int or a pair.
        filter_size: number of taps of a named filter, >= 1.
        stride: pixels between outputs.
        border: of the max map, as in `BlurPool2d`.
        max_pad: padding of the max window, as `torch.nn.MaxPool2d`'s `padding`.
        dilation: of the max window.
        ceil_mode: round the output size up, as in `max_blur_downsample`.
        filter: as in `BlurPool2d`.
        pad: of the blur, as in `BlurPool2d`.

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
        *,
        filter: Filter | tuple[Filter, Filter] = "binomial",
        pad: Pad | None = None,
    ) -> None:
        super().__init__(None, filter_size, stride, border, filter=filter, pad=pad)
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
            pad=self.pad,
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
