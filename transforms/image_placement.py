"""Where the pixels of N images go: crop, resize, window and flips, composed so that one kernel call does them all."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels

resample = kernels("image_resample")


Integers = NDArray[np.int64]


@dataclass(slots=True)
class Placement:
    """The output is a window of the resized crop of the source, flipped.

    Pixels are integers after each transform, so crops and flips commute with what stands before them exactly, and a
    composed placement gives what the transforms one after another give.
    """

    crop: Integers
    """(N, 4) top, left, height, width of the part of the source that is resized."""
    size: Integers
    """(N, 2) height and width it is resized to."""
    window: Integers
    """(N, 4) top, left, height, width of the part of the resized image that is kept. Without a resize it may reach
    outside the image."""
    flip: NDArray[np.bool_]
    """(N, 2) whether the window is flipped vertically, horizontally."""
    filter: int = resample.NEAREST
    """Filter of the resize; NEAREST where there is none."""
    fill: tuple[int, ...] = (0,)
    """Grey of what lies outside, for each channel or all."""
    refused: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Reason -> (N,) images that cannot be placed."""

    @classmethod
    def whole(cls, sizes: Integers) -> "Placement":
        """Each image as it is: (N, 2) heights and widths."""
        full = np.zeros((len(sizes), 4), np.int64)
        full[:, 2:] = sizes
        return cls(full, sizes.copy(), full.copy(), np.zeros((len(sizes), 2), np.bool_))

    @property
    def sizes(self) -> Integers:
        """(N, 2) height and width of the output."""
        return self.window[:, 2:]

    def keep(self, top: Integers, left: Integers, height: Integers | int, width: Integers | int) -> None:
        """Crop the output, in its own coordinates."""
        rows, columns = self.window[:, 2], self.window[:, 3]
        self.window[:, 0] += np.where(self.flip[:, 0], rows - top - height, top)
        self.window[:, 1] += np.where(self.flip[:, 1], columns - left - width, left)
        self.window[:, 2], self.window[:, 3] = height, width

    def resize(self, height: Integers | int, width: Integers | int, filter: int) -> None:
        """Resize the output, which must be a plain crop of the source so far."""
        self.crop = self.window.copy()
        self.size[:, 0], self.size[:, 1], self.filter = height, width, filter
        self.window[:, :2], self.window[:, 2:] = 0, self.size

    def mirror(self, axis: int, where: NDArray[np.bool_]) -> None:
        """Flip some of the images: axis 0 is upside down, 1 is left to right."""
        self.flip[:, axis] ^= where

    def refuse(self, where: NDArray[np.bool_], reason: str) -> None:
        """Note images that cannot be placed."""
        if where.any():
            self.refused[reason] = self.refused.get(reason, np.zeros(len(where), np.bool_)) | where
