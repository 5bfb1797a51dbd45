"""DropDuplicates: keep the first of equal rows, over the whole data set."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.column_names import set_columns, textual, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.text_column import text_bytes, validity
from forebay.transforms.transform import Accumulator, Keep, Kind, Rows, State

_text_fingerprint = kernels("text_fingerprint")


@dataclass(frozen=True, slots=True)
class DropDuplicates:
    """Drop rows whose key, or whole content, occurred before, in the order of the source. Null equals null, NaN equals
    NaN.

    It learns which rows are first from all of them, so it is fitted like any other; what it learned (the ids of the
    rows that go) belongs to that very source. The distinct keys are held in memory, by Polars, while it learns; of a text
    its fingerprint of 128 bits (two of 10^9 texts have the same one with a chance of 10^-21). In serving, where filters do
    not run, it does nothing.
    """

    columns: tuple[str, ...] | None = None
    """The key; None: the whole row."""

    kind: ClassVar[Kind] = "dataset"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.columns is not None:
            set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return tuple(schema.names) if self.columns is None else self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.reads(schema), _comparable, expected="a plain type (numbers, text, dates, booleans)")
        return schema

    def accumulator(self, schema: pa.Schema) -> "FirstRows":
        return FirstRows(list(self.reads(schema)))

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Keep:
        assert state is not None
        gone = np.sort(np.asarray(state["dropped"].to_numpy(zero_copy_only=False), np.uint64))

        def keep(batch: pa.RecordBatch, rows: Rows) -> NDArray[np.bool_]:
            at = np.searchsorted(gone, rows.ids)
            found = np.zeros(len(rows.ids), np.bool_)
            within = at < len(gone)
            found[within] = gone[at[within]] == rows.ids[within]
            return ~found

        return keep


_ID = "forebay sample id"
_LOW = " forebay low half"
_LEAST = 65_536
"""Rows that are gathered before any are settled."""


@dataclass(slots=True)
class FirstRows:
    """The first row of each key so far, and the ids of the others."""

    columns: list[str]
    first: list[pl.DataFrame] = field(default_factory=list)
    dropped: list[pl.Series] = field(default_factory=list)

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None:
        columns: dict[str, pa.Array] = {}
        for name in self.columns:
            columns.update(_key(name, batch.column(name)))
        frame: Any = pl.from_arrow(pa.table(columns))
        self._add([frame.with_columns(pl.Series(_ID, rows.ids, pl.UInt64))])

    def merge(self, later: Accumulator) -> None:
        assert isinstance(later, FirstRows)
        self.dropped += later.dropped
        self._add(later.first)

    def finish(self) -> State:
        self._settle()
        gone = pl.concat(self.dropped).sort() if self.dropped else pl.Series(_ID, [], pl.UInt64)
        return {"dropped": gone.to_arrow().cast(pa.uint64())}

    def _add(self, frames: list[pl.DataFrame]) -> None:
        self.first += frames
        # as many new rows as there are settled ones: then each row is settled a few times only, however many there are
        if sum(map(len, self.first[1:])) >= max(_LEAST, len(self.first[0]) if self.first else 0):
            self._settle()

    def _settle(self) -> None:
        if not self.first:
            return
        whole = pl.concat(self.first)
        key = [name for name in whole.columns if name != _ID]
        kept = whole.select(pl.struct(key).is_first_distinct().alias("first"))["first"]
        self.dropped.append(whole.filter(~kept)[_ID])
        self.first = [whole.filter(kept)]


def _key(name: str, column: pa.Array) -> dict[str, pa.Array]:
    """What stands for a column in the key: itself, or the two halves of its texts' fingerprints."""
    if not (textual(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return {name: column}
    high, low = np.empty(len(column), np.uint64), np.empty(len(column), np.uint64)
    _text_fingerprint.fingerprint_into(*text_bytes(column), high, low)
    halves = {name: high, f"{name}{_LOW}": low}
    return {
        key: pa.Array.from_buffers(pa.uint64(), len(column), [validity(column), pa.py_buffer(half)], column.null_count)
        for key, half in halves.items()
    }


def _comparable(type: pa.DataType) -> bool:
    return not pa.types.is_nested(type) and not isinstance(type, pa.BaseExtensionType)
