"""What every operator is tested on: dtypes, shapes, layouts in memory, and how close is right."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]

# Widths and channels lie around the vectors of a kernel: at 16, 32 and 64, one less and one more.
SHAPES = [
    (3, 5, 7),
    (1, 1, 1, 1),
    (1, 2, 2, 1),
    (0, 3, 4, 4),
    (2, 0, 4, 5),
    (2, 3, 4, 15),
    (1, 1, 2, 16),
    (2, 5, 3, 17),
    (1, 16, 9, 31),
    (1, 17, 6, 33),
    (1, 3, 1, 64),
    (2, 2, 11, 65),
    (1, 64, 5, 8),
    (1, 1, 70, 3),
]


def asymmetric(size):
    """A filter in which no two taps are alike, so that none can stand for another."""
    return tuple(np.random.default_rng(size).uniform(-1, 1, size).tolist())


def channels_last(image):
    """The same image with channels innermost, where it has four axes."""
    return image.contiguous(memory_format=torch.channels_last) if image.dim() == 4 else image


def strided(image):
    """The same image in layouts that no kernel reads directly; what lies between would show."""
    padded = F.pad(image, (1, 4, 2, 1), value=torch.nan if image.is_floating_point() else 99)
    yield padded[..., 2:-1, 1:-4]
    yield image.mT.contiguous().mT
    yield image.flip(-3).repeat_interleave(2, -3).flip(-3)[..., ::2, :, :]
    if image.dim() == 4:
        yield channels_last(padded)[..., 2:-1, 1:-4]


def format_of(image):
    """The memory format that an operator's result keeps: channels_last, or else NCHW."""
    last = image.dim() == 4 and image.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not image.is_contiguous() else torch.contiguous_format


def assert_matches(got, want, case=None):
    """Asserts the values of the reference, but for one rounding to the dtype of float32 sums."""
    atol = 1e-12 if got.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(
        got.cpu().double(),
        torch.as_tensor(want),
        rtol=torch.finfo(got.dtype).eps,
        atol=atol,
        msg=lambda message: f"{case}: {message}",
    )
