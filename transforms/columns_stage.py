"""The stage that runs fused chains: all its columns in one kernel call, into a new batch or into a training batch."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import BadRows, SchemaError
from forebay.transforms.column_chain import NUMPY, STORED, Instruction
from forebay.transforms.compiled import kernels
from forebay.transforms.pieces_stage import check_take
from forebay.transforms.stage import TensorSpec
from forebay.transforms.transform import Rows

kernel = kernels("columns")
_narrow = kernels("narrow")
_validity = kernels("validity")

_CALLS = np.array([_validity.unpack_into.address, _narrow.load_into.address, _narrow.store_into.address], np.int64)
_NO_BAD = np.zeros(0, np.uint8)
_IN_ORDER = np.zeros(0, np.int64)
_KEPT = 256
"""Batches whose addresses are remembered: a loader comes back to the same memory-mapped ones for each training
batch."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What is read from one column, done to it and written once."""

    column: str
    """Column of the stage's input."""
    instructions: tuple[Instruction, ...]
    type: pa.DataType
    """Type after them."""
    start: pa.DataType
    """Type before them."""
    fills: bool = False
    """Whether no null is left."""
    source: Callable[[pa.Array], pa.Array] | None = None

    def then(self, more: Iterable[Instruction], type: pa.DataType, *, fills: bool = False) -> "Lane":
        """This lane with more instructions behind it."""
        instructions = (*self.instructions, *more)
        return replace(self, instructions=instructions, type=type, fills=self.fills or fills)


