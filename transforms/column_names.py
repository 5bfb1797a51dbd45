"""What the specs that name columns check: the names given, and the types found in a schema."""

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError, UnknownNameError


def set_columns(spec: Any, attribute: str = "columns") -> None:
    """Turn the names that a frozen spec was given into a tuple; a single name may be given as text.

    Raises:
        SpecError: no name, a name twice, or something that is no name.
    """
    given = getattr(spec, attribute)
    listed = isinstance(given, Iterable) and not isinstance(given, str)
    names = tuple(given) if listed else (given,)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise SpecError(
            f"{type(spec).__name__}: {attribute} is {given!r}; expected one or more column names, each once"
        )
    object.__setattr__(spec, attribute, names)


def typed(
    spec: Any, schema: pa.Schema, columns: Iterable[str], accepts: Callable[[pa.DataType], bool], *, expected: str
) -> None:
    """Refuse columns that are missing or of a type the transform cannot work on.

    Raises:
        UnknownNameError: a column is not there; names the nearest.
        SchemaError: column, type found, types expected.
    """
    who = type(spec).__name__
    for name in columns:
        if name not in schema.names:
            raise UnknownNameError.of("column", name, schema.names, where=who)
        found = schema.field(name).type
        if not accepts(found):
            raise SchemaError(f"{who}: column {name!r} is {found}; expected {expected} (T.Cast can convert it)")


def numeric(type: pa.DataType) -> bool:
    """Whether the column kernel works on it: integers up to int64 and uint32, float32, float64."""
    whole = pa.types.is_integer(type) and not pa.types.is_uint64(type)
    return whole or pa.types.is_float32(type) or pa.types.is_float64(type)


NUMERIC = "a number (int8 to int64, uint8 to uint32, float32, float64)"


def textual(type: pa.DataType) -> bool:
    return pa.types.is_string(type) or pa.types.is_large_string(type)


TEXT = "text (string, large_string)"


def retyped(
    schema: pa.Schema, columns: Iterable[str], type_of: Callable[[pa.DataType], pa.DataType], *, filled: bool = False
) -> pa.Schema:
    """`schema` with other types for some columns; `filled` ones can hold no null any more."""
    for name in columns:
        at = schema.get_field_index(name)
        field = schema.field(at)
        schema = schema.set(at, field.with_type(type_of(field.type)).with_nullable(field.nullable and not filled))
    return schema
