"""How many rows a row group takes."""

from collections.abc import Iterable
from itertools import islice

import pyarrow as pa

TARGET_BYTES = 16 << 20
"""Bytes in memory of a row group, if its rows allow: chosen with `python -m forebay.bench.shards`. Smaller ones cost a
reader that takes whole row groups more requests and more decoding set-up; larger ones cost memory and mixing."""

MAX_ROWS = 131_072
MIN_ROWS = 16

_PROBE_ROWS = 1_024
_PROBE_BYTES = 4 << 20


def rows_for(batches: Iterable[pa.RecordBatch], held: int, *, complete: bool) -> int | None:
    """Rows of a row group by the size of the first rows; None while these are too few to tell.

    The first 16, 32, … 1024 rows are looked at until they make 4 MB, so the answer depends on the rows, and not on the
    batches they came in; it is a power of two. With `complete` no more rows will come.
    """
    batches = list(batches)
    count = MIN_ROWS
    while count <= held:
        nbytes = size(_first(batches, count))
        if nbytes >= _PROBE_BYTES or count >= _PROBE_ROWS:
            return _rows(nbytes / count)
        count *= 2
    return _rows(size(_first(batches, held)) / held) if complete else None


def size(table: pa.Table) -> int:
    """Bytes of the values: without validity bitmaps, which equal rows may or may not carry."""
    return sum(_size(chunk) for column in table.columns for chunk in column.chunks)


def _size(array: pa.Array) -> int:
    if pa.types.is_primitive(array.type):
        return len(array) * array.type.bit_width // 8
    return int(array.nbytes)


def _first(batches: list[pa.RecordBatch], count: int) -> pa.Table:
    taken, left = [], count
    for batch in islice(batches, count):
        taken.append(batch.slice(0, left))
        left -= taken[-1].num_rows
        if left <= 0:
            break
    return pa.Table.from_batches(taken).combine_chunks()


def _rows(per_row: float) -> int:
    rows = int(TARGET_BYTES / max(per_row, 1 / 8))
    return max(MIN_ROWS, min(MAX_ROWS, 1 << max(rows, 1).bit_length() - 1))
