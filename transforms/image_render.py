"""Draw one image as its placement says: pixels in, the output's values out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels
from forebay.transforms.image_output import ImageOutput
from forebay.transforms.image_pixels import Pixels
from forebay.transforms.image_placement import Placement

crop = kernels("image_crop")
resample = kernels("image_resample")

PAST_CACHES = 8 << 20
"""Bytes of an output from which on it is written past the processor's caches: whoever reads the batch would not find it there."""


class Renderer:
    """Draws the images of a batch by one placement; holds the room that the kernels work in, so threads share nothing."""

    def __init__(self, placement: Placement, factors: NDArray[np.int64] | None = None) -> None:
        """`factors` says by how much the decoder reduces each image."""
        self._placement = placement
        self._line = np.empty(int(placement.window[:, 3].max(initial=0)), np.uint8)
        if placement.filter == resample.NEAREST:
            return
        self._plan, self._boxes = resample_plans(placement, factors)
        starts, values = scratch_of(self._plan, self._boxes)
        self._starts, self._scratch = np.empty(starts, np.int64), np.empty(values, np.float32)
        self._rgb = np.empty(0, np.uint8)

    def draw(self, pixels: Pixels, row: int, *, output: ImageOutput, flat: NDArray[Any], place: int) -> None:
        """Write image `row` of the placement to `flat` from `place` on.

        Args:
            pixels: the image.
            row: which of the placement.
            output: what to write.
            flat: one-dimensional, of the output's type.
            place: first value written.
        """
        if self._placement.filter == resample.NEAREST:
            plan = crop_plan(self._placement, row, pixels)
            plan[0, crop.OUT] = place
            _crop(pixels.data, plan, self._placement, output, flat=flat, line=self._line)
            return
        p = self._plan[row]
        if pixels.is_rgb:
            data, start, stride = pixels.data, pixels.start, pixels.row_step
        else:
            data, start, stride = self._repacked(pixels, p.tolist(), output.channels)
        p[resample.START], p[resample.STRIDE], p[resample.OUT] = start, stride, place
        how = (output.kind, output.channels, output.last, output.scale, output.shift, output.table)
        room = (self._starts, self._scratch)
        resample.resample_into(data, self._plan, self._boxes, row, *how, *room, *output.targets(flat))

    def _repacked(self, pixels: Pixels, p: list[int], channels: int) -> tuple[NDArray[np.uint8], int, int]:
        """The part that is read as RGB; where its first row and column would begin, and its bytes a row."""
        top, left = p[resample.Y_LOW], p[resample.X_LOW]
        height, width = p[resample.Y_HIGH] - top, p[resample.X_HIGH] - left
        if len(self._rgb) < height * width * 3:
            # zeros, since grey fills only a third and what stands between must be finite
            self._rgb = np.zeros(height * width * 3, np.uint8)
        start = pixels.start + top * pixels.row_step + left * pixels.pixel_step
        steps = (pixels.row_step, pixels.pixel_step, pixels.channel_step)
        crop.rgb_into(pixels.data, start, *steps, channels, height, width, self._rgb)
        return self._rgb, -(top * width + left) * 3, width * 3


