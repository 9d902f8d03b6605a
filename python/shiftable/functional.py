"""The public operators, and their reference documentation."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import index
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from shiftable import plain
from shiftable._ops import eager, keeps_channels_last, ops

Border = Literal["reflect", "replicate", "circular", "constant"]
Interpolation = Literal["linear", "cubic", "lanczos3"]
Norm = Literal["l1", "l2", "linf"]
Taps = Sequence[float] | tuple[Sequence[float], Sequence[float]]


def check_border(border: str) -> None:
    """Raises ValueError for an unknown border."""
    if border not in get_args(Border):
        raise ValueError(f"unknown border '{border}'; known: {', '.join(get_args(Border))}")


def _pair(value: int | Sequence[int]) -> list[int]:
    """One whole number for both axes, or a (vertical, horizontal) pair."""
    if isinstance(value, int):
        return [value, value]
    values = value if isinstance(value, Sequence) else [value, value]
    try:
        return [index(v) for v in values]
    except TypeError as error:
        raise TypeError(f"expected an int or a pair of them, got {value!r}") from error


def _taps_pair(taps: Taps) -> tuple[list[float], list[float]]:
    """One filter for both axes, or a (vertical, horizontal) pair of filters."""
    pair = len(taps) > 0 and isinstance(taps[0], Sequence)
    rows: Sequence[Any] = taps if pair else (taps, taps)
    if len(rows) != 2:
        raise ValueError(
            f"expected taps as one sequence or a pair of them, got {len(rows)} sequences"
        )
    vertical, horizontal = ([float(tap) for tap in row] for row in rows)
    return vertical, horizontal


def _channels(value: float | Sequence[float] | None) -> list[float] | None:
    """A per-channel argument as a list; one number serves every channel."""
    if value is None:
        return None
    return [float(value)] if isinstance(value, int | float) else [float(v) for v in value]


def _short_way(image: Tensor, make: Callable[..., Any], *arguments: Any) -> Tensor | None:
    """The result without the dispatcher, where the tensor and the arguments allow it."""
    ordinary = type(image) is Tensor or type(image) is nn.Parameter
    if eager is None or not ordinary or torch.compiler.is_compiling() or plain.asked():
        return None
    try:
        return eager.call(image, make(*arguments))  # type: ignore[no-any-return]
    except TypeError:  # what cannot be kept for the next call, or is wrong: the operator will say
        return None


def _check_kept(*arguments: Any) -> None:
    """Refuses what may change while it is kept, such as a tensor, which is found by its address."""
    for value in arguments:
        if isinstance(value, tuple):
            _check_kept(*value)
        elif not isinstance(value, int | float | str | None):
            raise TypeError(f"{type(value)} is not kept")


@lru_cache(256, typed=True)
def _blur_filter(
    taps: Taps, stride: int | tuple[int, int], border: str, pad: tuple[int, ...] | None
) -> Any:
    _check_kept(taps, stride, border, pad)
    return eager.Filter(*_taps_pair(taps), _pair(stride), border, pad)


@lru_cache(256, typed=True)
def _max_blur_filter(kernel_size: Any, taps: Taps, *arguments: Any) -> Any:
    _check_kept(kernel_size, taps, *arguments)
    stride, border, pad, max_pad, dilation, ceil_mode = arguments
    window = _pair(max_pad), _pair(dilation), ceil_mode
    return eager.Filter(_pair(kernel_size), *_taps_pair(taps), _pair(stride), border, pad, *window)


def blur_downsample(
    image: Tensor,
    taps: Taps,
    stride: int | tuple[int, int] = 2,
    *,
    border: Border = "reflect",
    pad: tuple[int, int, int, int] | None = None,
    prologue_scale: Tensor | None = None,
    prologue_bias: Tensor | None = None,
    prologue_relu: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Low-passes an image along rows and columns, then keeps every `stride`-th pixel.

    1. Every pixel x of channel c becomes `y = prologue_scale[c] * x + prologue_bias[c]`, and
       `max(y, 0)` with `prologue_relu`; without a prologue it stays as it is.
    2. Pixels outside the image follow `border`, which acts on the result of 1.
    3. `taps` are correlated along the height, then along the width.
    4. Of the result, rows 0, s, 2s, ... and columns 0, s, 2s, ... are computed, and no others.

    All in one pass: no padded copy and nothing of the image's size is written. A batch norm in
    evaluation is a prologue with `scale = weight / sqrt(running_var + eps)` and
    `bias = norm.bias - running_mean * scale`.

    Equals `image[..., ::s, ::s]` when `taps` is `(1.0,)`.

    Args:
        image: `(N, C, H, W)` or `(C, H, W)`; float32, float64, float16 or bfloat16; H, W >= 1; any
            strides. float16 and bfloat16 are summed in float32.
        taps: a sequence of numbers, or a (vertical, horizontal) pair of sequences; any length >= 1.
        stride: pixels between outputs, an int or a (vertical, horizontal) pair, >= 1.
        border: `reflect`, `replicate`, `circular` or `constant` (zero), as in
            `torch.nn.functional.pad`, but for any H, W >= 1 and any number of taps.
        pad: `(left, right, top, bottom)` pixels, negative to crop; by default `(k - 1) // 2` before
            and `k // 2` after for k taps, so that `ceil(H / stride)` rows come out.
        prologue_scale: `(C,)`, of any floating dtype; 1 by default.
        prologue_bias: `(C,)`, of any floating dtype; 0 by default.
        prologue_relu: cut off what is below 0.
        out: a tensor to write to in place of a new one, of the result's shape, dtype and memory
            format. No gradient passes it.

    Returns:
        `(N, C, H', W')` or `(C, H', W')` with `H' = (H + top + bottom - k) // stride + 1`, in the
        image's dtype, device and memory format.

    Raises:
        ValueError: for a shape, dtype, border, stride, taps or pad outside the above, or an `out`
            where a gradient is wanted.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.

    Examples:
        >>> import torch
        >>> image = torch.arange(16.0).reshape(1, 4, 4)
        >>> blur_downsample(image, (0.25, 0.5, 0.25))
        tensor([[[ 2.5000,  4.0000],
                 [ 8.5000, 10.0000]]])
        >>> torch.equal(blur_downsample(image, (1.0,)), image[..., ::2, ::2])
        True
        >>> blur_downsample(image, (1.0,), prologue_bias=torch.tensor([-5.0]), prologue_relu=True)
        tensor([[[0., 0.],
                 [3., 5.]]])
    """
    bare = prologue_scale is None and prologue_bias is None and not prologue_relu
    if bare and out is None:
        result = _short_way(image, _blur_filter, taps, stride, border, pad)
        if result is not None:
            return result
    blur = (*_taps_pair(taps), _pair(stride), border, None if pad is None else list(pad))
    if bare:
        return _run(ops.blur_downsample, ops.blur_downsample_out, (image, *blur), out)
    prologue = (
        _prologue(image, "prologue_scale", prologue_scale, 1.0),
        _prologue(image, "prologue_bias", prologue_bias, 0.0),
    )
    arguments = (image, *prologue, prologue_relu, *blur)
    return _run(ops.blur_downsample_prologue, ops.blur_downsample_prologue_out, arguments, out)


