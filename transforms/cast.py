"""Cast: change the type of columns, with a policy for what does not fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms.column_chain import Chain, Instruction, bounds, check, clip, convert
from forebay.transforms.column_names import numeric, retyped, set_columns, textual, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.transform import Apply, Kind, Rows, State


@dataclass(frozen=True, slots=True)
class Cast:
    """Convert columns to another type.

    A floating value becomes an integer by dropping its fraction. Large integers lose digits as floats, and doubles
    beyond float32's range become infinite; neither counts as not fitting. NaN fits no integer. Text is parsed as a
    number, date or time where the type asks for it. Null stays null.
    """

    columns: tuple[str, ...]
    dtype: str
    """Arrow's name of the type: "float32", "int64", "string", "timestamp[ms]", "bool"."""
    overflow: Literal["raise", "clip", "null"] = field(default="raise", kw_only=True)
    """What happens to a value that does not fit. "raise": its row is bad. "clip": the nearest value that fits (NaN
    and text that is no number are bad still). "null": null."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if self.overflow not in ("raise", "clip", "null"):
            raise SpecError(f"Cast: overflow is {self.overflow!r}; expected 'raise', 'clip' or 'null'")
        _type(self.dtype)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        after = _type(self.dtype)
        typed(self, schema, self.columns, lambda one: True, expected="any type")
        for name in self.columns:
            before = schema.field(name).type
            if not (numeric(before) and numeric(after)):
                self._refuse_impossible(name, before, after)
        made = retyped(schema, self.columns, lambda one: after)
        for name in self.columns if self.overflow == "null" else ():
            at = made.get_field_index(name)
            made = made.set(at, made.field(at).with_nullable(True))
        return made

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        after = _type(self.dtype)
        if self.overflow == "null" or not numeric(after):
            raise NotImplementedError  # an instruction makes no nulls
        made = {}
        for name in self.columns:
            before = schema.field(name).type
            if not numeric(before):
                raise NotImplementedError
            made[name] = Chain((*_guards(before, after, self.overflow), *convert(before, after)), after)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        try:
            self.chains(schema, state)
        except NotImplementedError:
            return self._bind_arrow(schema)
        return bind_alone(self, schema, state, op)

    def _bind_arrow(self, schema: pa.Schema) -> Apply:
        after, policy = self.output_schema(schema), self.overflow

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            made = {name: batch.column(name) for name in after.names}
            for name in self.columns:
                made[name] = _converted(made[name], after.field(name).type, name, policy)
            return pa.RecordBatch.from_arrays(list(made.values()), schema=after)

        return apply

    def _refuse_impossible(self, name: str, before: pa.DataType, after: pa.DataType) -> None:
        try:
            pc.cast(pa.array([], before), after)
        except pa.ArrowNotImplementedError as error:
            raise SchemaError(f"Cast: column {name!r} is {before}, which cannot become {after}") from error


def _type(name: str) -> pa.DataType:
    try:
        return pa.type_for_alias(name)
    except ValueError as error:
        known = "int8 to int64, uint8 to uint64, float32, float64, string, bool, date32, timestamp[ms]"
        raise SpecError(f"Cast: dtype is {name!r}; expected the name of an Arrow type such as {known}") from error


def _guards(before: pa.DataType, after: pa.DataType, policy: str) -> list[Instruction]:
    """Instructions that see to values that do not fit, before the conversion."""
    if not pa.types.is_integer(after):
        return []
    low, high = bounds(after)
    reason = f"value does not fit {after}"
    if pa.types.is_integer(before):
        least, most = bounds(before)
        if low <= least and most <= high:
            return []
        within = max(low, least), min(high, most)
        return [clip(*within, before) if policy == "clip" else check(*within, before, reason=reason)]
    if policy == "clip":  # the conversion clips; only NaN has no nearest integer
        return [check(-np.inf, np.inf, before, reason=f"NaN does not fit {after}")]
    # a fraction is dropped, so all between low - 1 and high + 1 fits, both not included
    above = np.nextafter(float(low - 1), np.inf) if float(low - 1) < float(low) else float(low)
    below = np.nextafter(float(high + 1), -np.inf)
    return [check(float(above), float(below), before, reason=reason)]


def _converted(column: pa.Array, after: pa.DataType, name: str, policy: str) -> pa.Array:
    """The column as another type by Arrow's own conversion, whole if it can be, else value by value where it cannot."""
    if pa.types.is_floating(column.type) and pa.types.is_integer(after):
        column = pc.trunc(column)
    if textual(column.type) and not textual(after):
        column = pc.utf8_trim_whitespace(column)
    lossy = pa.types.is_integer(column.type) and pa.types.is_floating(after)
    try:
        return pc.cast(column, after, safe=not lossy)
    except pa.ArrowInvalid:
        bad = _misfits(column, after)
    if policy != "null":
        raise BadRows(bad, f"value does not fit {after}", column=name)
    mask = np.zeros(len(column), np.bool_)
    mask[bad] = True
    return pc.cast(pc.if_else(pa.array(mask), pa.scalar(None, column.type), column), after)


def _misfits(column: pa.Array, after: pa.DataType, start: int = 0) -> list[int]:
    """Rows that cannot be converted, found by halving: few bad rows cost few conversions."""
    try:
        pc.cast(column, after)
    except pa.ArrowInvalid:
        if len(column) == 1:
            return [start]
        half = len(column) // 2
        return _misfits(column[:half], after, start) + _misfits(column[half:], after, start + half)
    return []
