"""Blur and affine maps of planar uint8 images. Letters: C channels, H rows, W columns, K taps."""

import numpy as np
from numba import njit, types

_IMAGE = types.uint8[:, :, ::1]


@njit(error_model="numpy")
def _mirrored(at, size):
    """The place that `at` outside 0 to size - 1 shows when the image is mirrored at its edge pixels."""
    if size == 1:
        return 0
    period = 2 * (size - 1)
    at = at % period
    return at if at < size else period - at


@njit(
    [types.void(_IMAGE, types.float32[::1], types.float32[:, ::1], _IMAGE)], cache=True, nogil=True, error_model="numpy"
)
def blur_into(pixels, weights, rows, out):
    """Weigh K pixels across, then K down, mirrored at the edges; rounded once, halves up.

    Args:
        pixels: (C, H, W). weights: (K,) that sum to 1, K odd. rows: (H, W) room. out: (C, H, W), not pixels.
    """
    channels, height, width = pixels.shape
    radius = len(weights) // 2
    for c in range(channels):
        for y in range(height):
            line, to = pixels[c, y], rows[y]
            for x in range(width):
                total = np.float32(0)
                if x >= radius and x + radius < width:
                    for k in range(len(weights)):
                        total += weights[k] * np.float32(line[x - radius + k])
                else:
                    for k in range(len(weights)):
                        total += weights[k] * np.float32(line[_mirrored(x - radius + k, width)])
                to[x] = total
        for y in range(height):
            for x in range(width):
                total = np.float32(0)
                for k in range(len(weights)):
                    total += weights[k] * rows[_mirrored(y - radius + k, height), x]
                out[c, y, x] = np.uint8(min(max(np.int32(total + np.float32(0.5)), np.int32(0)), np.int32(255)))


@njit(error_model="numpy")
def _between(pixels, c, y, x, fill):
    """Bilinear value at (y, x), where pixel centres are whole numbers; outside is the fill."""
    height, width = pixels.shape[1], pixels.shape[2]
    top, left = int(np.floor(y)), int(np.floor(x))
    down, right = y - top, x - left
    total = 0.0
    for dy in range(2):
        for dx in range(2):
            weight = (down if dy else 1 - down) * (right if dx else 1 - right)
            inside = 0 <= top + dy < height and 0 <= left + dx < width
            total += weight * (pixels[c, top + dy, left + dx] if inside else fill)
    return total


@njit(
    [types.void(_IMAGE, types.float64[::1], types.boolean, types.uint8[::1], _IMAGE)],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def warp_into(pixels, matrix, smooth, fill, out):
    """Each output pixel from where the affine matrix says.

    Args:
        pixels: (C, H, W).
        matrix: (a, b, c, d, e, f): the centre (x, y) of an output pixel comes from (a x + b y + c, d x + e y + f).
        smooth: bilinear, else the pixel that the place lies in.
        fill: (C,) grey outside.
        out: (C, H, W), not pixels.
    """
    channels, height, width = pixels.shape
    for y in range(height):
        for x in range(width):
            u, v = x + 0.5, y + 0.5
            across = matrix[0] * u + matrix[1] * v + matrix[2]
            down = matrix[3] * u + matrix[4] * v + matrix[5]
            inside = 0 <= across < width and 0 <= down < height
            for c in range(channels):
                if smooth:
                    value = _between(pixels, c, down - 0.5, across - 0.5, fill[c])
                    out[c, y, x] = np.uint8(min(max(int(value + 0.5), 0), 255))
                else:
                    out[c, y, x] = pixels[c, int(down), int(across)] if inside else fill[c]