_PLAIN = {
    ops.blur_downsample: plain.blur_downsample,
    ops.blur_downsample_prologue: plain.blur_downsample_prologue,
    ops.max_blur_downsample: plain.max_blur_downsample,
}


def _run(operator: Any, into_out: Any, arguments: tuple[Any, ...], out: Tensor | None) -> Tensor:
    """Calls the operator, or its form that writes into `out`."""
    if out is None:
        if plain.asked():
            operator = _PLAIN[operator]
        return operator(*arguments)  # type: ignore[no-any-return]
    _refuse_gradient(operator.__name__, *arguments, out)
    into_out(*arguments, out)
    return out


def _refuse_gradient(name: str, *arguments: Any) -> None:
    """Refuses `out` where a gradient would be lost."""
    if torch.is_grad_enabled() and any(getattr(a, "requires_grad", False) for a in arguments):
        raise ValueError(
            f"{name}: expected no gradient with out, got a tensor that requires one; leave out "
            "away, or run under torch.no_grad()"
        )


def _prologue(image: Tensor, name: str, values: Tensor | None, default: float) -> Tensor:
    """One number a channel, in the dtype that the kernels sum in."""
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    channels = image.shape[-3] if image.dim() >= 3 else 0
    if values is None:
        return torch.full((channels,), default, dtype=dtype, device=image.device)
    if values.shape != (channels,) or not values.is_floating_point():
        raise ValueError(
            f"blur_downsample: expected {name} of shape ({channels},) and a floating dtype, got "
            f"{tuple(values.shape)} and {values.dtype}"
        )
    return values.to(dtype).contiguous()


