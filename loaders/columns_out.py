"""From Arrow to tensors: which columns can lie in a slot, and how those get there that no stage writes itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import DataError, SchemaError
from forebay.formats.plain_numbers import list_values, numbers
from forebay.transforms.stage import TensorSpec


def tensor_spec(field: pa.Field) -> TensorSpec | None:
    """Shape and type of one row as a tensor; None for columns whose rows vary in length: text, bytes, lists of numbers.

    Raises:
        SchemaError: a column that is neither; says what to do.
    """
    type = field.type
    if isinstance(type, pa.FixedShapeTensorType):
        return TensorSpec(tuple(type.shape), np.dtype(type.value_type.to_pandas_dtype()))
    if pa.types.is_fixed_size_list(type) and _number(type.value_type):
        return TensorSpec((type.list_size,), np.dtype(type.value_type.to_pandas_dtype()))
    if pa.types.is_boolean(type):
        return TensorSpec((), np.dtype(np.bool_))
    if _number(type):
        return TensorSpec((), np.dtype(type.to_pandas_dtype()))
    if pa.types.is_temporal(type) and not pa.types.is_interval(type):
        return TensorSpec((), np.dtype(np.int64))
    if textual(type) or list_of_numbers(type) is not None:
        return None
    raise SchemaError(
        f"column {field.name!r} is {type}, which no batch can hold; turn it into numbers, lists of numbers or a tensor, or "
        "leave it out with .select(...)"
    )


def textual(type: pa.DataType) -> bool:
    """Whether a column comes as a Python list: text and bytes."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(kind(type) for kind in kinds)


def list_of_numbers(type: pa.DataType) -> pa.DataType | None:
    """Type of the numbers of a column of lists of varying length; None for other columns."""
    if isinstance(type, pa.BaseExtensionType):
        type = type.storage_type
    listed = pa.types.is_list(type) or pa.types.is_large_list(type)
    return type.value_type if listed and _number(type.value_type) else None


def copy_into(batch: pa.RecordBatch, out: Mapping[str, NDArray[Any]]) -> None:
    """Write the columns of `batch` that `out` names to `out[name]` (N, *shape).

    Raises:
        DataError: null in a column that has no value for it.
    """
    for name, into in out.items():
        column = batch.column(batch.schema.get_field_index(name))
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if column.null_count and not pa.types.is_floating(column.type):
            raise DataError(
                f"column {name!r} ({column.type}) has {column.null_count} nulls in this batch, and a tensor cannot hold them; "
                "add T.FillNull or T.DropNulls"
            )
        if pa.types.is_fixed_size_list(column.type):
            into[:] = numbers(list_values(column)).reshape(into.shape)
        else:
            into[:] = numbers(column)  # null becomes NaN


def text_lists(batch: pa.RecordBatch) -> dict[str, list[Any]]:
    """The text and bytes columns of `batch`, which are the one kind that has no other form for a trainer."""
    return {
        field.name: column.to_pylist()
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if textual(field.type)
    }


def _number(type: pa.DataType) -> bool:
    return pa.types.is_integer(type) or pa.types.is_floating(type)
