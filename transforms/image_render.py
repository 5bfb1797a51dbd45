"""Draw one image as its placement says: pixels in, the output's values out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.image_output import ImageOutput
from forebay.transforms.image_pixels import Pixels
from forebay.transforms.image_placement import Placement
from forebay.transforms.kernels import image_crop as crop
from forebay.transforms.kernels import image_resample as resample
from forebay.transforms.kernels.image_crop import crop_into, rgbx_into
from forebay.transforms.kernels.image_resample import resample_into


class Renderer:
    """Holds the room that kernels work in; one for each call of a stage, so threads share nothing."""

    def __init__(self) -> None:
        self._starts = np.empty(0, np.int64)
        self._scratch = np.empty(0, np.float32)
        self._rgbx = np.empty(0, np.uint8)
        self._line = np.empty(0, np.uint8)

    def draw(
        self, pixels: Pixels, placement: Placement, row: int, *, output: ImageOutput, flat: NDArray[Any], place: int
    ) -> None:
        """Write image `row` of the placement to `flat` from `place` on.

        Args:
            pixels: the image.
            placement: of the batch.
            row: which of it.
            output: what to write.
            flat: one-dimensional, of the output's type.
            place: first value written.
        """
        if placement.filter == resample.NEAREST:
            plan = crop_plan(placement, row, pixels)
            plan[0, crop.OUT] = place
            self.crop(pixels.data, plan, placement, output=output, flat=flat)
        else:
            self._resample(pixels, placement, row, (output, flat, place))

    def crop(
        self,
        data: NDArray[np.uint8],
        plan: NDArray[np.int64],
        placement: Placement,
        *,
        output: ImageOutput,
        flat: NDArray[Any],
    ) -> None:
        """Write all images of a crop plan."""
        longest = int(plan[:, crop.COLUMNS].max(initial=0))
        if len(self._line) < longest:
            self._line = np.empty(longest, np.uint8)
        fill = np.resize(np.array(placement.fill, np.uint8), output.channels)
        how = (output.kind, output.channels, output.last, fill, output.scale, output.shift, output.table)
        crop_into(data, plan, 0, len(plan), *how, self._line, *output.targets(flat))

    def _resample(
        self, pixels: Pixels, placement: Placement, row: int, target: tuple[ImageOutput, NDArray[Any], int]
    ) -> None:
        output, flat, place = target
        factor, box = pixels.factor, placement.crop[row]
        top, left, height, width = (int(one) for one in box)
        low_y, low_x = top // factor, left // factor
        high_y = min(-(-(top + height) // factor), pixels.height)
        high_x = min(-(-(left + width) // factor), pixels.width)
        if pixels.is_rgbx:
            data, start, stride = pixels.data, pixels.start, pixels.row_step
        else:
            data, stride = self._repacked(pixels, (low_y, low_x, high_y - low_y, high_x - low_x), output.channels)
            start = -low_y * stride - low_x * 4
        wanted_h, wanted_w = placement.size[row].tolist()
        window, flip = placement.window[row].tolist(), placement.flip[row].tolist()
        plan = np.array(
            [
                [
                    start,
                    stride,
                    low_y,
                    high_y,
                    low_x,
                    high_x,
                    wanted_h,
                    wanted_w,
                    *window,
                    *flip,
                    placement.filter,
                    place,
                ]
            ],
            np.int64,
        )
        boxes = np.array([[top / factor, height / factor, left / factor, width / factor]])
        self._reserve(window[2], window[3], boxes[0], (wanted_h, wanted_w, high_x - low_x))
        how = (output.kind, output.channels, output.last, output.scale, output.shift, output.table)
        resample_into(data, plan, boxes, 0, *how, self._starts, self._scratch, *output.targets(flat))

    def _reserve(self, rows: int, columns: int, box: NDArray[np.float64], size: tuple[int, int, int]) -> None:
        wide = (columns + 3) & ~3
        # bicubic reaches twice as far as bilinear; room for it costs nothing
        taps_y = int(np.ceil(2 * max(box[1] / size[0], 1))) * 2 + 1
        taps_x = int(np.ceil(2 * max(box[3] / size[1], 1))) * 2 + 1
        values = rows * taps_y + columns * taps_x + wide * (taps_x + 1) * 4 + 3 * wide + 4 * (size[2] + taps_x + 1)
        if len(self._scratch) < values:
            self._scratch = np.empty(values, np.float32)
        if len(self._starts) < rows + wide:
            self._starts = np.empty(rows + wide, np.int64)

    def _repacked(
        self, pixels: Pixels, part: tuple[int, int, int, int], channels: int
    ) -> tuple[NDArray[np.uint8], int]:
        """The part (top, left, height, width) as RGBX, and its bytes a row."""
        top, left, height, width = part
        if len(self._rgbx) < height * width * 4:
            self._rgbx = np.zeros(height * width * 4, np.uint8)
        start = pixels.start + top * pixels.row_step + left * pixels.pixel_step
        steps = (pixels.row_step, pixels.pixel_step, pixels.channel_step)
        rgbx_into(pixels.data, start, *steps, channels, height, width, self._rgbx)
        return self._rgbx, width * 4


def crop_plan(placement: Placement, row: int, pixels: Pixels) -> NDArray[np.int64]:
    """(1, FIELDS) plan of one image that is not resized."""
    plan = np.empty((1, crop.FIELDS), np.int64)
    plan[0, : crop.TOP] = pixels[1:7]
    plan[0, crop.HEIGHT : crop.TOP] = placement.crop[row, 2:]
    plan[0, crop.TOP : crop.FLIP_Y] = placement.window[row]
    plan[0, crop.FLIP_Y : crop.OUT] = placement.flip[row]
    return plan


def crop_plans(placement: Placement, starts: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, FIELDS) plan of N planar images that are not resized."""
    plan = np.empty((len(starts), crop.FIELDS), np.int64)
    height, width = placement.crop[:, 2], placement.crop[:, 3]
    plan[:, crop.START], plan[:, crop.ROW_STEP], plan[:, crop.PIXEL_STEP] = starts, width, 1
    plan[:, crop.CHANNEL_STEP] = height * width
    plan[:, crop.HEIGHT], plan[:, crop.WIDTH] = height, width
    plan[:, crop.TOP : crop.FLIP_Y] = placement.window
    plan[:, crop.FLIP_Y : crop.OUT] = placement.flip
    plan[:, crop.OUT] = places
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
