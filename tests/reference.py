"""Each operator in plain numpy: slow, obvious, the only reference. Never imported by the package."""

from functools import cache

import numpy as np

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@cache
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


@cache
def filter_matrix(n, taps, stride, before, after, border, ceil):
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


def filter_matrices(size, taps_y, taps_x, stride, border, pad=None, ceil=False):
    """The matrices of both axes, of an image of `size` = (height, width)."""
    left, right, top, bottom = pad or (
        (len(taps_x) - 1) // 2,
        len(taps_x) // 2,
        (len(taps_y) - 1) // 2,
        len(taps_y) // 2,
    )
    rows = filter_matrix(size[0], tuple(taps_y), stride[0], top, bottom, border, ceil)
    columns = filter_matrix(size[1], tuple(taps_x), stride[1], left, right, border, ceil)
    return rows, columns


def blur_downsample(image, *arguments):
    """A separable filter along rows and columns of (..., H, W), in float64."""
    rows, columns = filter_matrices(image.shape[-2:], *arguments)
    return rows @ np.asarray(image, np.float64) @ columns.T


def blur_downsample_transpose(grad, size, *arguments):
    """The gradient with respect to an image of `size` = (height, width)."""
    rows, columns = filter_matrices(size, *arguments)
    return rows.T @ np.asarray(grad, np.float64) @ columns


def max_windows(image, kernel_size, pad, dilation):
    """The pixels of every window, (ky * kx, ..., map height, map width); padding is -infinity."""
    (ky, kx), (py, px), (dy, dx) = kernel_size, pad, dilation
    height, width = image.shape[-2:]
    edges = [(0, 0)] * (image.ndim - 2) + [(py, py), (px, px)]
    padded = np.pad(np.asarray(image, np.float64), edges, constant_values=-np.inf)
    rows, columns = height + 2 * py - (ky - 1) * dy, width + 2 * px - (kx - 1) * dx
    return np.stack(
        [
            padded[..., i * dy : i * dy + rows, j * dx : j * dx + columns]
            for i in range(ky)
            for j in range(kx)
        ]
    )


def max_map(image, kernel_size, pad, dilation):
    """The largest value of every window at stride 1."""
    return np.max(max_windows(image, kernel_size, pad, dilation), axis=0)


def max_map_transpose(grad, image, kernel_size, pad, dilation):
    """Every value of the map's gradient, added to the first pixel that is its window's largest."""
    first = np.argmax(max_windows(image, kernel_size, pad, dilation), axis=0)
    result = np.zeros(image.shape)
    for *plane, y, x in np.ndindex(*first.shape):
        ky, kx = divmod(first[(*plane, y, x)], kernel_size[1])
        at = y - pad[0] + ky * dilation[0], x - pad[1] + kx * dilation[1]
        result[(*plane, *at)] += grad[(*plane, y, x)]
    return result


def polyphase_plan(size, taps_y, taps_x, stride, border):
    """Arguments of a filter at stride 1 with as many results as all components have."""
    (height, width), (sy, sx) = size, stride
    ky, kx = len(taps_y), len(taps_x)
    pad = ((kx - 1) // 2, kx // 2 + -width % sx, (ky - 1) // 2, ky // 2 + -height % sy)
    return taps_y, taps_x, (1, 1), border, pad


def polyphase_components(image, taps_y, taps_x, stride, border):
    """Every component of (..., H, W), in the order of phases."""
    plan = polyphase_plan(image.shape[-2:], taps_y, taps_x, stride, border)
    blurred = blur_downsample(image, *plan)
    sy, sx = stride
    return np.stack([blurred[..., i::sy, j::sx] for i in range(sy) for j in range(sx)])


def polyphase_norms(image, taps_y, taps_x, stride, border, norm):
    """The norms of the components of (..., C, H, W), (..., phases)."""
    magnitudes = np.abs(polyphase_components(image, taps_y, taps_x, stride, border))
    axes = (-3, -2, -1)
    norms = {
        "l1": lambda: magnitudes.sum(axes),
        "l2": lambda: np.sqrt((magnitudes**2).sum(axes)),
        "linf": lambda: magnitudes.max(axes, initial=0),
    }[norm]()
    return np.moveaxis(norms, 0, -1)


def polyphase_downsample(image, phase, *arguments):
    """The component that `phase` names for each sample of (N, C, H, W)."""
    components = polyphase_components(image, *arguments)
    phase = np.broadcast_to(phase, image.shape[:1])
    return components[phase, np.arange(len(image))]


def polyphase_downsample_transpose(grad, phase, size, taps_y, taps_x, stride, border):
    """The gradient with respect to images of `size` = (height, width)."""
    plan = polyphase_plan(size, taps_y, taps_x, stride, border)
    height, width = grad.shape[-2:]
    blurred = np.zeros((*grad.shape[:-2], height * stride[0], width * stride[1]))
    for n, p in enumerate(np.broadcast_to(phase, grad.shape[:1])):
        i, j = divmod(int(p), stride[1])
        blurred[n, :, i :: stride[0], j :: stride[1]] = grad[n]
    return blur_downsample_transpose(blurred, size, *plan)


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


@cache
def window_axis(corner, count, n, border, interpolation):
    """The (count, n + 1) matrix of one axis of a window; the last column is the fill."""
    first, weights = axis_weights(interpolation, corner - np.floor(corner))
    matrix = np.zeros((count, n + 1))
    for j in range(count):
        for k, weight in enumerate(weights):
            i = border_index(border, int(np.floor(corner)) + first + j + k, n)
            matrix[j, n if i is None else i] += weight
    return matrix


def window_matrices(corner, size, image_size, border, interpolation):
    """The matrices of both axes of one window."""
    return (
        window_axis(float(at), count, n, border, interpolation)
        for at, count, n in zip(corner, size, image_size, strict=True)
    )


def take_windows(images, corners, size, border, fill=0.0, interpolation="linear"):
    """Windows (N, S, C, h, w) in float64; corners (N, S, 2); fill a number or one a channel."""
    n, c, height, width = images.shape
    fill = np.broadcast_to(np.asarray(fill, np.float64), (c,))
    # One extra row and column hold the fill, which is where positions outside read.
    extended = np.empty((n, c, height + 1, width + 1))
    extended[:] = fill[:, None, None]
    extended[..., :height, :width] = images
    windows = np.empty((n, corners.shape[1], c, *size))
    for a, s in np.ndindex(*windows.shape[:2]):
        rows, columns = window_matrices(corners[a, s], size, (height, width), border, interpolation)
        windows[a, s] = rows @ extended[a] @ columns.T
    return windows


def take_windows_transpose(grad, corners, image_size, border, interpolation="linear"):
    """The gradient with respect to images (N, C, H, W) of `image_size` = (H, W)."""
    n, _, c, *size = grad.shape
    images = np.zeros((n, c, *image_size))
    for a, s in np.ndindex(*grad.shape[:2]):
        rows, columns = window_matrices(corners[a, s], size, image_size, border, interpolation)
        images[a] += rows[:, :-1].T @ np.asarray(grad[a, s], np.float64) @ columns[:, :-1]
    return images
