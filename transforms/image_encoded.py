"""A column of encoded images: their sizes from the headers, and their pixels one by one."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.plain_numbers import valid
from forebay.transforms.compiled import kernels
from forebay.transforms.image_decode import DecodeImage
from forebay.transforms.image_jpeg import UndecodableError, decode_jpeg
from forebay.transforms.image_pillow import decode_pillow, size_of
from forebay.transforms.image_pixels import Pixels, memory_of
from forebay.transforms.stage import ColumnRows

header = kernels("image_headers")

_NULL = "null where an image was expected"
_MOST_PIXELS = 178_956_970
"""Twice Pillow's MAX_IMAGE_PIXELS, from where Pillow refuses a file: a damaged header may ask for any amount of memory."""


class EncodedImages:
    """Files of images in memory. Not thread-safe: it holds the room that the next image is decoded into."""

    def __init__(self, column: pa.Array, take: NDArray[np.int64] | None, decode: DecodeImage) -> None:
        """The rows `take` of a column."""
        self._look(decode, *_spans(column, take))

    @classmethod
    def at(cls, found: ColumnRows, decode: DecodeImage) -> "EncodedImages":
        """Files that lie anywhere in memory."""
        made, lengths = cls.__new__(cls), found.lengths
        assert lengths is not None
        data, starts = memory_of(found.addresses, lengths)
        made._look(decode, data, np.stack([starts, starts + lengths], axis=1), np.zeros(len(lengths), np.bool_))
        made._told = found.told
        if found.told is not None:  # a header in each of many places has mapped more than the files themselves
            found.told(int(lengths.sum()))
        return made

    def _look(
        self, decode: DecodeImage, data: NDArray[np.uint8], spans: NDArray[np.int64], null: NDArray[np.bool_]
    ) -> None:
        """Look at the headers of the files."""
        self._decode = decode
        self.channels = decode.channels
        self._data, self._spans = data, spans
        self._told: Callable[[int], None] | None = None
        n = len(self._spans)
        self._headers = np.empty((n, header.FIELDS), np.int64)
        header.jpeg_headers_into(self._data, self._spans, self._headers)
        fields = self._headers
        # libjpeg-turbo gives grey and colour; CMYK goes through Pillow, which knows Adobe's inverted kind
        self._jpeg = (fields[:, header.IS_JPEG] == 1) & np.isin(fields[:, header.COMPONENTS], (1, 3))
        self.sizes = fields[:, [header.HEIGHT, header.WIDTH]]
        self._turn = fields[:, header.ORIENTATION] if decode.orient else np.ones(n, np.int64)
        turned = self._turn >= 5
        self.sizes[turned] = self.sizes[turned][:, ::-1]
        self.bad: dict[str, NDArray[np.bool_]] = {}
        if null.any():
            self.bad[_NULL] = null
        for row in np.flatnonzero(~self._jpeg & ~null).tolist():
            try:
                self.sizes[row] = size_of(self._file(row), orient=decode.orient)
            except UndecodableError as error:
                self.bad.setdefault(str(error), np.zeros(n, np.bool_))[row] = True
        large = self.sizes.prod(axis=1) > _MOST_PIXELS
        if large.any():
            self.bad[f"more than {_MOST_PIXELS} pixels"] = large
        self._room = np.empty(0, np.uint8)

    @property
    def partly(self) -> NDArray[np.bool_]:
        """(N,) images of which less than all can be decoded."""
        return self._jpeg & (self._turn == 1)

    def pixels(self, row: int, factor: int = 1, rows: int | None = None) -> Pixels:
        """Image `row`, reduced by `factor` and down to `rows` only; both where `partly` says so.

        Raises:
            UndecodableError: it does not decode.
        """
        file = self._file(row)
        if self._told is not None:  # before it is read: that takes long, and the next image lies elsewhere
            self._told(len(file))
        if not self._jpeg[row]:
            return decode_pillow(file, channels=self.channels, orient=self._decode.orient)
        fields = self._headers[row]
        height, width = int(fields[header.HEIGHT]), int(fields[header.WIDTH])
        need = height * width * 3
        if len(self._room) < need:
            self._room = np.empty(need, np.uint8)
        found = decode_jpeg(file, fields, decode=self._decode, factor=factor, rows=rows or height, room=self._room)
        return found.oriented(int(self._turn[row]))

    def _file(self, row: int) -> NDArray[np.uint8]:
        begin, end = self._spans[row].tolist()
        return self._data[begin:end]


def _spans(
    column: pa.Array, take: NDArray[np.int64] | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """The column's bytes, (N, 2) begin and end of each row in them, and (N,) which are null."""
    wide = pa.types.is_large_binary(column.type)
    _, places, data = column.buffers()
    ends = np.frombuffer(places, np.int64 if wide else np.int32)[column.offset : column.offset + len(column) + 1]
    index = np.arange(len(column)) if take is None else take
    spans = np.stack([ends[index], ends[index + 1]], axis=1).astype(np.int64)
    bytes = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    return bytes, spans, nulls(column, index)


def nulls(column: pa.Array, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) which of the rows are null."""
    if column.null_count == 0:
        return np.zeros(len(index), np.bool_)
    missing: NDArray[np.bool_] = ~valid(column)[index]
    return missing
