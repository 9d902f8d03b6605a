"""Downsampling by the ideal low-pass filter."""

import math

import torch
from torch import Tensor, nn


class IdealDownsample2d(nn.Module):
    """Removes every frequency at and above the new Nyquist limit, then keeps every `stride`-th pixel.

    The image is taken to be periodic. Any size: rows 0, s, 2s, ... are kept. The frequency at the
    limit itself, `1 / (2 * stride)` cycles/pixel, is removed too: after the stride its phase is
    lost, so that it could not follow a shift.

    Written as one matrix an axis, each a sum of cosines: the same numbers as by way of the Fourier
    transform, in any floating dtype, and for maps of the usual sizes no slower.

    Args:
        stride: pixels between outputs, an int or a (vertical, horizontal) pair, >= 1.

    Raises:
        ValueError: for a stride less than 1.

    References:
        Grabinski et al., FrequencyLowCut Pooling (ECCV 2022); Michaeli et al., Alias-Free Convnets
        (CVPR 2023), section 3.

    Examples:
        >>> import torch
        >>> wave = torch.cos(torch.arange(8) * 2 * torch.pi * 3 / 8).expand(1, 1, 8, 8)
        >>> IdealDownsample2d()(wave).abs().max() < 1e-6  # 3/8 cycles/pixel: above 1/4
        tensor(True)
    """

    def __init__(self, stride: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        if len(self.stride) != 2 or min(self.stride) < 1:
            raise ValueError(f"IdealDownsample2d: expected stride >= 1, got {stride!r}")

    def forward(self, image: Tensor) -> Tensor:
        """Downsamples `(N, C, H, W)` or `(C, H, W)` to `ceil(H / stride)` by `ceil(W / stride)`.

        Raises:
            ValueError: for an image of another shape, or one that is not floating.
        """
        if image.ndim not in (3, 4) or not image.is_floating_point() or 0 in image.shape[-2:]:
            raise ValueError(
                "IdealDownsample2d: expected a floating image (N, C, H, W) or (C, H, W) with H, W >= "
                f"1, got {tuple(image.shape)} of {image.dtype}"
            )
        vertical, horizontal = (
            _low_pass(size, step, image)
            for size, step in zip(image.shape[-2:], self.stride, strict=True)
        )
        return vertical @ (image @ horizontal.mT)

    def extra_repr(self) -> str:
        """Returns the arguments, for printing."""
        return f"stride={self.stride}"


def _low_pass(size: int, stride: int, like: Tensor) -> Tensor:
    """The matrix (ceil(size / stride), size) of low-pass and downsampling."""
    position = torch.arange(size, device=like.device)
    kernel = (position == 0).double()
    if stride > 1:
        # The sum of all whole frequencies below the limit: Dirichlet's kernel.
        waves = 2 * (math.ceil(size / (2 * stride)) - 1) + 1
        angle = torch.pi * position.double() / size
        kernel = torch.where(position == 0, waves, (waves * angle).sin() / angle.sin()) / size
    distance = position[::stride, None] - position
    return kernel[distance % size].to(like.dtype)