def blur_upsample(
    image: Tensor,
    size: tuple[int, int],
    taps: Taps,
    stride: int | tuple[int, int] = 2,
    *,
    pad: tuple[int, int, int, int] | None = None,
) -> Tensor:
    """Puts pixels `stride` apart, zeros between them, and low-passes: a transposed blur.

    The transpose of `blur_downsample` with `border="constant"` and the same arguments, in one pass.

    Args:
        image: `(N, C, H, W)` or `(C, H, W)`; float32, float64, float16 or bfloat16; any strides.
        size: (H', W') of the result in pixels, which `blur_downsample` takes to (H, W).
        taps: as in `blur_downsample`; their sum is the stride's where brightness is to be kept.
        stride: as in `blur_downsample`.
        pad: as in `blur_downsample`: that of the large image.

    Returns:
        `(N, C, H', W')` or `(C, H', W')`, in the image's dtype, device and memory format.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Karras et al., Alias-Free Generative Adversarial Networks (NeurIPS 2021), section 3.

    Examples:
        >>> import torch
        >>> blur_upsample(torch.ones(1, 1, 2), (1, 4), ((1.0,), (0.5, 1.0, 0.5)), (1, 2))
        tensor([[[1.0000, 1.0000, 1.0000, 0.5000]]])
    """
    arguments = (
        image, *size, *_taps_pair(taps), _pair(stride), "constant",
        None if pad is None else list(pad),
    )  # fmt: skip
    operator = plain.blur_downsample_transpose if plain.asked() else ops.blur_downsample_transpose
    return operator(*arguments)


