"""ReplaceValues: put one value in the place of another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.column_chain import Chain, Instruction, bounds, curve, integer
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, textual, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.transform import Apply, Kind, Rows, State

curves = kernels("curves")
integers = kernels("integers")


@dataclass(frozen=True, slots=True)
class ReplaceValues:
    """Replace values, all at once: {-999: 0, 0: 1} turns -999 into 0, not into 1. Null stays null unless it is made.

    A new value None makes null. NaN is not matched (it equals nothing); `FillNull` replaces it.
    """

    columns: tuple[str, ...]
    values: tuple[tuple[Any, Any], ...]
    """Pairs (old, new); a mapping will do. Numbers for numeric columns, text for text."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        given: Any = self.values
        try:
            pairs = tuple((old, new) for old, new in (given.items() if isinstance(given, Mapping) else given))
        except (TypeError, ValueError) as error:
            raise SpecError(f"ReplaceValues: values is {given!r}; expected {{old: new}} or [[old, new]]") from error
        old = [one for one, _ in pairs]
        if not pairs or len(set(old)) != len(old) or None in old:
            raise SpecError(
                f"ReplaceValues: values is {given!r}; expected at least one old value, each once, none null"
            )
        object.__setattr__(self, "values", pairs)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, lambda one: numeric(one) or textual(one), expected=f"{NUMERIC} or text")
        for name in self.columns:
            for value in (one for pair in self.values for one in pair if one is not None):
                if not _fits(value, schema.field(name).type):
                    raise SchemaError(
                        f"ReplaceValues: {value!r} does not fit column {name!r}, which is {schema.field(name).type}"
                    )
        if any(new is None for _, new in self.values):
            for name in self.columns:
                at = schema.get_field_index(name)
                schema = schema.set(at, schema.field(at).with_nullable(True))
        return schema

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        new = {one for _, one in self.values}
        # a chain replaces one after another, which is the same unless a new value is an old one, too
        if None in new or new & {old for old, _ in self.values}:
            raise NotImplementedError
        made = {}
        for name in self.columns:
            one = schema.field(name).type
            if not numeric(one):
                raise NotImplementedError
            made[name] = Chain(tuple(_step(pair, one) for pair in self.values), one)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        try:
            self.chains(schema, state)
        except NotImplementedError:
            return self._bind_arrow(schema)
        return bind_alone(self, schema, state, op)

    def _bind_arrow(self, schema: pa.Schema) -> Apply:
        after = retyped(self.output_schema(schema), (), lambda one: one)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            made = {name: batch.column(name) for name in after.names}
            for name in self.columns:
                column = found = made[name]
                for old, new in self.values:
                    hit = pc.fill_null(pc.equal(found, pa.scalar(old, found.type)), False)
                    column = pc.if_else(hit, pa.scalar(new, found.type), column)
                made[name] = column
            return pa.RecordBatch.from_arrays(list(made.values()), schema=after)

        return apply


def _step(pair: tuple[Any, Any], type: pa.DataType) -> Instruction:
    if pa.types.is_integer(type):
        return integer(integers.REPLACE, [int(one) for one in pair])
    return curve(curves.REPLACE, [float(one) for one in pair])


def _fits(value: Any, type: pa.DataType) -> bool:
    if isinstance(value, str) or textual(type):
        return isinstance(value, str) and textual(type)
    if not pa.types.is_integer(type):
        return isinstance(value, int | float)
    low, high = bounds(type)
    return float(value).is_integer() and low <= value <= high
