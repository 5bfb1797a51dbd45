"""A column of decoded images, planar uint8, of any size or of one: pixels are used where they lie."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.plain_numbers import numbers, valid
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_pixels import Pixels, memory_of
from forebay.transforms.stage import ColumnRows


class PlanarImages:
    """The rows `take` of a column of decoded images."""

    def __init__(self, column: pa.Array, take: NDArray[np.int64] | None, form: ImageForm) -> None:
        self.channels = form.channels or 0
        self.bad: dict[str, NDArray[np.bool_]] = {}
        index = np.arange(len(column)) if take is None else take
        if column.null_count:
            missing = ~valid(column)[index]
            if missing.any():
                self.bad["null where an image was expected"] = missing
        if form.size is None:
            self._decoded(column, index)
        else:
            self._sized(column, index, form.size)
        self.partly = np.zeros(len(index), np.bool_)

    @classmethod
    def at(cls, found: ColumnRows, form: ImageForm) -> "PlanarImages":
        """Images that lie anywhere in memory."""
        made = cls.__new__(cls)
        made.channels, made.bad = form.channels or 0, {}
        n = len(found.addresses)
        if form.size is None:
            made.sizes = np.stack([found.values["height"], found.values["width"]], axis=1).astype(np.int64)
            assert found.lengths is not None
            lengths = found.lengths
            made._refuse_odd(lengths, found.values["channels"])
        else:
            made.sizes = np.broadcast_to(np.array(form.size, np.int64), (n, 2))
            lengths = np.full(n, made.channels * form.size[0] * form.size[1])
        made.data, made.starts = memory_of(found.addresses, lengths)
        made.partly = np.zeros(n, np.bool_)
        return made

    def _decoded(self, column: pa.StructArray, index: NDArray[np.int64]) -> None:
        pixels, *fields = (column.field(name) for name in ("pixels", "height", "width", "channels"))
        height, width, channels = (np.where(valid(one), numbers(one), 0)[index] for one in fields)
        _, places, data = pixels.buffers()
        ends = np.frombuffer(places, np.int64)[pixels.offset : pixels.offset + len(pixels) + 1]
        self.data = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
        self.starts = ends[index]
        self.sizes = np.stack([height, width], axis=1).astype(np.int64)
        self._refuse_odd(ends[index + 1] - self.starts, channels)

    def _refuse_odd(self, lengths: NDArray[np.int64], channels: NDArray[np.int32]) -> None:
        other = channels != self.channels
        wrong = (lengths != self.channels * self.sizes[:, 0] * self.sizes[:, 1]) | (self.sizes < 1).any(axis=1)
        for old in self.bad.values():
            other, wrong = other & ~old, wrong & ~old
        if other.any():
            self.bad[f"another number of channels than the column's {self.channels}"] = other
        if (wrong & ~other).any():
            self.bad["pixels holds another number of bytes than channels * height * width"] = wrong & ~other

    def _sized(self, column: pa.FixedShapeTensorArray, index: NDArray[np.int64], size: tuple[int, int]) -> None:
        storage = column.storage
        values = storage.values
        _, data = values.buffers()
        one = self.channels * size[0] * size[1]
        self.data = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
        self.starts = values.offset + (storage.offset + index) * one
        self.sizes = np.broadcast_to(np.array(size, np.int64), (len(index), 2))

    def pixels(self, row: int, factor: int = 1, rows: int | None = None) -> Pixels:
        """Image `row`; the rest is for sources that decode."""
        height, width = (int(one) for one in self.sizes[row])
        return Pixels(self.data, int(self.starts[row]), width, 1, height * width, height, width)
