"""Colours of planar uint8 images: look-up tables, luma, saturation, hue, sharpness. Results are rounded, halves up.

Letters: C channels, H rows, W columns.
"""

import numpy as np
from numba import njit, types

_IMAGE = types.uint8[:, :, ::1]


@njit(error_model="numpy", inline="always")
def _grey(value):
    return np.uint8(min(max(np.int32(np.floor(value + np.float32(0.5))), np.int32(0)), np.int32(255)))


@njit([types.void(_IMAGE, types.uint8[:, ::1], _IMAGE)], cache=True, nogil=True, error_model="numpy")
def lookup_into(pixels, table, out):
    """out = table[c][pixels], table (C, 256); out may be pixels."""
    for c in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                out[c, y, x] = table[c, pixels[c, y, x]]


@njit([types.void(_IMAGE, types.int64[:, ::1])], cache=True, nogil=True, error_model="numpy")
def histogram_into(pixels, out):
    """Add the number of pixels of each grey level, (C, 256)."""
    for c in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                out[c, pixels[c, y, x]] += 1


@njit([types.void(_IMAGE, types.uint8[:, ::1])], cache=True, nogil=True, error_model="numpy")
def luma_into(pixels, out):
    """ITU-R BT.601 luma of (3, H, W) in Pillow's 16-bit fixed point; (H, W)."""
    red, green, blue = pixels[0], pixels[1], pixels[2]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            value = np.int32(red[y, x]) * 19595 + np.int32(green[y, x]) * 38470 + np.int32(blue[y, x]) * 7471
            out[y, x] = (value + 0x8000) >> 16


@njit([types.void(_IMAGE, types.uint8[:, ::1], types.float32, _IMAGE)], cache=True, nogil=True, error_model="numpy")
def blend_into(pixels, plane, factor, out):
    """out = plane + factor * (pixels - plane), each channel against one (H, W) plane; out may be pixels."""
    for c in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                other = np.float32(plane[y, x])
                out[c, y, x] = _grey(other + factor * (np.float32(pixels[c, y, x]) - other))


@njit([types.void(_IMAGE, types.float32, _IMAGE)], cache=True, nogil=True, error_model="numpy")
def sharpen_into(pixels, factor, out):
    """Blend with a smoothed copy (3 x 3, middle 5, others 1, by 13); the border is left alone, as in Pillow."""
    height, width = pixels.shape[1], pixels.shape[2]
    for c in range(pixels.shape[0]):
        for y in range(height):
            for x in range(width):
                middle = np.float32(pixels[c, y, x])
                if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                    out[c, y, x] = pixels[c, y, x]
                    continue
                total = np.int32(4) * pixels[c, y, x]
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        total += np.int32(pixels[c, y + dy, x + dx])
                smooth = np.float32(_grey(np.float32(total) / np.float32(13)))
                out[c, y, x] = _grey(smooth + factor * (middle - smooth))


@njit([types.void(_IMAGE, types.float32, _IMAGE)], cache=True, nogil=True, error_model="numpy")
def hue_into(pixels, turn, out):
    """Turn the hue of (3, H, W) by `turn` of a full circle, in HSV; out may be pixels."""
    for y in range(pixels.shape[1]):
        for x in range(pixels.shape[2]):
            red, green, blue = np.float32(pixels[0, y, x]), np.float32(pixels[1, y, x]), np.float32(pixels[2, y, x])
            high, low = max(red, green, blue), min(red, green, blue)
            span = high - low
            if span == 0:
                out[0, y, x], out[1, y, x], out[2, y, x] = pixels[0, y, x], pixels[1, y, x], pixels[2, y, x]
                continue
            if high == red:
                sector = (green - blue) / span
            elif high == green:
                sector = (blue - red) / span + np.float32(2)
            else:
                sector = (red - green) / span + np.float32(4)
            sector += np.float32(6) * turn
            for c in range(3):
                # distance to the channel's own sector, on the circle of 6; full up to 1, none from 2 on
                away = abs(sector - np.float32(2 * c))
                away -= np.float32(6) * np.floor(away / np.float32(6))
                away = min(away, np.float32(6) - away)
                out[c, y, x] = _grey(low + span * min(max(np.float32(2) - away, np.float32(0)), np.float32(1)))
