"""FillForward: where a value is missing, take the last one before it, within a key."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from forebay.transforms.column_names import set_columns, typed
from forebay.transforms.transform import Accumulator, Apply, Kind, Rows, State

_ID = "forebay sample id"


@dataclass(frozen=True, slots=True)
class FillForward:
    """Replace null, and NaN, by the last value before it in the order of the source; a row before any value stays null.

    What comes before a row may lie in another shard, so the fills are learned from all of the data (held in memory by
    Polars meanwhile: key, values and ids) and belong to that very source. In serving there is no row before, so null
    stays null.
    """

    columns: tuple[str, ...]
    by: tuple[str, ...] = field(default=(), kw_only=True)
    """The key: values are carried only between rows that agree in these columns."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)
        if self.by:
            set_columns(self, "by")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.columns, *self.by)))

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.reads(schema), lambda one: not pa.types.is_nested(one), expected="a plain type")
        return schema

    def accumulator(self, schema: pa.Schema) -> "CarriedValues":
        return CarriedValues(self.columns, self.by)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        assert state is not None
        fills = {
            name: (
                np.asarray(state[f"ids {name}"].to_numpy(zero_copy_only=False), np.uint64),
                state[f"values {name}"].cast(schema.field(name).type),
            )
            for name in self.columns
        }

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            made = {name: batch.column(name) for name in schema.names}
            for name, (ids, values) in fills.items():
                at = np.minimum(np.searchsorted(ids, rows.ids), max(len(ids) - 1, 0))
                found = ids[at] == rows.ids if len(ids) else np.zeros(len(rows.ids), np.bool_)
                hit = pa.array(found)
                made[name] = pc.replace_with_mask(made[name], hit, values.take(pa.array(at[found])))
            return pa.RecordBatch.from_arrays(list(made.values()), schema=schema)

        return apply


@dataclass(slots=True)
class CarriedValues:
    """All rows' keys, values and ids, in order."""

    columns: tuple[str, ...]
    by: tuple[str, ...]
    frames: list[pl.DataFrame] = field(default_factory=list)

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None:
        names = list(dict.fromkeys((*self.columns, *self.by)))
        frame: Any = pl.from_arrow(pa.Table.from_batches([batch.select(names)]))
        self.frames.append(frame.with_columns(pl.Series(_ID, rows.ids, pl.UInt64)))

    def merge(self, later: Accumulator) -> None:
        assert isinstance(later, CarriedValues)
        self.frames += later.frames

    def finish(self) -> State:
        state: dict[str, Any] = {}
        whole = pl.concat(self.frames) if self.frames else None
        for name in self.columns:
            if whole is None:
                state[f"ids {name}"], state[f"values {name}"] = pa.array([], pa.uint64()), pa.nulls(0)
                continue
            value = pl.col(name).fill_nan(None) if whole[name].dtype.is_float() else pl.col(name)
            carried = value.forward_fill().over(list(self.by)) if self.by else value.forward_fill()
            found = whole.select(pl.col(_ID), value.is_null().alias("gap"), carried.alias("value"))
            found = found.filter(pl.col("gap") & pl.col("value").is_not_null()).sort(_ID)
            state[f"ids {name}"] = found[_ID].to_arrow().cast(pa.uint64())
            state[f"values {name}"] = found["value"].to_arrow()
        return state
