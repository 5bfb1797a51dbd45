"""Columns of token sequences: rows of a fixed length, or ragged lists."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, UnknownNameError
from forebay.formats.plain_numbers import list_lengths, list_values, numbers

_TOKENS = (pa.uint8(), pa.uint16(), pa.int16(), pa.int32(), pa.uint32(), pa.int64())


def row_length(spec: Any, schema: pa.Schema, column: str) -> int:
    """Tokens of a row of a fixed-length column.

    Raises:
        SchemaError: the column is something else.
    """
    found = _type(spec, schema, column)
    if isinstance(found, pa.FixedShapeTensorType) and len(found.shape) == 1 and found.value_type in _TOKENS:
        return int(found.shape[0])
    if pa.types.is_fixed_size_list(found) and found.value_type in _TOKENS:
        return int(found.list_size)
    raise SchemaError(
        f"{type(spec).__name__}: column {column!r} is {found}; expected rows of a fixed number of tokens, "
        "fixed_size_list<uint16>[L] or another whole number up to int64 (T.Pack makes them from ragged ones)"
    )


def ragged(spec: Any, schema: pa.Schema, column: str) -> pa.DataType:
    """Type of the tokens of a column of lists.

    Raises:
        SchemaError: the column is something else.
    """
    found = _type(spec, schema, column)
    listed = pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)
    if not listed or found.value_type not in _TOKENS:
        raise SchemaError(
            f"{type(spec).__name__}: column {column!r} is {found}; expected lists of tokens, list<int32> or another whole "
            "number up to int64"
        )
    return found.value_type


def row_values(column: pa.Array) -> tuple[NDArray[Any], int]:
    """(flat values of a fixed-length column, without a copy; where in them the first row begins)."""
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    return numbers(storage.values), storage.offset * storage.type.list_size


def ragged_values(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(tokens as int64, offsets (N + 1,) into them); a null row is an empty one."""
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    flat = np.ascontiguousarray(numbers(list_values(column)), np.int64)
    return flat, np.concatenate([np.zeros(1, np.int64), np.cumsum(list_lengths(column))])


def _type(spec: Any, schema: pa.Schema, column: str) -> pa.DataType:
    if column not in schema.names:
        raise UnknownNameError.of("column", column, schema.names, where=type(spec).__name__)
    return schema.field(column).type
