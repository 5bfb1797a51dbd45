"""DropNulls: drop rows that lack a value."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.column_names import set_columns, typed
from forebay.transforms.column_values import present
from forebay.transforms.transform import Keep, Kind, Rows, State


@dataclass(frozen=True, slots=True)
class DropNulls:
    """Drop rows with null, or NaN, in the columns.

    Columns of any type; the others pass unchanged. The rows that stay keep their order and their sample ids.
    """

    columns: tuple[str, ...]
    how: Literal["any", "all"] = field(default="any", kw_only=True)
    """"any": one missing value drops the row. "all": only a row that lacks all of them goes."""

    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if self.how not in ("any", "all"):
            raise SpecError(f"DropNulls: how is {self.how!r}; expected 'any' or 'all'")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, lambda one: True, expected="any type")
        for name in self.columns if self.how == "any" else ():
            at = schema.get_field_index(name)
            schema = schema.set(at, schema.field(at).with_nullable(False))
        return schema

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Keep:
        every = self.how == "any"

        def keep(batch: pa.RecordBatch, rows: Rows) -> NDArray[np.bool_]:
            kept = np.full(batch.num_rows, every, np.bool_)
            for name in self.columns:
                column = batch.column(name)
                if every and column.null_count == 0 and not pa.types.is_floating(column.type):
                    continue
                kept = kept & present(column) if every else kept | present(column)
            return kept

        return keep