def resample_plans(
    placement: Placement, factors: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, FIELDS) plan and (N, 4) boxes of images that are resized; where source and output lie is still open."""
    crops = placement.crop
    plan = np.zeros((len(crops), resample.FIELDS), np.int64)
    factor = np.ones(len(crops), np.int64) if factors is None else factors
    for axis, low, high in ((0, resample.Y_LOW, resample.Y_HIGH), (1, resample.X_LOW, resample.X_HIGH)):
        plan[:, low] = crops[:, axis] // factor
        plan[:, high] = -(-(crops[:, axis] + crops[:, axis + 2]) // factor)
    plan[:, resample.HEIGHT : resample.TOP] = placement.size
    plan[:, resample.TOP : resample.FLIP_Y] = placement.window
    plan[:, resample.FLIP_Y : resample.FILTER] = placement.flip
    plan[:, resample.FILTER] = placement.filter
    return plan, np.ascontiguousarray(crops[:, [0, 2, 1, 3]] / factor[:, None])


def scratch_of(plan: NDArray[np.int64], boxes: NDArray[np.float64]) -> tuple[int, int]:
    """How many integers and floats the resampling kernel works with, at most."""
    rows, wide = plan[:, resample.ROWS], plan[:, resample.COLUMNS] + 3
    # bicubic reaches twice as far as bilinear; room for it costs nothing
    scales = np.maximum(boxes[:, [1, 3]] / plan[:, [resample.HEIGHT, resample.WIDTH]], 1)
    taps = np.ceil(2 * scales).astype(np.int64) * 2 + 1
    span = plan[:, resample.X_HIGH] - plan[:, resample.X_LOW]
    values = rows * taps[:, 0] + wide * (taps[:, 1] + 3) + 3 * (span + taps[:, 1]) + 32 + wide * 4 * (taps[:, 1] + 1)
    return int((rows + wide).max(initial=0)), int(values.max(initial=0))


class Crops:
    """Planar images of which a window is flipped and written, and that is all: any threads may write some of them."""

    def __init__(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], placement: Placement, output: ImageOutput
    ) -> None:
        self._data, self._plan, self._placement, self._output = data, crop_plans(placement, starts), placement, output
        self._longest = int(placement.window[:, 3].max(initial=0))

    def write(self, flat: NDArray[Any], places: NDArray[np.int64], first: int) -> None:
        """Write as many images as there are places to `flat`, image `first + i` from `places[i]` on."""
        plan = self._plan[first : first + len(places)].copy()
        plan[:, crop.OUT] = places
        line = np.empty(self._longest, np.uint8)
        _crop(self._data, plan, self._placement, self._output, flat=flat, line=line)


def _crop(
    data: NDArray[np.uint8],
    plan: NDArray[np.int64],
    placement: Placement,
    output: ImageOutput,
    *,
    flat: NDArray[Any],
    line: NDArray[np.uint8],
) -> None:
    """Write all images of a crop plan to `flat`; `line` is room for the longest row."""
    fill = np.resize(np.array(placement.fill, np.uint8), output.channels)
    how = (output.kind, output.channels, output.last, fill, output.scale, output.shift, output.table)
    past = flat.nbytes >= PAST_CACHES
    crop.crop_into(data, plan, 0, len(plan), past, *how, line, *output.targets(flat))


def crop_plan(placement: Placement, row: int, pixels: Pixels) -> NDArray[np.int64]:
    """(1, FIELDS) plan of one image that is not resized."""
    plan = np.empty((1, crop.FIELDS), np.int64)
    plan[0, : crop.TOP] = pixels[1:7]
    plan[0, crop.HEIGHT : crop.TOP] = placement.crop[row, 2:]
    plan[0, crop.TOP : crop.FLIP_Y] = placement.window[row]
    plan[0, crop.FLIP_Y : crop.OUT] = placement.flip[row]
    return plan


def crop_plans(placement: Placement, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, FIELDS) plan of N planar images that are not resized; where the output lies is still open."""
    plan = np.empty((len(starts), crop.FIELDS), np.int64)
    height, width = placement.crop[:, 2], placement.crop[:, 3]
    plan[:, crop.START], plan[:, crop.ROW_STEP], plan[:, crop.PIXEL_STEP] = starts, width, 1
    plan[:, crop.CHANNEL_STEP] = height * width
    plan[:, crop.HEIGHT], plan[:, crop.WIDTH] = height, width
    plan[:, crop.TOP : crop.FLIP_Y] = placement.window
    plan[:, crop.FLIP_Y : crop.OUT] = placement.flip
    return plan


def needed(placement: Placement, *, reduce: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each image, by how much a decoder may reduce it, and down to which row it is needed.

    The reduction is the greatest of 8, 4 and 2 at which the crop is still at least as large as what it is resized to; 1
    without an antialiased bilinear resize, since others do not average.
    """
    n = len(placement.crop)
    if placement.filter == resample.NEAREST:
        low = np.minimum(placement.window[:, 0] + placement.window[:, 2], placement.crop[:, 2])
        return np.ones(n, np.int64), np.maximum(low, 1)
    height = placement.crop[:, 2]
    scale = height / placement.size[:, 0]
    radius = (2 if placement.filter == resample.BICUBIC else 1) * np.maximum(scale, 1)
    last = np.ceil((placement.window[:, 0] + placement.window[:, 2]) * scale + radius).astype(np.int64) + 1
    rows = placement.crop[:, 0] + np.minimum(last, height)
    factors = np.ones(n, np.int64)
    if reduce and placement.filter == resample.ANTIALIAS:
        ratio = (placement.crop[:, 2:] / placement.size).min(axis=1)
        for factor in (2, 4, 8):
            factors[ratio >= factor] = factor
    return factors, rows