class ColumnsStage:
    """A fused run of element-wise transforms (a `Stage`, a `SlotStage` and a `PartStage`). Thread-safe: it only remembers
    addresses."""

    def __init__(
        self, label: str, before: pa.Schema, schema: pa.Schema, written: Mapping[str, tuple[Lane, ...]]
    ) -> None:
        self.label, self.schema = label, schema
        self._before, self._written = before, dict(written)
        self._lanes = [lane for lanes in written.values() for lane in lanes]
        self._at = [before.get_field_index(lane.column) for lane in self._lanes]
        self.reads = tuple(dict.fromkeys(lane.column for lane in self._lanes))
        self._passed = [(name, before.get_field_index(name)) for name in schema.names if name not in self._written]
        self._tensors = {
            name: TensorSpec((len(lanes),) if _stacked(schema.field(name).type) else (), NUMPY[lanes[0].type])
            for name, lanes in self._written.items()
        }
        self._program = _Program(self._lanes)
        self._derived = any(lane.source for lane in self._lanes)
        self._seen: dict[int, tuple[weakref.ref[Any], NDArray[np.int64]]] = {}

    def tensors(self) -> Mapping[str, TensorSpec]:
        return self._tensors

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        batch, n = self._checked(batch), batch.num_rows
        arrays = self._arrays(batch)
        table = self._table(arrays)
        made: dict[str, pa.Array] = {}
        at = 0
        for name, lanes in self._written.items():
            fields = table[at : at + len(lanes)]
            if _stacked(self.schema.field(name).type):
                made[name] = _new_tensor(self.schema.field(name).type, n, fields)
            else:
                made[name] = _new_column(lanes[0], arrays[at], fields)
            at += len(lanes)
        self._call(table, n, None)
        made.update((name, batch.column(index)) for name, index in self._passed)
        return pa.RecordBatch.from_arrays([made[name] for name in self.schema.names], schema=self.schema)

    def run_into(
        self,
        batch: pa.RecordBatch,
        rows: Rows,
        take: NDArray[np.int64] | None,
        out: Mapping[str, NDArray[Any]],
    ) -> None:
        n = batch.num_rows if take is None else len(take)
        if n == 0:
            return
        check_take(take, batch.num_rows)
        if self._derived:
            # text becomes numbers for the rows of this batch only, so those are taken first
            batch = self._checked(batch) if take is None else self._checked(batch).take(pa.array(take))
            arrays = self._arrays(batch)  # held until the kernel has read them
            table, take = self._table(arrays), None
        else:
            table = self._remembered(batch).copy()
        self._write(table, n, take, out)

    def run_part_into(self, batch: pa.RecordBatch, first: int, rows: Rows, out: Mapping[str, NDArray[Any]]) -> None:
        n = len(rows.ids)
        if self._derived:
            self.run_into(batch.slice(first, n), rows, None, out)
        elif n:
            table = self._remembered(batch).copy()
            table[:, kernel.SRC] += first * self._program.sizes
            table[:, kernel.VALID_BIT] += first
            self._write(table, n, None, out)

    def _write(
        self, table: NDArray[np.int64], n: int, take: NDArray[np.int64] | None, out: Mapping[str, NDArray[Any]]
    ) -> None:
        table[:, kernel.NULLS] = kernel.NULLS_TO_NAN
        at = 0
        for name, spec in self._tensors.items():
            into = out[name]
            if into.dtype != spec.dtype or into.shape != (n, *spec.shape):
                raise SchemaError(
                    f"{self.label}: the array for column {name!r} is {into.dtype}{list(into.shape)}; expected {spec.dtype}"
                    f"{[n, *spec.shape]}, as tensors() says"
                )
            lanes = spec.shape[0] if spec.shape else 1
            table[at : at + lanes, kernel.DST] = _address(into) + into.itemsize * np.arange(lanes)
            table[at : at + lanes, kernel.DST_STEP] = into.strides[0] // into.itemsize
            at += lanes
        self._call(table, n, take)

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.equals(self._before):
            return batch
        for field in self._before:
            at = batch.schema.get_field_index(field.name)
            if at < 0 or batch.schema.field(at).type != field.type:
                found = "is not there" if at < 0 else f"is {batch.schema.field(at).type}"
                raise SchemaError(f"{self.label}: column {field.name!r} {found}; expected {field.type}, as planned")
        return batch.select(self._before.names)

    def _arrays(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The source of each lane; columns that the kernel cannot read are turned into ones that it can."""
        found = [batch.column(at) for at in self._at]
        return [lane.source(one) if lane.source else one for lane, one in zip(self._lanes, found, strict=True)]

    def _table(self, arrays: list[pa.Array]) -> NDArray[np.int64]:
        table = self._program.table.copy()
        for row, (array, size) in enumerate(zip(arrays, self._program.sizes.tolist(), strict=True)):
            validity, data = array.buffers()
            offset = array.offset
            table[row, kernel.SRC] = (data.address if data else 0) + offset * size
            if validity is not None and array.null_count:
                table[row, kernel.VALID], table[row, kernel.VALID_BIT] = validity.address, offset
        return table

    def _remembered(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """`_table` of a batch, remembered while the batch lives: that of a memory-mapped shard comes up for each
        batch."""
        key = id(batch)
        seen = self._seen.get(key)
        if seen is not None and seen[0]() is batch:
            return seen[1]
        checked = self._checked(batch)
        table = self._table(self._arrays(checked))
        if len(self._seen) >= _KEPT:
            self._seen.clear()
        self._seen[key] = weakref.ref(batch), table
        return table

    def _call(self, table: NDArray[np.int64], n: int, take: NDArray[np.int64] | None) -> None:
        program, status = self._program, np.zeros(len(table), np.int64)
        index = _IN_ORDER if take is None else np.ascontiguousarray(take, np.int64)
        scratch = _scratch()
        code, f, i = program.code, program.f, program.i
        kernel.run_columns_into(table, code, f, i, index, take is not None, n, _CALLS, scratch, _NO_BAD, status)
        if not status.any():
            return
        at = int(status.nonzero()[0][0])
        bad = np.zeros(n, np.uint8)
        one = np.ascontiguousarray(table[at : at + 1])
        kernel.run_columns_into(one, code, f, i, index, take is not None, n, _CALLS, scratch, bad, status[:1].copy())
        lane, first = self._lanes[at], int(status[at])
        reason = lane.instructions[first - 1].reason if first > 0 else _null_reason(lane)
        raise BadRows(bad.nonzero()[0].tolist(), reason, column=lane.column)


class _Program:
    """The lanes' instructions as the arrays that the kernel reads."""

    def __init__(self, lanes: list[Lane]) -> None:
        flat = [one for lane in lanes for one in lane.instructions]
        self.code = np.array([one.code for one in flat], np.int64)
        self.f = np.zeros((len(flat), kernel.F_SIZE), np.float64)
        self.i = np.zeros((len(flat), kernel.I_SIZE), np.int64)
        self._tables = [one.table for one in flat]  # what `i` points to
        for row, one in enumerate(flat):
            self.f[row, : len(one.f)] = one.f
            self.i[row, : len(one.i)] = one.i
            if one.table is not None:
                self.i[row, 2:] = one.table.ctypes.data, one.table.size
        self.sizes = np.array([NUMPY[lane.start].itemsize for lane in lanes], np.int64)
        self.table = np.zeros((len(lanes), kernel.NULLS + 1), np.int64)
        first = 0
        for row, lane in enumerate(lanes):
            last = first + len(lane.instructions)
            self.table[row, kernel.SRC_TYPE], self.table[row, kernel.DST_TYPE] = STORED[lane.start], STORED[lane.type]
            self.table[row, kernel.FIRST], self.table[row, kernel.LAST] = first, last
            first = last


def _scratch() -> NDArray[np.uint8]:
    # a block that begins within a cache line makes each load of a whole vector touch two
    room = np.empty(kernel.SCRATCH + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + kernel.SCRATCH]


def _address(array: NDArray[Any]) -> int:
    # `ctypes.data` takes a microsecond, a buffer a fifth of that, and there is one for each column of a batch
    return int(pa.py_buffer(array).address) if array.flags.c_contiguous else array.ctypes.data


def _stacked(type: pa.DataType) -> bool:
    return isinstance(type, pa.FixedShapeTensorType)


def _new_column(lane: Lane, source: pa.Array, fields: NDArray[np.int64]) -> pa.Array:
    """A column to write to, with the source's validity; it starts at the same bit of a byte, so that the bitmap is
    shared."""
    validity = None if lane.fills or not source.null_count else source.buffers()[0]
    skip = source.offset & 7 if validity else 0
    size, n = NUMPY[lane.type].itemsize, len(source)
    data = pa.allocate_buffer((n + skip) * size)
    fields[0, kernel.DST], fields[0, kernel.DST_STEP] = data.address + skip * size, 1
    shared = validity.slice(source.offset >> 3) if validity else None
    return pa.Array.from_buffers(lane.type, n, [shared, data], source.null_count if validity else 0, skip)


def _new_tensor(type: pa.FixedShapeTensorType, n: int, fields: NDArray[np.int64]) -> pa.Array:
    """A tensor column to write to, one lane a place of the row."""
    width, size = len(fields), NUMPY[type.value_type].itemsize
    data = pa.allocate_buffer(n * width * size)
    fields[:, kernel.DST], fields[:, kernel.DST_STEP] = data.address + np.arange(width) * size, width
    fields[:, kernel.NULLS] = kernel.NULLS_TO_NAN
    values = pa.Array.from_buffers(type.value_type, n * width, [None, data], 0)
    storage = pa.FixedSizeListArray.from_arrays(values, type=type.storage_type)
    return pa.ExtensionArray.from_storage(type, storage)


def _null_reason(lane: Lane) -> str:
    return f"null, and {lane.type} has no value for it (fill it with FillNull, or drop the row with DropNulls)"
