"""Select: keep these columns, in this order. What `.select(...)` adds to the graph."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from forebay.formats.errors import UnknownNameError
from forebay.transforms.column_names import set_columns
from forebay.transforms.transform import Apply, Kind, State


@dataclass(frozen=True, slots=True)
class Select:
    """Keep `columns`, in the order given; the others are not even read where nothing else needs them."""

    columns: tuple[str, ...]

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        for name in self.columns:
            if name not in schema.names:
                raise UnknownNameError.of("column", name, schema.names, where="Select")
        return pa.schema([schema.field(name) for name in self.columns], metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        columns = list(self.columns)
        return lambda batch, rows: batch.select(columns)
