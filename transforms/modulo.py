"""Modulo: fold numbers into [0, divisor), as hashed identifiers are folded into a table of embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.column_chain import Chain, bounds, curve, integer
from forebay.transforms.column_names import NUMERIC, numeric, set_columns, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.transform import Apply, Kind, State

curves = kernels("curves")
integers = kernels("integers")


@dataclass(frozen=True, slots=True)
class Modulo:
    """x modulo the divisor, floored as in Python and numpy: -1 modulo 5 is 4. The type stays, null stays null."""

    columns: tuple[str, ...]
    divisor: int
    """Above 0."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 2
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if not self.divisor > 0 or isinstance(self.divisor, bool):
            raise SpecError(f"Modulo: divisor is {self.divisor!r}; expected a number above 0")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        for name in self.columns:
            one = schema.field(name).type
            if pa.types.is_integer(one) and (self.divisor != int(self.divisor) or self.divisor - 1 > bounds(one)[1]):
                raise SchemaError(
                    f"Modulo: divisor {self.divisor!r} does not suit column {name!r}, which is {one}; expected an integer of "
                    "that type's range (T.Cast can widen the column)"
                )
        return schema

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        made = {}
        for name in self.columns:
            one = schema.field(name).type
            if pa.types.is_integer(one):
                step = integer(integers.MODULO, [int(self.divisor)])
            else:
                step = curve(curves.MODULO, [self.divisor])
            made[name] = Chain((step,), one)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)
