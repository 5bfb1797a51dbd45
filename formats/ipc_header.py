"""What the header of a record batch in an Arrow IPC file says: its rows, and whether its buffers are compressed.

pyarrow tells neither without loading the batch. The header is a flatbuffer, `Message` with a `RecordBatch` in it:
https://github.com/apache/arrow/blob/main/format/Message.fbs
"""

import struct
from dataclasses import dataclass

import pyarrow as pa

from forebay.formats.errors import CorruptError

_CONTINUATION = 0xFFFFFFFF
_MESSAGE_HEADER = 2
"""Place of `header` in the table Message."""
_LENGTH, _COMPRESSION = 0, 3
"""Places of `length` and `compression` in the table RecordBatch."""


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """One record batch, as announced."""

    rows: int
    compressed: bool


def batch_header(file: pa.NativeFile, start: int, path: str) -> BatchHeader:
    """The header of the record batch whose message starts at byte `start`.

    Raises:
        CorruptError: there is no message.
    """
    try:
        mark, length = struct.unpack("<II", bytes(file.read_at(8, start)))
        if mark != _CONTINUATION:
            raise struct.error("no continuation mark")
        data = bytes(file.read_at(length, start + 8))
        message = _at(data, 0)
        batch = _at(data, _field(data, message, _MESSAGE_HEADER))
        at = _field(data, batch, _LENGTH)
        rows = struct.unpack_from("<q", data, at)[0] if at else 0
        return BatchHeader(rows, _field(data, batch, _COMPRESSION) != 0)
    except struct.error as error:
        raise CorruptError(f"{path}: no record batch at byte {start}: {error}") from error


def _at(data: bytes, place: int) -> int:
    """Where the table is that the offset at `place` points to."""
    return int(place + struct.unpack_from("<I", data, place)[0])


def _field(data: bytes, table: int, index: int) -> int:
    """Where a field of a table is; 0 when it has its default."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * index
    if slot >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", data, vtable + slot)[0]
    return int(table + offset) if offset else 0
