"""Data sets whose rows vary in length, made with fixed seeds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import forebay as fb


def token_table(rows: int, *, seed: int = 0, longest: int = 40) -> pa.Table:
    """`row`, `tokens` (lists of 0 to `longest` int32, each row's first being the row's number), `weights` (as long) and
    `length`."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest + 1, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    tokens = rng.integers(0, 30_000, int(offsets[-1])).astype(np.int32)
    tokens[offsets[:-1][lengths > 0]] = np.flatnonzero(lengths > 0)
    weights = rng.normal(size=len(tokens)).astype(np.float32)
    return pa.table(
        {
            "row": np.arange(rows, dtype=np.int64),
            "tokens": pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens)),
            "weights": pa.ListArray.from_arrays(pa.array(offsets), pa.array(weights)),
            "length": lengths.astype(np.int32),
        }
    )


def token_set(directory: Path, *, rows: int = 1500, format: str = "arrow") -> fb.Dataset:
    """`token_table` as a data set of a few shards."""
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(token_table(rows), directory / "raw.parquet", row_group_size=200)
    fb.scan(str(directory / "raw.parquet")).write(str(directory / "out"), format=format, max_rows=400)
    return fb.scan(str(directory / "out"))
