"""Rows of many record batches become one record batch, in a few kernel calls whatever the number of batches."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.column_memory import ColumnMemory
from forebay.formats.errors import DataError
from forebay.transforms.kernels import gather as kernel

_AT_FIRST = 16

_Validity = tuple[pa.Buffer | None, int]
"""A bitmap (None: nothing is null) and the number of nulls."""


class Gatherer:
    """Record batches of one schema, from which rows are taken by (batch, row).

    Any number of threads may take rows while one adds batches.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.batches: list[pa.RecordBatch] = []
        self._columns = [ColumnMemory.of(one.type) for one in schema]
        self._table = np.zeros((len(schema), _AT_FIRST, kernel.OFFSETS + 1), np.int64)
        self._nullable = np.zeros(len(schema), np.bool_)
        self._slow = frozenset(at for at, one in enumerate(self._columns) if one is None)
        """Columns that Arrow takes, since their rows cannot be copied by address."""

    def add(self, batch: pa.RecordBatch) -> int:
        """Take in a batch; returns its number. It is held, since its memory is read by address."""
        at = len(self.batches)
        if at == self._table.shape[1]:  # a new table: whoever reads the old one now may go on
            self._table = np.concatenate([self._table, np.zeros_like(self._table)], axis=1)
        for number, (column, array) in enumerate(zip(self._columns, batch.columns, strict=True)):
            if column is None or not column.describe(array, self._table[number, at]):
                self._slow |= {number}
            self._nullable[number] |= array.null_count > 0
        self.batches.append(batch)
        return at

    def take(self, slots: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.RecordBatch:
        """Row `rows[i]` of batch `slots[i]` as row i. The result owns its memory.

        Args:
            slots: (N,) numbers that `add` gave.
            rows: (N,) rows of these batches. Not checked: they come from an order over the batches' lengths.
        """
        slow, n = self._slow, len(rows)
        if not self._columns:  # an Arrow batch without columns has no length, so a placeholder carries it
            return pa.RecordBatch.from_arrays([pa.nulls(n)], names=[""]).select([])
        columns = [(at, one) for at, one in enumerate(self._columns) if one is not None and at not in slow]
        made = self._copied(columns, slots, rows) if columns else {}
        for at in slow:
            made[at] = self._taken(at, slots, rows)
        return pa.RecordBatch.from_arrays([made[at] for at in range(len(self._columns))], schema=self.schema)

    def addresses(self, column: str, slots: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """(N,) address of each row's values; None where rows vary in length, may be null, or are not plain memory."""
        at = self.schema.get_field_index(column)
        found = self._columns[at]
        if found is None or at in self._slow or self._nullable[at] or found.varies or found.width == kernel.BITS:
            return None
        wanted: NDArray[np.int64] = self._table[at, :, kernel.DATA][slots] + rows * found.width
        return wanted

    def _copied(
        self, columns: list[tuple[int, ColumnMemory]], slots: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> dict[int, pa.Array]:
        n, count = len(rows), len(columns)
        out, nulls = np.zeros((count, 2), np.int64), np.zeros(count, np.int64)
        data: list[pa.Buffer | None] = [None] * count
        bitmaps: list[pa.Buffer | None] = [None] * count
        for line, (at, column) in enumerate(columns):
            if not column.varies:
                room = pa.allocate_buffer(n * column.width if column.width else (n + 7) // 8)
                data[line], out[line, 0] = room, room.address
            if self._nullable[at]:
                bitmap = pa.allocate_buffer((n + 7) // 8)
                bitmaps[line], out[line, 1] = bitmap, bitmap.address
        chosen = np.array([at for at, _ in columns], np.int64)
        width = np.array([column.width for _, column in columns], np.int64)
        kernel.rows_into(self._table, chosen, width, slots, rows, out, nulls)
        made = {}
        for line, (at, column) in enumerate(columns):
            found = int(nulls[line])
            valid = (bitmaps[line] if found else None, found)
            buffer = data[line]
            if buffer is None:
                made[at] = self._varying(at, column, slots, rows, valid)
            else:
                made[at] = column.build(n, buffer, validity=valid[0], nulls=found)
        return made

    def _varying(
        self, at: int, column: ColumnMemory, slots: NDArray[np.int64], rows: NDArray[np.int64], valid: _Validity
    ) -> pa.Array:
        n, table = len(rows), self._table[at]
        offsets = np.zeros(n + 1, np.int64)
        kernel.lengths_into(table, column.wide, slots, rows, offsets)
        total = int(offsets[-1])
        if not column.wide and total >= 2**31:
            raise DataError(
                f"column {self.schema.field(at).name!r}: {n} rows hold {total} values, more than {column.type} can count; "
                "give a smaller batch_size, or the column a large_ type"
            )
        data = pa.allocate_buffer(total * column.width)
        kernel.values_into(table, column.wide, column.width, slots, rows, offsets, data.address)
        written = offsets if column.wide else offsets.astype(np.int32)
        return column.build(n, data, validity=valid[0], nulls=valid[1], offsets=pa.py_buffer(written))

    def _taken(self, at: int, slots: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Array:
        """A column of a nested type: taken from each batch by Arrow, then put in order."""
        used = np.unique(slots)
        places: list[NDArray[Any]] = [np.flatnonzero(slots == one) for one in used]
        parts = [
            self.batches[one].column(at).take(pa.array(rows[here]))
            for one, here in zip(used.tolist(), places, strict=True)
        ]
        if not parts:
            return pa.array([], self.schema.field(at).type)
        back = np.empty(len(rows), np.int64)
        back[np.concatenate(places)] = np.arange(len(rows))
        return pa.concat_arrays(parts).take(pa.array(back))