def max_blur_downsample(
    image: Tensor,
    kernel_size: int | tuple[int, int],
    taps: Taps,
    stride: int | tuple[int, int] = 2,
    *,
    border: Border = "reflect",
    pad: tuple[int, int, int, int] | None = None,
    max_pad: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Takes the largest value of every window at stride 1, then low-passes and downsamples.

    Equals `blur_downsample(max_pool2d(image, kernel_size, 1, max_pad, dilation), taps, stride)`;
    the border belongs to the max map.

    Args:
        image: `(N, C, H, W)` or `(C, H, W)`; float32, float64, float16 or bfloat16.
        kernel_size: height and width of the max window in pixels, an int or a pair.
        taps: as in `blur_downsample`.
        stride: as in `blur_downsample`.
        border: as in `blur_downsample`, of the max map.
        pad: as in `blur_downsample`, of the max map.
        max_pad: positions added around the image that are never the largest, at most half a window.
        dilation: pixels between neighbouring positions of the max window.
        ceil_mode: round the output size up, `ceil((Hm + top + bottom - k) / stride) + 1` rows for a
            max map of Hm rows, so that a ceil-mode pool keeps its size when it is mended (but for
            pools whose last window starts in the padding, which `torch.nn.MaxPool2d` drops).
        out: as in `blur_downsample`.

    Returns:
        The blurred, downsampled max map, in the image's dtype, device and memory format. NaN is the
        largest value; of equal values the first in row-major order receives the gradient.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Zhang, Making Convolutional Networks Shift-Invariant Again (ICML 2019), section 3.2.

    Examples:
        >>> import torch
        >>> image = torch.arange(16.0).reshape(1, 4, 4)
        >>> max_blur_downsample(image, 2, (0.5, 0.5), pad=(0, 1, 0, 1))
        tensor([[[ 7.5000,  8.5000],
                 [11.5000, 12.5000]]])
    """
    if out is None:
        pool = (kernel_size, taps, stride, border, pad, max_pad, dilation, ceil_mode)
        result = _short_way(image, _max_blur_filter, *pool)
        if result is not None:
            return result
    arguments = (
        image,
        _pair(kernel_size),
        *_taps_pair(taps),
        _pair(stride),
        border,
        None if pad is None else list(pad),
        _pair(max_pad),
        _pair(dilation),
        ceil_mode,
    )
    return _run(ops.max_blur_downsample, ops.max_blur_downsample_out, arguments, out)


def polyphase_norms(
    image: Tensor,
    taps: Taps = (1.0,),
    stride: int | tuple[int, int] = 2,
    *,
    border: Border = "circular",
    norm: Norm = "l2",
) -> Tensor:
    """Returns the norm of every polyphase component of a low-passed image.

    Component (i, j) holds rows i, i + s, ... and columns j, j + s, ... of the image that `taps` make
    at stride 1, in all channels. Each has `ceil(H / s)` rows and `ceil(W / s)` columns: past the end
    of an image whose size is no multiple of the stride, taps read what `border` continues it by. The
    low-passed image itself is never written.

    Args:
        image: `(N, C, H, W)` or `(C, H, W)`; float32, float64, float16 or bfloat16; H, W >= 1; any
            strides.
        taps: as in `blur_downsample`; by default none but one, which leaves the image as it is.
        stride: as in `blur_downsample`, up to 64.
        border: as in `blur_downsample`.
        norm: `l1` (sum of magnitudes), `l2` (root of the sum of squares) or `linf` (the largest
            magnitude).

    Returns:
        `(N, sy * sx)` or `(sy * sx,)`, phase (i, j) at `i * sx + j`; float64 for a float64 image,
        else float32; on the image's device. The same for any number of threads. No gradient passes.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Chaman and Dokmanic, Truly shift-invariant convolutional neural networks (CVPR 2021),
        section 3.

    Examples:
        >>> import torch
        >>> polyphase_norms(torch.arange(16.0).reshape(1, 4, 4), norm="l1")
        tensor([20., 24., 36., 40.])
    """
    arguments = (*_taps_pair(taps), _pair(stride), border, norm)
    operator = plain.polyphase_norms if plain.asked() else ops.polyphase_norms
    return operator(image.detach(), *arguments)


def polyphase_downsample(
    image: Tensor,
    taps: Taps = (1.0,),
    stride: int | tuple[int, int] = 2,
    *,
    border: Border = "circular",
    phase: Tensor | None = None,
    norm: Norm = "l2",
) -> tuple[Tensor, Tensor]:
    """Low-passes an image and keeps, of each sample, the polyphase component of largest norm.

    Adaptive polyphase sampling. With a circular border and a size that is a multiple of the stride,
    a rolled image has the same components in another order, and rolled by whole pixels: the same
    component is chosen, wherever the norms of two differ by more than their rounding.

    Component (i, j) equals `blur_downsample(image, taps, s, border=border, pad=(left - j, right + j,
    top - i, bottom + i))`, with that function's default pad, bit for bit on the CPU; and
    `image[..., i::s, j::s]` when `taps` is `(1.0,)` and the size a multiple of the stride.

    Args:
        image: as in `polyphase_norms`.
        taps: as in `polyphase_norms`.
        stride: as in `polyphase_norms`.
        border: as in `polyphase_norms`.
        phase: int64, `(N,)`, or one number for all samples, `(1,)` or `()`: the components to take,
            `i * sx + j`, for a branch that follows another's choice; on the image's device. On a
            GPU nobody looks at them: what is no phase counts as the nearest. By default, of each
            sample the one of largest norm, the first of equals (`torch.argmax`).
        norm: as in `polyphase_norms`; unused where `phase` is given.

    Returns:
        The component, `(N, C, ceil(H / s), ceil(W / s))` or `(C, ceil(H / s), ceil(W / s))` in the
        image's dtype, device and memory format; and the phase, as given, or int64 `(N,)`, `()` for
        `(C, H, W)`. The gradient is that of the chosen component.

    Raises:
        ValueError: for an argument outside the above.

    References:
        Chaman and Dokmanic, Truly shift-invariant convolutional neural networks (CVPR 2021),
        section 3.

    Examples:
        >>> import torch
        >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> polyphase_downsample(image)
        (tensor([[[[ 5.,  7.],
                  [13., 15.]]]]), tensor([3]))
        >>> polyphase_downsample(torch.roll(image, 1, 3))
        (tensor([[[[ 7.,  5.],
                  [15., 13.]]]]), tensor([2]))
    """
    if phase is None:
        phase = polyphase_norms(image, taps, stride, border=border, norm=norm).argmax(-1)
    filtered = (*_taps_pair(taps), _pair(stride), border)
    operator = plain.polyphase_downsample if plain.asked() else ops.polyphase_downsample
    return operator(image, phase, *filtered), phase


def take_windows(
    images: Tensor,
    corners: Tensor,
    size: tuple[int, int],
    *,
    border: Border = "constant",
    fill: float | Sequence[float] | None = None,
    interpolation: Interpolation = "linear",
    scale: float | Sequence[float] | None = None,
    bias: float | Sequence[float] | None = None,
    dtype: torch.dtype | None = None,
    memory_format: torch.memory_format | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Cuts windows out of images, at any position, inside an image or not.

    1. Pixel (i, j) of a window reads position (y + i, x + j) of its image, (y, x) its corner.
    2. Positions outside the image follow `border`; for `constant` they read `fill`.
    3. Positions between pixels are interpolated, along the height and then along the width.
    4. The value becomes `value * scale + bias` and is cast to `dtype`.

    Equals `images[..., y:y + h, x:x + w]` for a whole corner inside the image, and `torch.roll` for
    full-size windows and the circular border.

    Args:
        images: `(N, C, H, W)`; uint8, float32, float64, float16 or bfloat16; any strides.
        corners: `(S, 2)` for all images or `(N, S, 2)`, the (y, x) of each window's top-left pixel,
            in pixels; an integer dtype for whole corners, a floating dtype for fractional ones. On
            the CPU, within 2^40 pixels; or beside images on a GPU, where nobody looks at them: what
            lies further off counts as that far, NaN as 0.
        size: `(h, w)` of a window in pixels.
        border: `reflect`, `replicate`, `circular` or `constant`.
        fill: what lies outside a `constant` border, one value or one a channel, in input units
            (before scale and bias); 0 by default.
        interpolation: for fractional corners: `linear`, `cubic` (a = -0.5) or `lanczos3`; the taps
            sum to 1.
        scale: factor, one value or one a channel.
        bias: term added after the factor, one value or one a channel.
        dtype: of the result; by default the images' own, or float32 for uint8 images unless the
            corners are whole and neither scale nor bias is given.
        memory_format: `torch.contiguous_format` or `torch.channels_last` (of the flattened
            `(N * S, C, h, w)`); by default that of the images.
        out: a tensor `(N, S, C, h, w)` to write to, contiguous or channels_last, in place of a new
            one; its dtype and memory format are those of the result. No gradient passes it.

    Returns:
        `(N, S, C, h, w)`.

    Raises:
        ValueError: for an argument outside the above, or corners that require a gradient: they have
            none (images of a floating dtype do).

    References:
        Keys, Cubic convolution interpolation for digital image processing (1981), for `cubic`.

    Examples:
        >>> import torch
        >>> image = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> take_windows(image, torch.tensor([[1, 1], [-1, 0]]), (2, 2)).flatten(0, 2)
        tensor([[[4., 5.],
                 [7., 8.]],
        <BLANKLINE>
                [[0., 0.],
                 [0., 1.]]])
    """
    if corners.requires_grad:
        raise ValueError(
            "take_windows: expected corners without gradient (windows have none with respect to "
            "their position), got corners that require it; pass corners.detach()"
        )
    if out is not None:
        return _windows_into(
            out, images, corners, tuple(size), border, fill, interpolation, scale, bias,
            dtype, memory_format,
        )  # fmt: skip
    if dtype is None:
        plain = not corners.is_floating_point() and scale is None and bias is None
        whole = images.dtype == torch.uint8 and not plain
        dtype = torch.float32 if whole else images.dtype
    if memory_format is None:
        channels_last = keeps_channels_last(images)
    elif memory_format in (torch.contiguous_format, torch.channels_last):
        channels_last = memory_format == torch.channels_last
    else:
        raise ValueError(
            "take_windows: expected memory_format torch.contiguous_format or torch.channels_last, "
            f"got {memory_format}"
        )
    return ops.take_windows(  # type: ignore[no-any-return]
        images,
        corners,
        list(size),
        border,
        _channels(fill),
        interpolation,
        _channels(scale),
        _channels(bias),
        dtype,
        channels_last,
    )


def _windows_into(
    out: Tensor,
    images: Tensor,
    corners: Tensor,
    size: tuple[int, ...],
    border: str,
    fill: float | Sequence[float] | None,
    interpolation: str,
    scale: float | Sequence[float] | None,
    bias: float | Sequence[float] | None,
    dtype: torch.dtype | None,
    memory_format: torch.memory_format | None,
) -> Tensor:
    """`take_windows` with `out`."""
    _refuse_gradient("take_windows", images, out)
    if tuple(out.shape[-2:]) != size or dtype not in (None, out.dtype) or memory_format is not None:
        raise ValueError(
            f"take_windows: expected out of size {size} and dtype {dtype or out.dtype}, which also "
            f"says the memory format, got {tuple(out.shape)} and {out.dtype}"
        )
    ops.take_windows_out(
        images, corners, border, _channels(fill), interpolation, _channels(scale), _channels(bias), out
    )  # fmt: skip
    return out
