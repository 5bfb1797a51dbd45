"""DropDuplicates: keep the first of equal rows, over the whole data set."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.column_names import set_columns, typed
from forebay.transforms.transform import Accumulator, Keep, Kind, Rows, State


@dataclass(frozen=True, slots=True)
class DropDuplicates:
    """Drop rows whose key, or whole content, occurred before, in the order of the source. Null equals null, NaN equals
    NaN.

    It learns which rows are first from all of them, so it is fitted like any other; what it learned (the ids of the
    rows that go) belongs to that very source. The distinct keys are held in memory, by Polars, while it learns. In
    serving, where filters do not run, it does nothing.
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


@dataclass(slots=True)
class FirstRows:
    """The first row of each key so far, and the ids of the others."""

    columns: list[str]
    first: list[pl.DataFrame] = field(default_factory=list)
    dropped: list[pl.Series] = field(default_factory=list)

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None:
        frame: Any = pl.from_arrow(pa.Table.from_batches([batch.select(self.columns)]))
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
        if len(self.first) >= 16:
            self._settle()

    def _settle(self) -> None:
        if not self.first:
            return
        whole = pl.concat(self.first)
        kept = whole.select(pl.struct(self.columns).is_first_distinct().alias("first"))["first"]
        self.dropped.append(whole.filter(~kept)[_ID])
        self.first = [whole.filter(kept)]


def _comparable(type: pa.DataType) -> bool:
    return not pa.types.is_nested(type) and not isinstance(type, pa.BaseExtensionType)
