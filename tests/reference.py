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


def max_map(image, kernel_size, pad, dilation):
    """The largest value of every window at stride 1; padding is minus infinity."""
    (ky, kx), (py, px), (dy, dx) = kernel_size, pad, dilation
    height, width = image.shape[-2:]
    edges = [(0, 0)] * (image.ndim - 2) + [(py, py), (px, px)]
    padded = np.pad(np.asarray(image, np.float64), edges, constant_values=-np.inf)
    rows, columns = height + 2 * py - (ky - 1) * dy, width + 2 * px - (kx - 1) * dx
    shifted = [
        padded[..., i * dy : i * dy + rows, j * dx : j * dx + columns]
        for i in range(ky)
        for j in range(kx)
    ]
    return np.max(shifted, axis=0)


def axis_weights(interpolation, fraction):
    """The (first position, weights) that read `fraction` past a pixel."""
    if fraction == 0:
        return 0, np.ones(1)
    reach = {"linear": 1, "cubic": 2, "lanczos3": 3}[interpolation]
    t = np.abs(np.arange(1 - reach, reach + 1) - fraction)
    if interpolation == "linear":
        weights = 1 - t
    elif interpolation == "cubic":
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weights = np.where(t < 1, near, far)
    else:
        weights = np.sinc(t) * np.sinc(t / 3)
    return 1 - reach, weights / weights.sum()


def window_axis(corner, count, n, border, interpolation):
    """The (count, n + 1) matrix of one axis of a window; the last column is the fill."""
    first, weights = axis_weights(interpolation, corner - np.floor(corner))
    matrix = np.zeros((count, n + 1))
    for j in range(count):
        for k, weight in enumerate(weights):
            i = border_index(border, int(np.floor(corner)) + first + j + k, n)
            matrix[j, n if i is None else i] += weight
    return matrix


def take_windows(images, corners, size, border, fill=0.0, interpolation="linear"):
    """Windows (N, S, C, h, w) in float64; corners (N, S, 2); fill a number or one a channel."""
    n, c, height, width = images.shape
    fill = np.broadcast_to(np.asarray(fill, np.float64), (c,))
    # One extra row and column hold the fill, which is where positions outside read.
    extended = np.empty((n, c, height + 1, width + 1))
    extended[:] = fill[:, None, None]
    extended[..., :height, :width] = images
    windows = np.empty((n, corners.shape[1], c, *size))
    for a, image in enumerate(extended):
        for s, (y, x) in enumerate(corners[a]):
            rows = window_axis(y, size[0], height, border, interpolation)
            columns = window_axis(x, size[1], width, border, interpolation)
            windows[a, s] = np.einsum("ih,chw,jw->cij", rows, image, columns)
    return windows
