"""TimestampFeatures: what a model can use of a date or time."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.column_names import typed
from forebay.transforms.transform import Apply, Kind, Rows, State

_PARTS: dict[str, Any] = {
    "year": pc.year,
    "month": pc.month,
    "day": pc.day,
    "weekday": pc.day_of_week,
    "day_of_year": pc.day_of_year,
    "hour": pc.hour,
    "minute": pc.minute,
    "second": pc.second,
}
_TURN = {"month": (1, 12), "day": (1, 31), "weekday": (0, 7), "day_of_year": (1, 366)} | {
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
}
"""First value and number of values of the parts that come round again."""


@dataclass(frozen=True, slots=True)
class TimestampFeatures:
    """Add columns `<column>_<part>` (int32) and, for cyclic ones, `<column>_<part>_sin` and `_cos` (float32).

    A timestamp with a time zone is read in it. Null stays null.
    """

    column: str
    parts: tuple[str, ...] = field(default=("month", "weekday", "hour"), kw_only=True)
    """Of year, month (1 to 12), day, weekday (0 is Monday), day_of_year, hour, minute, second."""
    cyclic: bool = field(default=False, kw_only=True)
    """Whether to give sine and cosine of the place in the turn, so that December lies beside January."""
    keep: bool = field(default=False, kw_only=True)
    """Whether the column itself stays."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        parts = (self.parts,) if isinstance(self.parts, str) else tuple(self.parts)
        strange = [one for one in parts if one not in _PARTS]
        if not parts or strange or len(set(parts)) != len(parts):
            raise SpecError(f"TimestampFeatures: parts is {parts!r}; expected some of {', '.join(_PARTS)}, each once")
        object.__setattr__(self, "parts", parts)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, [self.column], _dated, expected="a timestamp or a date")
        clock = [one for one in self.parts if one in ("hour", "minute", "second")]
        if clock and pa.types.is_date(schema.field(self.column).type):
            raise SchemaError(f"TimestampFeatures: column {self.column!r} is a date, which has no {clock[0]}")
        nullable = schema.field(self.column).nullable
        fields = [one for one in schema if self.keep or one.name != self.column]
        made = [pa.field(name, one, nullable) for name, one in self._made()]
        for one in made:
            if one.name in [other.name for other in fields]:
                raise SchemaError(f"TimestampFeatures: there is a column {one.name!r} already; rename it first")
        return pa.schema([*fields, *made], metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        after = self.output_schema(schema)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            column = batch.column(self.column)
            made = {name: batch.column(name) for name in batch.schema.names}
            for part in self.parts:
                value = pc.cast(_PARTS[part](column), pa.int32())
                if not self._turns(part):
                    made[f"{self.column}_{part}"] = value
                    continue
                first, count = _TURN[part]
                angle = pc.multiply(pc.cast(pc.subtract(value, first), pa.float64()), 2.0 * np.pi / count)
                made[f"{self.column}_{part}_sin"] = pc.cast(pc.sin(angle), pa.float32())
                made[f"{self.column}_{part}_cos"] = pc.cast(pc.cos(angle), pa.float32())
            return pa.RecordBatch.from_arrays([made[name] for name in after.names], schema=after)

        return apply

    def _turns(self, part: str) -> bool:
        return self.cyclic and part in _TURN

    def _made(self) -> list[tuple[str, pa.DataType]]:
        made: list[tuple[str, pa.DataType]] = []
        for part in self.parts:
            name = f"{self.column}_{part}"
            if self._turns(part):
                made += [(f"{name}_sin", pa.float32()), (f"{name}_cos", pa.float32())]
            else:
                made.append((name, pa.int32()))
        return made


def _dated(type: pa.DataType) -> bool:
    return pa.types.is_timestamp(type) or pa.types.is_date(type)
