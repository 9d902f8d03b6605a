"""Each operator in plain numpy: slow, obvious, the only reference. Never imported by the package."""

import numpy as np

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def border_index(border, i, n):
    """The pixel that position i reads, found on a padded row; None outside a constant border."""
    if 0 <= i < n:
        return i
    if border == "constant":
        return None
    if n == 1:
        return 0
    before, after = max(0, -i), max(0, i - n + 1)
    return int(np.pad(np.arange(n), (before, after), mode=MODES[border])[i + before])


def filter_matrix(n, taps, stride, before, after, border, ceil=False):
    """The (outputs, n) matrix of one axis of a low-pass filter with stride."""
    room = n + before + after - len(taps)
    outputs = (-(-room // stride) if ceil else room // stride) + 1
    matrix = np.zeros((outputs, n))
    for o in range(outputs):
        for k, tap in enumerate(taps):
            i = border_index(border, o * stride - before + k, n)
            if i is not None:
                matrix[o, i] += tap
    return matrix


def blur_downsample(image, taps_y, taps_x, stride, border, pad=None, ceil=False):
    """A separable filter along rows and columns of (..., H, W), in float64."""
    left, right, top, bottom = pad or (
        (len(taps_x) - 1) // 2,
        len(taps_x) // 2,
        (len(taps_y) - 1) // 2,
        len(taps_y) // 2,
    )
    rows = filter_matrix(image.shape[-2], taps_y, stride[0], top, bottom, border, ceil)
    columns = filter_matrix(image.shape[-1], taps_x, stride[1], left, right, border, ceil)
    return np.einsum("oh,...hw,pw->...op", rows, np.asarray(image, np.float64), columns)
