"""Runs a network as if every map were a torus: borders without an edge."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from shiftable._ops import ops as ours
from shiftable.convert.trace import aten


class CircularPadding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes convolutions, pools, paddings and blurs of maps (N, C, H, W) wrap around.

    Whatever an operation pads, with whatever values, what lies beyond one side is taken from the
    other; the first row and column of its result stay where they are, and `ceil(n / stride)` come
    out. So a map whose size is divided by all strides has no border at all, and what is left of a
    network's error of equivariance on its grid is 0, but for rounding. Transposed convolutions and
    interpolations stay as they are, and so does the size of what was padded where no convolution or
    pool follows at once.

    Examples:
        >>> import torch
        >>> image, net = torch.rand(1, 1, 8, 8), torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)
        >>> with torch.no_grad(), CircularPadding():
        ...     moved = net(image.roll(2, -1))
        ...     torch.equal(moved, net(image).roll(1, -1))
        True
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # What a padding made, by id: itself (so that the id is not used again), what it was made
        # of, and the (top, left) pixels before that.
        self._padded: dict[int, tuple[Tensor, Tensor, tuple[int, int]]] = {}
        self._constant = _Constant()

    def __enter__(self) -> "CircularPadding":
        self._constant.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        self._padded.clear()
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self._constant.__exit__(*exception)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        rule = _RULES.get(function.overloadpacket)
        changed = None if rule is None or kwargs else rule(self, list(args))
        if isinstance(changed, Tensor):
            return changed
        return function(*(args if changed is None else changed), **(kwargs or {}))

    def _wrapped(
        self, image: Tensor, kernel: Sequence[int], stride: Sequence[int], before: Sequence[int]
    ) -> Tensor:
        """The image with what a window of `kernel` pixels needs around it, for no padding."""
        if id(image) in self._padded:  # a padding of its own comes first
            _, image, own = self._padded[id(image)]
            before = [one + more for one, more in zip(before, own, strict=True)]
        for axis in (0, 1):
            size = image.shape[axis - 2]
            after = _after(size, kernel[axis], stride[axis], before[axis])
            image = _wrap(image, axis - 2, before[axis], after)
        return image

    def _convolution(self, args: list[Any]) -> list[Any] | None:
        image, weight, _, stride, padding, dilation, transposed = args[:7]
        if transposed or image.ndim != 4:
            return None
        kernel = _reach(weight.shape[2:], _pair(dilation))
        args[0] = self._wrapped(image, kernel, _pair(stride), _pair(padding))
        args[4] = [0, 0]
        return args

    def _pool(self, args: list[Any], dilated: bool) -> list[Any] | None:
        image, kernel = args[0], _pair(args[1])
        if image.ndim != 4:
            return None
        args += [[], 0, 1][len(args) - 2 :] if dilated else [[], 0][len(args) - 2 :]
        before = _pair(args[3])
        if max(before) == 0 and kernel == list(image.shape[2:]):
            return None  # a global pool has no border
        reach = _reach(kernel, _pair(args[4])) if dilated else kernel
        stride = _pair(args[2] or kernel)
        args[0] = self._wrapped(image, reach, stride, before)
        args[2], args[3] = stride, [0, 0]
        if len(args) > 4 + dilated:
            args[4 + dilated] = False  # no window hangs over the edge any more
        return args

    def _max_pool(self, args: list[Any]) -> list[Any] | None:
        return self._pool(args, dilated=True)

    def _average_pool(self, args: list[Any]) -> list[Any] | None:
        return self._pool(args, dilated=False)

    def _pad(self, args: list[Any]) -> Tensor | None:
        image, pad = args[0], list(args[1])
        if image.ndim != 4 or len(pad) > 4 or min(pad) < 0:
            return None
        left, right, top, bottom = [*pad, 0, 0][:4]
        padded = _wrap(_wrap(image, -1, left, right), -2, top, bottom)
        self._padded[id(padded)] = padded, image, (top, left)
        return padded

    def _blur(self, args: list[Any], taps: int, size: Sequence[int] | None = None) -> list[Any]:
        """Behind the taps of both axes come the stride, the border and the pad."""
        size = args[0].shape[-2:] if size is None else size
        kernel = [len(args[taps]), len(args[taps + 1])]
        stride, pad = args[taps + 2], args[taps + 4]
        args[taps + 3] = "circular"
        if pad is not None:  # else as many pixels come out as are wanted
            left, _, top, _ = pad
            right, bottom = (
                _after(size[axis], kernel[axis], stride[axis], before)
                for axis, before in ((1, left), (0, top))
            )
            args[taps + 4] = [left, right, top, bottom]
        return args

    def _plain_blur(self, args: list[Any]) -> list[Any]:
        return self._blur(args, 1)

    def _prologue_blur(self, args: list[Any]) -> list[Any]:
        return self._blur(args, 4)

    def _max_blur(self, args: list[Any]) -> list[Any]:
        size = args[0].shape[-2:]
        # The max's own padding first, so that its map is as large as the image.
        args[0] = self._wrapped(args[0], _reach(args[1], args[8]), [1, 1], args[7])
        args[7], args[9] = [0, 0], False
        return self._blur(args, 2, size)

    def _polyphase(self, args: list[Any]) -> list[Any]:
        args[5 if isinstance(args[1], Tensor) else 4] = "circular"  # a phase comes first, or none
        return args


class _Constant(TorchFunctionMode):
    """Makes circular paddings constant ones: below, the dispatcher sees them as copies only."""

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if function in (F.pad, torch._C._nn.pad):
            mode = args[2] if len(args) > 2 else kwargs.get("mode")
            if mode == "circular":
                return function(
                    *args[:2], **{k: v for k, v in kwargs.items() if k in ("input", "pad")}
                )
        return function(*args, **kwargs)


def _after(size: int, kernel: int, stride: int, before: int) -> int:
    """Pixels after an axis, so that `ceil(size / stride)` windows fit."""
    return (-(-size // stride) - 1) * stride + kernel - size - before


def _reach(kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]


def _pair(values: Any) -> list[int]:
    both: list[int] = [values] if isinstance(values, int) else list(values)
    return both * 2 if len(both) == 1 else both


def _wrap(image: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Pixels from the other side; negative numbers take away."""
    if before == after == 0:
        return image
    size = image.shape[axis]
    if 0 <= before <= size and 0 <= after <= size:  # the quicker way
        ends = image.narrow(axis, size - before, before), image.narrow(axis, 0, after)
        return torch.cat([ends[0], image, ends[1]], axis)
    at = torch.arange(-before, size + after, device=image.device) % size
    return image.index_select(axis, at)


_RULES: dict[Any, Callable[[CircularPadding, list[Any]], Any]] = {
    aten.convolution: CircularPadding._convolution,
    aten.max_pool2d: CircularPadding._max_pool,
    aten.max_pool2d_with_indices: CircularPadding._max_pool,
    aten.avg_pool2d: CircularPadding._average_pool,
    aten.constant_pad_nd: CircularPadding._pad,
    aten.reflection_pad2d: CircularPadding._pad,
    aten.replication_pad2d: CircularPadding._pad,
    ours.blur_downsample: CircularPadding._plain_blur,
    ours.blur_downsample_prologue: CircularPadding._prologue_blur,
    ours.max_blur_downsample: CircularPadding._max_blur,
    ours.polyphase_downsample: CircularPadding._polyphase,
    ours.polyphase_norms: CircularPadding._polyphase,
}
