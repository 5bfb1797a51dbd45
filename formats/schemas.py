"""One schema for many files, or a refusal that names file, column and both types."""

import json
from collections.abc import Iterable
from typing import Literal

import pyarrow as pa

from forebay.formats.errors import SchemaError

Unify = Literal["strict", "union"]
"""strict: every file has the same columns and types (their order may differ). union: a column that a file lacks is
null there, and integers and floats widen to the widest."""

CLASSES_KEY = b"forebay.classes"
"""Schema metadata: JSON list of the class names, in the order of their labels."""


def class_names(schema: pa.Schema) -> tuple[str, ...]:
    """Names of the classes that an image folder had; () for other data."""
    return tuple(json.loads((schema.metadata or {}).get(CLASSES_KEY, b"[]")))


def unify(found: Iterable[tuple[str, pa.Schema]], how: Unify) -> pa.Schema:
    """The schema of all files; columns in the order of the first file that has them.

    A column that holds nothing but nulls in a text file has type null there, which agrees with any.

    Raises:
        SchemaError: they do not agree, or a file names a column twice.
    """
    files = iter(found)
    first_path, merged = next(files)
    _require_unique(first_path, merged)
    for path, schema in files:
        if schema.equals(merged):
            continue
        _require_unique(path, schema)
        merged = (_same if how == "strict" else _union)(first_path, merged, path, schema)
    return merged


def conform(batch: pa.RecordBatch, schema: pa.Schema, *, path: str = "", fill_missing: bool = True) -> pa.RecordBatch:
    """`batch` with the columns and types of `schema`: ordered, widened, missing ones null.

    Raises:
        SchemaError: a value does not survive widening, or a column is missing and may not be.
    """
    if batch.schema.equals(schema):
        return batch
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        if at >= 0:
            arrays.append(_cast(batch.column(at), field, path))
        elif fill_missing:
            arrays.append(pa.nulls(batch.num_rows, field.type))
        else:
            raise SchemaError(
                f"{path}: column {field.name!r} ({field.type}) is missing: the file is not the one that the data set's "
                "schema was read from; restore it, or give schema='union' to fill the column with nulls"
            )
    if not arrays:
        return batch.select([])
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(column: pa.Array, field: pa.Field, path: str) -> pa.Array:
    if column.type.equals(field.type):
        return column
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"{path}: column {field.name!r} is {column.type} here and {field.type} in the data set, and not every "
            f"value fits: {error}"
        ) from error


def _require_unique(path: str, schema: pa.Schema) -> None:
    if len(set(schema.names)) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        raise SchemaError(f"{path}: column {twice!r} is there twice; rename one, since columns are told by their names")


def _same(first_path: str, first: pa.Schema, path: str, schema: pa.Schema) -> pa.Schema:
    for name in first.names:
        if name not in schema.names:
            raise SchemaError(
                f"{path}: column {name!r} is missing; {first_path} has it as {first.field(name).type}. Give "
                "schema='union' to fill it with nulls"
            )
    for name in schema.names:
        if name not in first.names:
            raise SchemaError(
                f"{path}: column {name!r} ({schema.field(name).type}) is not in {first_path}. Give schema='union' to "
                "fill it with nulls there"
            )
    fields = []
    for field in first:
        other = schema.field(field.name)
        mine, theirs = field.type, other.type
        if not mine.equals(theirs) and not pa.types.is_null(mine) and not pa.types.is_null(theirs):
            raise SchemaError(
                f"{path}: column {field.name!r} is {theirs}; in {first_path} it is {mine}. Mend the files, give "
                "schema='union' if widening is right, or (CSV, JSONL) name the type in types={...}"
            )
        kept = field.with_type(theirs) if pa.types.is_null(mine) else field
        fields.append(kept.with_nullable(field.nullable or other.nullable))
    return pa.schema(fields, metadata=first.metadata)


def _union(first_path: str, first: pa.Schema, path: str, schema: pa.Schema) -> pa.Schema:
    fields = []
    for field in first:
        if field.name in schema.names:
            fields.append(
                field.with_type(_wider(first_path, field, path, schema.field(field.name))).with_nullable(True)
            )
        else:
            fields.append(field.with_nullable(True))
    fields += [field.with_nullable(True) for field in schema if field.name not in first.names]
    return pa.schema(fields, metadata=first.metadata)


def _wider(first_path: str, mine: pa.Field, path: str, theirs: pa.Field) -> pa.DataType:
    if mine.type.equals(theirs.type):
        return mine.type
    pair = (mine.type, theirs.type)
    if pa.types.is_null(pair[0]) or pa.types.is_null(pair[1]):
        return pair[1] if pa.types.is_null(pair[0]) else pair[0]
    numbers = all(pa.types.is_integer(one) or pa.types.is_floating(one) for one in pair)
    texts = all(pa.types.is_string(one) or pa.types.is_large_string(one) for one in pair)
    try:
        if not numbers and not texts:
            raise pa.ArrowInvalid("not both numbers, nor both text")
        merged = pa.unify_schemas([pa.schema([("", one)]) for one in pair], promote_options="permissive")
    except pa.ArrowException as error:
        raise SchemaError(
            f"{path}: column {mine.name!r} is {theirs.type}; in {first_path} it is {mine.type}, and no type holds both"
        ) from error
    return merged.field(0).type


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of this schema without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], schema=schema)
