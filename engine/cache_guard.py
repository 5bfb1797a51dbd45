"""Guards: what the rows of a cached record batch lie in is looked at when they are first taken, not when it is opened."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.cache_blocks import BLOCK_BYTES, BlockCheck, blocks_of
from forebay.engine.cache_unit import Unit
from forebay.engine.column_memory import ColumnMemory
from forebay.transforms.compiled import kernels

kernel = kernels("gather")

_WIDE = 4096
"""Bytes of a row from which on it is worth looking at it alone: pictures, not numbers."""


@dataclass(frozen=True, slots=True)
class _WideColumn:
    """A column whose rows are large, as it lies in a payload."""

    first: int
    """Where its values begin, in bytes of the payload, and where they end."""
    last: int
    begin: int
    """Where row 0 lies, or place 0 of the offsets."""
    width: int
    """Bytes of a row, or of what the offsets count."""
    offsets: NDArray[Any] | None

    def row(self, at: int) -> tuple[int, int]:
        """Where row `at` begins and ends."""
        if self.offsets is None:
            return self.begin + at * self.width, self.begin + (at + 1) * self.width
        return self.begin + int(self.offsets[at]) * self.width, self.begin + int(self.offsets[at + 1]) * self.width


class RowGuard:
    """Says of rows whether their bytes are right, and hashes those that nobody has looked at. Thread-safe."""

    def __init__(self, unit: Unit, check: BlockCheck, columns: list[_WideColumn]) -> None:
        self._payload, self._check, self._columns = memoryview(unit.payload), check, columns

    @property
    def done(self) -> bool:
        """Whether all of it was looked at."""
        return self._check.done

    def right(self, row: int) -> bool:
        """Whether a row's bytes hash to their checksums."""
        for column in self._columns:
            first, last = column.row(row)
            if last > first and not self._check.right(self._payload, range(first // BLOCK_BYTES, blocks_of(last))):
                return False
        return True


def guarded(unit: Unit, check: BlockCheck) -> tuple[list[pa.RecordBatch], RowGuard | None] | None:
    """A unit's record batches, and a guard of what was not looked at yet; None where its bytes are wrong."""
    payload = memoryview(unit.payload)
    if check.done:
        return unit.batches(), None
    if not check.right(payload, _outside(check, unit.info.bulks)):  # Arrow reads nothing that is not known to be right
        return None
    batches = unit.batches()
    columns = list(_wide(unit, batches[0])) if unit.info.bulks and len(batches) == 1 else []
    if not check.right(payload, _outside(check, [[one.first, one.last] for one in columns])):
        return None
    return batches, RowGuard(unit, check, columns) if columns else None


def _outside(check: BlockCheck, parts: list[list[int]]) -> list[int]:
    """Blocks of which not all bytes lie in one of `parts`."""
    inside: set[int] = set()
    for first, last in parts:
        inside.update(range(blocks_of(first), last // BLOCK_BYTES))
    return [at for at in range(check.blocks) if at not in inside]


def _wide(unit: Unit, batch: pa.RecordBatch) -> Iterator[_WideColumn]:
    for array in batch.columns:
        nested = pa.types.is_struct(array.type)
        for one in [array.field(at) for at in range(array.type.num_fields)] if nested else [array]:
            memory = ColumnMemory.of(one.type)
            fields = np.zeros(kernel.OFFSETS + 1, np.int64)
            if memory is None or not memory.describe(one, fields):
                continue
            storage = one.storage if isinstance(one, pa.ExtensionArray) else one
            values = storage.values.buffers()[1] if memory.listed else storage.buffers()[-1]
            first = values.address - unit.payload.address if values is not None else -1
            if first < 0 or first + values.size > unit.payload.size or values.size < _WIDE * max(batch.num_rows, 1):
                continue
            offsets = None
            if memory.varies:
                number = np.dtype(np.int64 if memory.wide else np.int32)
                skipped = storage.offset * number.itemsize
                offsets = np.frombuffer(storage.buffers()[1], number, batch.num_rows + 1, skipped)
            begin = int(fields[kernel.DATA]) - unit.payload.address
            yield _WideColumn(first, first + values.size, begin, memory.width, offsets)
