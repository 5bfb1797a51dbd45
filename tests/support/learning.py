"""Fit and apply a transform without the engine, as its protocols promise it can be."""

import numpy as np
import pyarrow as pa

from forebay.transforms.transform import Rows


def ids(n: int, start: int = 0, **run) -> Rows:
    return Rows(np.arange(start, start + n, dtype=np.uint64), **run)


def learn(transform, batch: pa.RecordBatch, fragment: int = 1000):
    """State learned from `batch` in fragments of so many rows, merged in order."""
    narrow = batch.select(list(transform.reads(batch.schema)))
    merged = None
    for start in range(0, max(narrow.num_rows, 1), fragment):
        part = transform.accumulator(narrow.schema)
        piece = narrow.slice(start, fragment)
        part.update(piece, ids(piece.num_rows, start))
        if merged is None:
            merged = part
        else:
            merged.merge(part)
    return merged.finish()


def apply(transform, batch: pa.RecordBatch, state=None, rows: Rows | None = None, op: int = 0) -> pa.RecordBatch:
    """`batch` after the transform; a filter's rows are taken out."""
    rows = rows or ids(batch.num_rows)
    bound = transform.bind(batch.schema, state, op)
    if transform.kind == "row":
        made = bound(batch, rows)
        made.validate(full=True)
        assert made.schema.equals(transform.output_schema(batch.schema), check_metadata=True)
        return made
    return batch.filter(pa.array(bound(batch, rows)))


def fit_apply(transform, batch: pa.RecordBatch, fragment: int = 1000) -> pa.RecordBatch:
    return apply(transform, batch, learn(transform, batch, fragment))


def batch_of(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})
