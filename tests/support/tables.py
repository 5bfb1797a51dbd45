"""Small data sets for tests, made with fixed seeds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import forebay as fb


def table(rows: int, *, seed: int = 0) -> pa.Table:
    """Columns of the usual kinds: floats with nulls, integers, text, a label, and the row's own number."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows).astype(np.float32)
    return pa.table(
        {
            "row": np.arange(rows, dtype=np.int64),
            "x": pa.array(x, mask=rng.random(rows) < 0.1),
            "n": rng.integers(-1000, 1000, rows),
            "s": rng.choice(["ab", "cd", "ef"], rows),
            "y": rng.integers(0, 2, rows),
        }
    )


def write_parquet(directory: Path, *, files: int = 3, rows: int = 1000, group: int = 300) -> Path:
    """Files of a data set whose column `row` counts on from file to file."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = table(files * rows)
    for number in range(files):
        pq.write_table(whole.slice(number * rows, rows), directory / f"{number}.parquet", row_group_size=group)
    return directory


def boom_at_13(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A user's function that cannot take row 13."""
    if 13 in batch.column("row").to_pylist():
        raise ValueError("thirteen")
    return batch


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A user's function that adds a column."""
    twice = pa.array(batch.column("n").to_numpy(zero_copy_only=False) * 2)
    return pa.record_batch({"n": batch.column("n"), "twice": twice})


def prepare(source: str, target: str) -> None:
    """A run with fits, filters and several units: what the kill test kills."""
    from forebay import transforms as T

    ds = (
        fb.scan(source)
        .filter("n > -900")
        .apply(T.FillNull(["x"], strategy="median"), T.Standardize(["x"]), T.Categorize(["s"]))
    )
    ds.fit(threads=1).write(target, unit_bytes=2000, max_rows=250, threads=2)


if __name__ == "__main__":
    import sys

    prepare(*sys.argv[1:3])
