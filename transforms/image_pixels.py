"""One image in memory, wherever it lies: an array of bytes, and the steps from row to row, pixel to pixel, channel to
channel."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pixels(NamedTuple):
    """uint8 pixels of one image."""

    data: NDArray[np.uint8]
    """Bytes that hold it, one-dimensional; may be read-only."""
    start: int
    """Place of the first pixel's first channel."""
    row_step: int
    pixel_step: int
    channel_step: int
    height: int
    width: int
    factor: int = 1
    """A JPEG decoder's reduction: one pixel stands for factor x factor pixels of the image."""

    @property
    def is_rgb(self) -> bool:
        """Whether a pixel is 3 bytes and rows run along memory, as the filters need it."""
        return self.pixel_step == 3 and self.channel_step == 1 and self.row_step == 3 * self.width

    def oriented(self, orientation: int) -> "Pixels":
        """Turned as an Exif orientation, 1 to 8, says (CIPA DC-008, 4.6.4); only the steps change."""
        if orientation == 1:
            return self
        start, row, pixel, height, width = self.start, self.row_step, self.pixel_step, self.height, self.width
        if orientation in (3, 4, 6, 7):
            start, row = start + (height - 1) * row, -row
        if orientation in (2, 3, 7, 8):
            start, pixel = start + (width - 1) * pixel, -pixel
        if orientation >= 5:
            row, pixel, height, width = pixel, row, width, height
        return Pixels(self.data, start, row, pixel, self.channel_step, height, width, self.factor)


def planar(array: NDArray[np.uint8]) -> Pixels:
    """A C-contiguous (C, H, W) array."""
    _, height, width = array.shape
    return Pixels(array.reshape(-1), 0, width, 1, height * width, height, width)


def interleaved(array: NDArray[np.uint8]) -> Pixels:
    """A C-contiguous (H, W, C) array."""
    height, width, channels = array.shape
    return Pixels(array.reshape(-1), 0, width * channels, channels, 1, height, width)


class _Span:
    """Memory from an address on, as NumPy asks for it. Only the images in it are read: between them may be nothing."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": (nbytes,), "typestr": "|u1", "version": 3}


def memory_of(addresses: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bytes that hold all of some rows, and (N,) where each begins in them."""
    low = int(addresses.min(initial=2**62)) if len(addresses) else 0
    nbytes = int((addresses + lengths).max(initial=low)) - low
    return np.asarray(_Span(low, nbytes)) if nbytes else np.empty(0, np.uint8), addresses - low
