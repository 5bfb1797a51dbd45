"""A table for a recommender: 13 float32 columns with nulls, 26 int64 columns, and the row's number as label."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forebay.bench.parquet_settings import arrow_settings

FLOATS = [f"f{at:02d}" for at in range(13)]
INTEGERS = [f"c{at:02d}" for at in range(26)]
MODULUS = 100_000
_NULLS = 0.1


def write_table(directory: Path, *, files: int, groups: int, group_rows: int, prepared: bool = False) -> None:
    """`NN.parquet` of `groups` row groups each, zstd; `stats.json`: mean and deviation of log1p of the filled floats.

    `prepared`: as data is laid out that was prepared to be loaded (`parquet_settings`); else as Arrow's writer does by itself.
    """
    total = np.zeros(len(FLOATS))
    squares = np.zeros(len(FLOATS))
    rows = groups * group_rows
    for number in range(files):
        rng = np.random.default_rng(number)
        columns: dict[str, pa.Array] = {}
        for at, name in enumerate(FLOATS):
            values, null = rng.exponential(20, rows).astype(np.float32), rng.random(rows) < _NULLS
            columns[name] = pa.array(values, mask=null)
            logged = np.log1p(np.where(null, np.float32(0), values).astype(np.float64))
            total[at] += logged.sum()
            squares[at] += (logged**2).sum()
        for name in INTEGERS:
            columns[name] = pa.array(rng.integers(0, 10_000_000, rows))
        columns["label"] = pa.array(np.arange(number * rows, (number + 1) * rows))
        table = pa.table(columns)
        settings = arrow_settings(table.schema) if prepared else {"compression": "zstd"}
        pq.write_table(table, directory / f"{number:02d}.parquet", row_group_size=group_rows, **settings)
    count = rows * files
    mean = total / count
    stats = {"rows": count, "mean": mean.tolist(), "std": np.sqrt(squares / count - mean**2).tolist()}
    (directory / "stats.json").write_text(json.dumps(stats))


def table_files(directory: Path) -> list[str]:
    """The Parquet files."""
    return sorted(str(path) for path in directory.glob("*.parquet"))


def table_stats(directory: Path) -> tuple[int, np.ndarray, np.ndarray]:
    """(rows, mean, standard deviation), the latter two float64 (13,)."""
    stats = json.loads((directory / "stats.json").read_text())
    return stats["rows"], np.array(stats["mean"]), np.array(stats["std"])
