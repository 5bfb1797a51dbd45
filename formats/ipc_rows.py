"""Where the rows of a raw record batch lie in an Arrow IPC file, so that some can be fetched without the others.

Buffers follow one another in the order of the schema's fields, depth first; an uncompressed one is the column's memory:
https://arrow.apache.org/docs/format/Columnar.html#recordbatch-message
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from forebay.formats.ipc_header import Header, read_header
from forebay.formats.remote_layout import Block
from forebay.formats.remote_ranges import Range

ROWS_ALIGNED = 8
"""Rows are taken from multiples of this on: there bitmaps have whole bytes."""
_PADDINGS = (8, 64)
"""What writers fill up buffers to multiples of: Arrow's own take the first, unless they are told to."""


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """One column, whose rows all have the same width."""

    type: pa.DataType
    bits: int
    """Of a row."""
    data: int
    """Byte of the file at which its first row begins."""
    valid: int | None
    """Byte of the file at which its validity bitmap begins; None where nothing is null."""

    def range(self, first: int, stop: int) -> Range:
        """Bytes of some rows' values."""
        return self.data + first * self.bits // 8, self.data + (stop * self.bits + 7) // 8

    def valid_range(self, first: int, stop: int) -> Range | None:
        """Bytes of some rows' validity."""
        return None if self.valid is None else (self.valid + first // 8, self.valid + (stop + 7) // 8)


@dataclass(frozen=True, slots=True)
class BatchPlaces:
    """One record batch."""

    rows: int
    columns: dict[str, ColumnPlace]

    def ranges(self, first: int, stop: int) -> list[Range]:
        """Bytes of the file that hold these rows; `first` is a multiple of `ROWS_ALIGNED`."""
        found = []
        for one in self.columns.values():
            valid = one.valid_range(first, stop)
            found += [one.range(first, stop)] if valid is None else [valid, one.range(first, stop)]
        return found

    def read(self, file: Any, first: int, stop: int) -> pa.RecordBatch:
        """These rows, from a file that gives buffers without a copy."""
        arrays = []
        for one in self.columns.values():
            valid = one.valid_range(first, stop)
            bitmap = None if valid is None else _bytes(file, valid)
            arrays.append(_array(one.type, stop - first, _bytes(file, one.range(first, stop)), valid=bitmap))
        return pa.RecordBatch.from_arrays(arrays, names=list(self.columns))


def fixed_bits(type: pa.DataType) -> int:
    """Bits of a row of a type whose rows can be fetched one by one; 0 for others."""
    storage = type.storage_type if isinstance(type, pa.BaseExtensionType) else type
    if pa.types.is_fixed_size_list(storage):
        inner = storage.value_type
        return 0 if pa.types.is_boolean(inner) or not _plain(inner) else storage.list_size * int(inner.bit_width)
    return int(storage.bit_width) if _plain(storage) else 0


def batch_places(
    file: pa.NativeFile, start: int, path: str, *, schema: pa.Schema, names: Sequence[str]
) -> BatchPlaces | None:
    """Where the columns `names` of the record batch are whose message starts at byte `start`; None where not all of them
    have rows of a fixed width, or some are compressed, or values within their lists are null.

    Raises:
        CorruptError: there is no record batch.
    """
    header = read_header(file, start, path)
    found = None if header.compressed else dict(_columns(schema, header, names))
    return None if found is None or set(found) != set(names) else BatchPlaces(header.rows, found)


def supposed_places(block: Block, rows: int, *, schema: pa.Schema, names: Sequence[str]) -> BatchPlaces | None:
    """Where the columns `names` of a record batch of `rows` rows would be if nothing in it is null or compressed; None where
    its length tells that it is otherwise, or columns vary in length. The header has to be looked at before rows are used."""
    bits = [fixed_bits(one.type) for one in schema]
    if not all(bits):
        return None
    for padding in _PADDINGS:
        lengths = [-(-rows * one // 8 // padding) * padding for one in bits]
        if sum(lengths) == block.stop - block.body:
            starts = [block.body + sum(lengths[:at]) for at in range(len(lengths))]
            columns = zip(schema, bits, starts, strict=True)
            found = {field.name: ColumnPlace(field.type, wide, at, None) for field, wide, at in columns}
            return BatchPlaces(rows, {name: one for name, one in found.items() if name in names})
    return None


def _columns(schema: pa.Schema, header: Header, names: Sequence[str]) -> Iterator[tuple[str, ColumnPlace]]:
    node, buffer = 0, 0
    for field in schema:
        counts = _counts(field.type)
        if counts is None:
            return
        nodes, buffers = header.nodes[node : node + counts[0]], header.buffers[buffer : buffer + counts[1]]
        node, buffer = node + counts[0], buffer + counts[1]
        bits = fixed_bits(field.type) if field.name in names else 0
        if bits and not any(nulls for _, nulls in nodes[1:]):
            valid = header.body + buffers[0][0] if nodes[0][1] else None
            yield field.name, ColumnPlace(field.type, bits, header.body + buffers[-1][0], valid)


def _counts(type: pa.DataType) -> tuple[int, int] | None:
    """(field nodes, buffers) of a column; None for types that have as many as they need."""
    storage = type.storage_type if isinstance(type, pa.BaseExtensionType) else type
    if _plain(storage) or pa.types.is_dictionary(storage):
        return 1, 2
    texts = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
    if any(one(storage) for one in texts):
        return 1, 3
    inner = [storage.field(at).type for at in range(storage.num_fields)]
    own = 1 if pa.types.is_struct(storage) or pa.types.is_fixed_size_list(storage) else 2
    listed = pa.types.is_list(storage) or pa.types.is_large_list(storage) or pa.types.is_map(storage)
    parts = [_counts(one) for one in inner]
    if (own == 2 and not listed) or any(one is None for one in parts):
        return None
    known = [one for one in parts if one is not None]
    return 1 + sum(nodes for nodes, _ in known), own + sum(buffers for _, buffers in known)


def _plain(type: pa.DataType) -> bool:
    kinds = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_temporal,
        pa.types.is_decimal,
        pa.types.is_fixed_size_binary,
    )
    return any(kind(type) for kind in kinds)


def _array(type: pa.DataType, rows: int, data: pa.Buffer, *, valid: pa.Buffer | None) -> pa.Array:
    if isinstance(type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type, _array(type.storage_type, rows, data, valid=valid))
    if not pa.types.is_fixed_size_list(type):
        return pa.Array.from_buffers(type, rows, [valid, data])
    inner = pa.Array.from_buffers(type.value_type, rows * type.list_size, [None, data])
    return pa.Array.from_buffers(type, rows, [valid], children=[inner])


def _bytes(file: Any, part: Range) -> pa.Buffer:
    file.seek(part[0])
    return file.read_buffer(part[1] - part[0])
