"""What the header of a record batch in an Arrow IPC file says: its rows, where its buffers are, and whether they are compressed.

pyarrow tells none of it without loading the batch. The header is a flatbuffer, `Message` with a `RecordBatch` in it:
https://github.com/apache/arrow/blob/main/format/Message.fbs
"""

import struct
from dataclasses import dataclass

import pyarrow as pa

from forebay.formats.errors import CorruptError

_CONTINUATION = 0xFFFFFFFF
_MESSAGE_HEADER = 2
"""Place of `header` in the table Message."""
_LENGTH, _NODES, _BUFFERS, _COMPRESSION = 0, 1, 2, 3
"""Places of `length`, `nodes`, `buffers` and `compression` in the table RecordBatch."""


@dataclass(frozen=True, slots=True)
class Header:
    """One record batch, as announced."""

    rows: int
    compressed: bool
    body: int
    """Byte of the file at which its buffers begin."""
    nodes: list[tuple[int, int]]
    """(length, nulls) of each array in it, depth first."""
    buffers: list[tuple[int, int]]
    """(first byte, length) in the body."""


def read_header(file: pa.NativeFile, start: int, path: str) -> Header:
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
        nodes, buffers = (_pairs(data, _field(data, batch, one)) for one in (_NODES, _BUFFERS))
        return Header(rows, _field(data, batch, _COMPRESSION) != 0, start + 8 + length, nodes, buffers)
    except struct.error as error:
        raise CorruptError(f"{path}: no record batch at byte {start}: {error}") from error


def _pairs(data: bytes, place: int) -> list[tuple[int, int]]:
    """A vector of structs of two int64."""
    if not place:
        return []
    vector = _at(data, place)
    (count,) = struct.unpack_from("<I", data, vector)
    return [struct.unpack_from("<qq", data, vector + 4 + 16 * one) for one in range(count)]


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
