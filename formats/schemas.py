"""One schema for many files, or a refusal that names file, column and both types."""

from collections.abc import Iterable
from typing import Literal

import pyarrow as pa

from forebay.formats.errors import SchemaError

Unify = Literal["strict", "union"]
"""strict: every file has the same columns and types (their order may differ). union: a column that a file lacks is null
there, and integers and floats widen to the widest."""


def unify(found: Iterable[tuple[str, pa.Schema]], how: Unify) -> pa.Schema:
    """The schema of all files; columns in the order of the first file that has them.

    Raises:
        SchemaError: they do not agree.
    """
    files = iter(found)
    first_path, merged = next(files)
    for path, schema in files:
        if schema.equals(merged):
            continue
        if how == "strict":
            _require_same(first_path, merged, path, schema)
        else:
            merged = _union(first_path, merged, path, schema)
    return merged


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` with the columns and types of `schema`: ordered, widened, missing ones null."""
    if batch.schema.equals(schema):
        return batch
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        if at < 0:
            arrays.append(pa.nulls(batch.num_rows, field.type))
        else:
            column = batch.column(at)
            arrays.append(column if column.type.equals(field.type) else column.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _require_same(first_path: str, first: pa.Schema, path: str, schema: pa.Schema) -> None:
    for name in first.names:
        if name not in schema.names:
            raise SchemaError(
                f"{path}: column {name!r} is missing; {first_path} has it as {first.field(name).type}. Give "
                "schema='union' to fill it with nulls"
            )
    for name in schema.names:
        if name not in first.names:
            raise SchemaError(
                f"{path}: column {name!r} ({schema.field(name).type}) is not in {first_path}. Give schema='union' to fill "
                "it with nulls there"
            )
    for name in first.names:
        mine, theirs = first.field(name).type, schema.field(name).type
        if not mine.equals(theirs):
            raise SchemaError(
                f"{path}: column {name!r} is {theirs}; in {first_path} it is {mine}. Mend the files, or give "
                "schema='union' if widening is right"
            )


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
    if not numbers and not texts:
        raise SchemaError(
            f"{path}: column {mine.name!r} is {theirs.type}; in {first_path} it is {mine.type}, and no type holds both"
        )
    merged = pa.unify_schemas(
        [pa.schema([mine.with_metadata(None)]), pa.schema([theirs.with_metadata(None)])], promote_options="permissive"
    )
    return merged.field(0).type
