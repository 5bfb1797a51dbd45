"""Which bytes of a Parquet or Arrow file hold a fragment, from its footer, so that they can be fetched all at once."""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from forebay.formats.errors import CorruptError
from forebay.formats.remote_ranges import Range

if TYPE_CHECKING:
    import pyarrow.parquet as pq  # at run time only where there are Parquet files

_ARROW_MAGIC = b"ARROW1"
_RECORD_BATCHES = 3
"""Place of `recordBatches` in the table Footer: https://github.com/apache/arrow/blob/main/format/File.fbs"""
_BLOCK = struct.Struct("<qi4xq")
"""struct Block: offset, metaDataLength, padding, bodyLength."""


def parquet_ranges(metadata: "pq.FileMetaData", groups: Sequence[int], columns: Sequence[str]) -> list[Range]:
    """Column chunks of some row groups. `columns` are names of top-level columns; all leaves of one are taken."""
    wanted = set(columns)
    found = []
    for group in groups:
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            chunk = row_group.column(index)
            if chunk.path_in_schema.split(".", 1)[0] in wanted or chunk.path_in_schema in wanted:
                start = chunk.data_page_offset
                if chunk.dictionary_page_offset is not None:
                    start = min(start, chunk.dictionary_page_offset)
                found.append((start, start + chunk.total_compressed_size))
    return found


class Block(NamedTuple):
    """Where a record batch lies: its header, then its body."""

    start: int
    body: int
    stop: int


def arrow_ranges(file: pa.NativeFile, path: str) -> list[Range]:
    """The bytes of each record batch of an Arrow IPC file.

    Raises:
        CorruptError: the end of the file is not that of one.
    """
    return [(one.start, one.stop) for one in arrow_blocks(file, path)]


def arrow_blocks(file: pa.NativeFile, path: str) -> list[Block]:
    """The record batches of an Arrow IPC file.

    Raises:
        CorruptError: the end of the file is not that of one.
    """
    size = file.size()
    end = bytes(file.read_at(10, size - 10)) if size >= 10 else b""
    if end[4:] != _ARROW_MAGIC:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: it does not end with ARROW1")
    (length,) = struct.unpack_from("<i", end)
    if not 0 < length <= size - 10:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: its footer would be {length} bytes of {size}")
    return _blocks(bytes(file.read_at(length, size - 10 - length)), path)


def _blocks(footer: bytes, path: str) -> list[Block]:
    # a flatbuffer: the root's offset, a table whose vtable gives the place of each field, a vector of structs
    try:
        (table,) = struct.unpack_from("<I", footer, 0)
        vtable = table - struct.unpack_from("<i", footer, table)[0]
        (vtable_size,) = struct.unpack_from("<H", footer, vtable)
        slot = 4 + 2 * _RECORD_BATCHES
        field = struct.unpack_from("<H", footer, vtable + slot)[0] if slot < vtable_size else 0
        if not field:
            return []
        vector = table + field + struct.unpack_from("<I", footer, table + field)[0]
        (count,) = struct.unpack_from("<I", footer, vector)
        found = [_BLOCK.unpack_from(footer, vector + 4 + at * _BLOCK.size) for at in range(count)]
    except struct.error as error:
        raise CorruptError(f"{path}: the footer of this Arrow IPC file does not parse: {error}") from error
    return [Block(offset, offset + metadata, offset + metadata + body) for offset, metadata, body in found]
