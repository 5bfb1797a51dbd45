"""FillNull: put a value where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.column_chain import Chain, bounds, fill_null
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, textual, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.moments import Moments
from forebay.transforms.per_column import PerColumn, Statistic
from forebay.transforms.quantile_sketch import QuantileSketch
from forebay.transforms.transform import Apply, Kind, State
from forebay.transforms.value_counts import ValueCounts

Strategy = Literal["constant", "mean", "median", "mode"]


@dataclass(frozen=True, slots=True)
class FillNull:
    """Replace null, and in floating columns NaN, by a value: given, or learned from the data.

    An integer column gets the learned value rounded to the nearest integer (halves to even). A column without any
    value to learn from is refused when the statistics are used.
    """

    columns: tuple[str, ...]
    strategy: Strategy = field(default="constant", kw_only=True)
    """"constant": `value`. "mean", "median" (exact up to 65,536 values, then a sketch), "mode" (most frequent; of
    equally frequent ones the least): learned by `.fit()`. To carry the last value forward within a key, use
    `FillForward`."""
    value: float | int | str | None = field(default=None, kw_only=True)
    """The constant."""
    nan: bool = field(default=True, kw_only=True)
    """Whether NaN counts as null."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if self.strategy not in ("constant", "mean", "median", "mode"):
            raise SpecError(f"FillNull: strategy is {self.strategy!r}; expected 'constant', 'mean', 'median' or 'mode'")
        if (self.value is None) != (self.strategy != "constant"):
            raise SpecError(
                f"FillNull: strategy is {self.strategy!r} and value is {self.value!r}; expected a value for 'constant', and "
                "none for the strategies that learn one"
            )

    @property
    def fitted(self) -> bool:
        return self.strategy != "constant"

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        text = self.strategy in ("constant", "mode")
        expected = f"{NUMERIC} or text" if text else NUMERIC
        typed(self, schema, self.columns, lambda one: numeric(one) or (text and textual(one)), expected=expected)
        if self.strategy == "constant":
            for name in self.columns:
                self._fitting(self.value, schema.field(name))
        return retyped(schema, self.columns, lambda one: one, filled=True)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        kinds: dict[str, Any] = {"mean": Moments, "median": QuantileSketch}
        statistics: dict[str, Statistic] = {
            name: ValueCounts(schema.field(name).type) if self.strategy == "mode" else kinds[self.strategy]()
            for name in self.columns
        }
        return PerColumn(statistics, self._learned)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        made = {}
        for name in self.columns:
            one = schema.field(name).type
            value = self._value(schema.field(name), state)
            if textual(one):
                raise NotImplementedError  # text is filled by `bind`
            made[name] = Chain(tuple(fill_null(value, one, nan=self.nan)), one, fills=True)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        if any(textual(schema.field(name).type) for name in self.columns):
            return self._bind_text(schema, state)
        return bind_alone(self, schema, state, op)

    def _bind_text(self, schema: pa.Schema, state: State | None) -> Apply:
        import pyarrow.compute as pc

        after = self.output_schema(schema)
        fills = {
            name: pa.scalar(self._value(schema.field(name), state), schema.field(name).type) for name in self.columns
        }

        def apply(batch: pa.RecordBatch, rows: Any) -> pa.RecordBatch:
            made = {name: batch.column(name) for name in after.names}
            for name, value in fills.items():
                column = made[name]
                if self.nan and pa.types.is_floating(column.type):
                    column = pc.if_else(pc.fill_null(pc.is_nan(column), False), value, column)
                made[name] = pc.fill_null(column, value)
            return pa.RecordBatch.from_arrays(list(made.values()), schema=after)

        return apply

    def _learned(self, statistics: Mapping[str, Any]) -> State:
        found: list[Any] = []
        for one in statistics.values():
            if isinstance(one, Moments):
                found.append(one.mean if one.count else None)
            elif isinstance(one, QuantileSketch):
                found.append(float(one.quantiles(np.array([0.5]))[0]) if one.count else None)
            else:
                values = one.finish()[0]
                found.append(values[0].as_py() if len(values) else None)
        return {"values": found}

    def _value(self, field: pa.Field, state: State | None) -> Any:
        if state is None:
            return self._fitting(self.value, field)
        value = state["values"][self.columns.index(field.name)]
        if value is None:
            raise SchemaError(
                f"FillNull: column {field.name!r} had no value at all when the {self.strategy} was learned; give a constant "
                "with strategy='constant', or leave the column out"
            )
        return round(value) if pa.types.is_integer(field.type) else value

    def _fitting(self, value: Any, field: pa.Field) -> Any:
        """The constant as a value of the column's type."""
        one = field.type
        fits = isinstance(value, str) == textual(one) and not isinstance(value, bool)
        if fits and pa.types.is_integer(one):
            low, high = bounds(one)
            fits = float(value).is_integer() and low <= value <= high
        if not fits:
            raise SchemaError(f"FillNull: value {value!r} does not fit column {field.name!r}, which is {one}")
        return int(value) if pa.types.is_integer(one) else value
