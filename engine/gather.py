"""Rows of many record batches become one record batch, in a few kernel calls whatever the number of batches."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.column_memory import ColumnMemory
from forebay.formats.errors import DataError
from forebay.formats.plain_numbers import numbers
from forebay.transforms.compiled import kernels
from forebay.transforms.stage import ColumnRows

kernel = kernels("gather")

_AT_FIRST = 16
_C_LIBRARY = pa.system_memory_pool()
_SMALL = 1 << 20

_Validity = tuple[pa.Buffer | None, int]
"""A bitmap (None: nothing is null) and the number of nulls."""


class Gatherer:
    """Record batches of one schema, from which rows are taken by (batch, row).

    A struct of plain columns, as decoded images are, is taken column by column. Any number of threads may take rows while
    one adds batches. `copied` is told how many bytes of text and the like were copied out of them; `taken` is for those who read
    rows by address, to tell how many.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        copied: Callable[[int], None] | None = None,
        taken: Callable[[int], None] | None = None,
    ) -> None:
        self.schema, self._told = schema, copied or _unheard
        self.taken = taken or _unheard
        self.batches: list[pa.RecordBatch] = []
        self._parts: list[ColumnMemory] = []
        """Plain columns: those of the schema, and those of its structs."""
        self._parts_of = [self._add_parts(one.type) for one in schema]
        self._table = np.zeros((len(self._parts), _AT_FIRST, kernel.OFFSETS + 1), np.int64)
        self._nullable = np.zeros(len(self._parts), np.bool_)
        self._plain: dict[str, tuple[int, int]] = {}  # column -> part and width, where that is all there is to know
        self._slow = frozenset(at for at, parts in enumerate(self._parts_of) if not parts)
        """Columns that Arrow takes, since their rows cannot be copied by address."""

    def add(self, batch: pa.RecordBatch) -> int:
        """Take in a batch; returns its number. It is held, since its memory is read by address."""
        at = len(self.batches)
        if at == self._table.shape[1]:  # a new table: whoever reads the old one now may go on
            self._table = np.concatenate([self._table, np.zeros_like(self._table)], axis=1)
        for number, (parts, array) in enumerate(zip(self._parts_of, batch.columns, strict=True)):
            arrays = [array.field(one) for one in range(len(parts))] if pa.types.is_struct(array.type) else [array]
            for part, one in zip(parts, arrays, strict=False):
                if not self._parts[part].describe(one, self._table[part, at]):
                    self._slow |= {number}
                self._nullable[part] |= one.null_count > 0
            if pa.types.is_struct(array.type) and array.null_count:
                self._slow |= {number}
        self._plain = {}  # the batch may have nulls
        self.batches.append(batch)
        return at

    def take(
        self, slots: NDArray[np.int64], rows: NDArray[np.int64], columns: Collection[str] | None = None
    ) -> pa.RecordBatch:
        """Row `rows[i]` of batch `slots[i]` as row i. The result owns its memory.

        Args:
            slots: (N,) numbers that `add` gave.
            rows: (N,) rows of these batches. Not checked: they come from an order over the batches' lengths.
            columns: those wanted, in the schema's order; None: all.
        """
        slow, n = self._slow, len(rows)
        chosen = [at for at, one in enumerate(self.schema.names) if columns is None or one in columns]
        if not chosen:  # an Arrow batch without columns has no length, so a placeholder carries it
            return pa.RecordBatch.from_arrays([pa.nulls(n)], names=[""]).select([])
        parts = [part for at in chosen if at not in slow for part in self._parts_of[at]]
        made = self._copied(parts, slots, rows) if parts else {}
        arrays = [
            _taken(self, at, slots, rows)
            if at in slow
            else _joined(self.schema.field(at).type, [made[part] for part in self._parts_of[at]])
            for at in chosen
        ]
        fields = [self.schema.field(at) for at in chosen]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=self.schema.metadata))

    def located(self, column: str, slots: NDArray[np.int64], rows: NDArray[np.int64]) -> ColumnRows | None:
        """Where rows lie; None where they are lists of varying length, may be null, or are not plain memory.

        Of a struct one column may vary in length: it is the one whose memory is told, the others come as values.
        """
        known = self._plain  # this one: what another thread adds meanwhile begins a new one
        if column in known:
            return ColumnRows(self._table[known[column][0], :, kernel.DATA][slots] + rows * known[column][1])
        at = self.schema.get_field_index(column)
        parts = self._parts_of[at]
        memories = [self._parts[part] for part in parts]
        if at in self._slow or self._nullable[parts].any() or any(one.width == kernel.BITS for one in memories):
            return None
        varying = [part for part in parts if self._parts[part].varies]
        if not pa.types.is_struct(self.schema.field(at).type):
            if varying:
                return None if memories[0].listed else _spans(self, parts[0], slots, rows)
            known[column] = parts[0], memories[0].width
            return self.located(column, slots, rows)
        if len(varying) != 1:
            return None
        part = varying[0]
        made = self._copied([one for one in parts if one != part], slots, rows)
        names = [one.name for one in self.schema.field(at).type]
        values = {name: numbers(made[one]) for name, one in zip(names, parts, strict=True) if one != part}
        return replace(_spans(self, part, slots, rows), values=values)

    def _add_parts(self, type: pa.DataType) -> list[int]:
        """Numbers of the plain columns that a column is made of; none if it cannot be copied by address."""
        found = [ColumnMemory.of(one.type) for one in type] if pa.types.is_struct(type) else [ColumnMemory.of(type)]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return []
        self._parts += known
        return list(range(len(self._parts) - len(known), len(self._parts)))

    def _copied(self, parts: list[int], slots: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[int, pa.Array]:
        n, count = len(rows), len(parts)
        columns = [self._parts[part] for part in parts]
        out, nulls = np.zeros((count, 2), np.int64), np.zeros(count, np.int64)
        data: list[pa.Buffer | None] = [None] * count
        bitmaps: list[pa.Buffer | None] = [None] * count
        for line, (part, column) in enumerate(zip(parts, columns, strict=True)):
            if not column.varies:
                room = _room(n * column.width if column.width else (n + 7) // 8)
                data[line], out[line, 0] = room, room.address
            if self._nullable[part]:
                bitmap = _room((n + 7) // 8)
                bitmaps[line], out[line, 1] = bitmap, bitmap.address
        width = np.array([column.width for column in columns], np.int64)
        kernel.rows_into(self._table, np.array(parts, np.int64), width, slots, rows, out, nulls)
        made = {}
        for line, (part, column) in enumerate(zip(parts, columns, strict=True)):
            found = int(nulls[line])
            valid = (bitmaps[line] if found else None, found)
            buffer = data[line]
            if buffer is None:
                made[part] = self._varying(part, slots, rows, valid)
            else:
                made[part] = column.build(n, buffer, validity=valid[0], nulls=found)
        return made

    def _varying(self, part: int, slots: NDArray[np.int64], rows: NDArray[np.int64], valid: _Validity) -> pa.Array:
        column = self._parts[part]
        n, table = len(rows), self._table[part]
        offsets = np.zeros(n + 1, np.int64)
        kernel.lengths_into(table, column.wide, slots, rows, offsets)
        total = int(offsets[-1])
        if not column.wide and total >= 2**31:
            at = next(number for number, parts in enumerate(self._parts_of) if part in parts)
            raise DataError(
                f"column {self.schema.field(at).name!r}: {n} rows hold {total} values, more than {column.type} can count; "
                "give a smaller batch_size, or the column a large_ type"
            )
        data = _room(total * column.width)
        kernel.values_into(table, column.wide, column.width, slots, rows, offsets, data.address)
        self._told(0 if column.listed else total)
        written = offsets if column.wide else offsets.astype(np.int32)
        return column.build(n, data, validity=valid[0], nulls=valid[1], offsets=pa.py_buffer(written))


def copy_rows(
    gatherer: Gatherer, out: Mapping[str, NDArray[Any]], *, slots: NDArray[np.int64], rows: NDArray[np.int64]
) -> frozenset[str]:
    """Copy rows as `Gatherer.take` finds them straight to `out[column]` (N, *shape); the columns that were written.

    Those that are left have nulls, vary in length, or are stored in another width than they are wanted in.
    """
    found = {name: _plain_part(gatherer, name, into) for name, into in out.items()}
    parts = np.array([part for part in found.values() if part is not None], np.int64)
    if len(parts):
        width = np.array([gatherer._parts[part].width for part in parts], np.int64)
        places = np.array([(out[name].ctypes.data, 0) for name, part in found.items() if part is not None], np.int64)
        kernel.rows_into(gatherer._table, parts, width, slots, rows, places, np.zeros(len(parts), np.int64))
    return frozenset(name for name, part in found.items() if part is not None)


def _spans(gatherer: Gatherer, part: int, slots: NDArray[np.int64], rows: NDArray[np.int64]) -> ColumnRows:
    """Where rows of a column that varies in length lie."""
    memory = gatherer._parts[part]
    where, lengths = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    kernel.spans_into(gatherer._table[part], memory.wide, memory.width, slots, rows, where, lengths)
    return ColumnRows(where, lengths, told=gatherer._told)


def _plain_part(gatherer: Gatherer, column: str, into: NDArray[Any]) -> int | None:
    """Number of the plain column whose rows are what `into` takes, byte for byte."""
    at = gatherer.schema.get_field_index(column)
    parts = gatherer._parts_of[at]
    if at in gatherer._slow or len(parts) != 1 or gatherer._nullable[parts[0]] or not into.flags.c_contiguous:
        return None
    memory = gatherer._parts[parts[0]]
    return parts[0] if not memory.varies and memory.width and memory.width * len(into) == into.nbytes else None


def _taken(gatherer: Gatherer, at: int, slots: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Array:
    """A column of a nested type: taken from each batch by Arrow, then put in order."""
    used = np.unique(slots)
    places: list[NDArray[Any]] = [np.flatnonzero(slots == one) for one in used]
    parts = [
        gatherer.batches[one].column(at).take(pa.array(rows[here]))
        for one, here in zip(used.tolist(), places, strict=True)
    ]
    if not parts:
        return pa.array([], gatherer.schema.field(at).type)
    back = np.empty(len(rows), np.int64)
    back[np.concatenate(places)] = np.arange(len(rows))
    return pa.concat_arrays(parts).take(pa.array(back))


def _unheard(nbytes: int) -> None:
    return


def _room(nbytes: int) -> pa.Buffer:
    """A buffer to write to. Arrow's own allocator takes megabytes for each thread that asks it for less."""
    return pa.allocate_buffer(nbytes, memory_pool=_C_LIBRARY if nbytes < _SMALL else None)


def _joined(type: pa.DataType, parts: list[pa.Array]) -> pa.Array:
    return pa.StructArray.from_arrays(parts, fields=list(type)) if pa.types.is_struct(type) else parts[0]
