"""Stack: several columns become one tensor column, as models of tables want their features."""

from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.column_chain import STORED
from forebay.transforms.column_names import NUMERIC, numeric, set_columns, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.transform import Apply, Kind, State


@dataclass(frozen=True, slots=True)
class Stack:
    """Put K columns side by side into one column of tensors of shape (K,); the columns themselves go.

    In a floating tensor null becomes NaN; in an integer one a row with null is bad. In a training batch the values are
    written straight to their places, so stacking costs nothing.
    """

    columns: tuple[str, ...]
    into: str
    """Name of the tensor column; it comes last."""
    dtype: str | None = field(default=None, kw_only=True)
    """Type of the values, such as "float32"; None keeps that of the columns, which must then agree."""
    keep: bool = field(default=False, kw_only=True)
    """Whether the columns stay, too."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if not self.into:
            raise SpecError("Stack: into is empty; expected the name of the tensor column")
        if self.dtype is not None:
            _type(self.dtype)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        found = {schema.field(name).type for name in self.columns}
        if self.dtype is None and len(found) > 1:
            types = ", ".join(sorted(map(str, found)))
            raise SchemaError(f"Stack: the columns of {self.into!r} are {types}; give dtype='float32' or the like")
        value = _type(self.dtype) if self.dtype else found.pop()
        fields = [one for one in schema if self.keep or one.name not in self.columns]
        if self.into in [one.name for one in fields]:
            raise SchemaError(f"Stack: there is a column {self.into!r} already; give another name in `into`")
        tensor = pa.fixed_shape_tensor(value, (len(self.columns),))
        return pa.schema([*fields, pa.field(self.into, tensor, nullable=False)], metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


def _type(name: str) -> pa.DataType:
    for one in STORED:
        if str(one) in (name, {"float32": "float", "float64": "double"}.get(name)):
            return one
    raise SpecError(f"Stack: dtype is {name!r}; expected one of {', '.join(str(one) for one in STORED)}")
