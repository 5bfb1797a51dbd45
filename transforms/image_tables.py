"""Changes of an image's grey levels, as tables (C, 256), and colours, as Pillow's ImageEnhance and ImageOps define them.

A blend is rounded, halves up, where Pillow cuts, so it differs from Pillow's by at most one grey level.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels

_image_color = kernels("image_color")


Image = NDArray[np.uint8]
"""(C, H, W), C-contiguous. All functions here may change it, and give the result."""
_LEVELS = np.arange(256)


def brightness(pixels: Image, factor: float) -> Image:
    """Blend with black: 0 is black, 1 leaves the image alone."""
    return _look_up(pixels, np.tile(_rounded(_LEVELS * factor), (len(pixels), 1)))


def contrast(pixels: Image, factor: float) -> Image:
    """Blend with the grey of its mean luma: 0 is that grey, 1 leaves the image alone."""
    mean = float(luma(pixels).mean())
    return _look_up(pixels, np.tile(_rounded(mean + factor * (_LEVELS - mean)), (len(pixels), 1)))


def saturation(pixels: Image, factor: float) -> Image:
    """Blend with its luma: 0 is grey, 1 leaves the image alone."""
    if len(pixels) == 3:
        _image_color.blend_into(pixels, luma(pixels), factor, pixels)
    return pixels


def hue(pixels: Image, turn: float) -> Image:
    """Turn the hue by a part of the circle, -0.5 to 0.5."""
    if len(pixels) == 3:
        _image_color.hue_into(pixels, turn, pixels)
    return pixels


def sharpness(pixels: Image, factor: float) -> Image:
    """Blend with a smoothed copy: 0 is that copy, 1 leaves the image alone."""
    made = np.empty_like(pixels)
    _image_color.sharpen_into(pixels, factor, made)
    return made


def grayscale(pixels: Image) -> Image:
    """Luma in all channels."""
    if len(pixels) == 3:
        pixels[:] = luma(pixels)
    return pixels


def posterize(pixels: Image, bits: int) -> Image:
    """Keep the upper bits, 0 to 8."""
    return _look_up(pixels, np.tile(_LEVELS & (0xFF00 >> bits & 0xFF), (len(pixels), 1)))


def solarize(pixels: Image, threshold: float) -> Image:
    """Invert what is not below the threshold."""
    return _look_up(pixels, np.tile(np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS), (len(pixels), 1)))


def autocontrast(pixels: Image) -> Image:
    """Stretch each channel to 0 to 255."""
    low, high = pixels.min(axis=(1, 2)).astype(np.int64), pixels.max(axis=(1, 2)).astype(np.int64)
    scale = 255 / np.maximum(high - low, 1)
    table = (_LEVELS * scale[:, None] - (low * scale)[:, None]).astype(np.int64)
    return _look_up(pixels, np.where((high > low)[:, None], np.clip(table, 0, 255), _LEVELS))


def equalize(pixels: Image) -> Image:
    """Make each channel's grey levels about equally frequent."""
    counts = np.zeros((len(pixels), 256), np.int64)
    _image_color.histogram_into(pixels, counts)
    table = np.tile(_LEVELS, (len(pixels), 1))
    for channel, count in enumerate(counts):
        step = int(count.sum() - count[np.flatnonzero(count)[-1]]) // 255
        if step:
            before = np.cumsum(count) - count
            table[channel] = np.minimum((step // 2 + before) // step, 255)
    return _look_up(pixels, table)


def luma(pixels: Image) -> Image:
    """(H, W) ITU-R BT.601 luma; a grey image is its own."""
    if len(pixels) == 1:
        return pixels[0]
    made = np.empty(pixels.shape[1:], np.uint8)
    _image_color.luma_into(pixels, made)
    return made


def _look_up(pixels: Image, table: NDArray[np.int64]) -> Image:
    _image_color.lookup_into(pixels, table.astype(np.uint8), pixels)
    return pixels


def _rounded(levels: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    clipped = np.clip(np.floor(levels + 0.5), 0, 255)
    return np.asarray(clipped, np.int64)
