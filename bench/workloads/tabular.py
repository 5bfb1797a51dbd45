"""tabular: Parquet rows of 13 floats with nulls and 26 integers; fill, log1p, standardize, modulo; batch 4,096, in order."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.bench.datasets.store import made_once
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, MODULUS, table_files, table_stats, write_table

BATCH = 4_096
UNIT = "rows"
ABOUT = (
    "5 M rows of 13 float32 with nulls and 26 int64 in Parquet, laid out as prepared data is (byte by byte, zstd): fill, log1p, "
    "standardize, modulo 100,000, batch 4,096"
)
CONTRACT = (("dense", (13,), "float32"), ("sparse", (26,), "int64"), ("label", (), "int64"))

_QUICK: dict[str, Any] = {"files": 2, "groups": 2, "group_rows": 8_192, "prepared": True}
_FULL: dict[str, Any] = {"files": 11, "groups": 7, "group_rows": 65_536, "prepared": True}


def make_data(*, quick: bool) -> Path:
    """The data set's directory, made if it is not there."""
    if quick:
        return made_once("tabular-shards-quick", lambda to: write_table(to, **_QUICK))
    return made_once("tabular-shards-full", lambda to: write_table(to, **_FULL))


def samples(data: Path) -> int:
    """Rows of the table."""
    return table_stats(data)[0]


def count(batch: Any) -> int:
    """Samples of a batch (limits give the number itself)."""
    return batch if isinstance(batch, int) else len(batch[2])


def ids(batch: Any) -> np.ndarray:
    """Which rows a batch holds: labels are their numbers."""
    return batch[2].numpy()


class Oracle:
    """The definition in float64, row by row of a table in memory."""

    def __init__(self, data: Path) -> None:
        import pyarrow.parquet as pq

        table = pa.concat_tables([pq.read_table(path) for path in table_files(data)])
        _, mean, std = table_stats(data)
        filled = np.stack([table[name].fill_null(0).to_numpy() for name in FLOATS], 1)
        self._dense = (np.log1p(filled.astype(np.float64)) - mean) / std
        self._sparse = np.stack([table[name].to_numpy() % MODULUS for name in INTEGERS], 1)

    def faults(self, batch: Any) -> list[str]:
        """Where a batch differs from the definition by more than float32 can."""
        dense, sparse, label = (part.numpy() for part in batch)
        faults = []
        if not np.allclose(dense, self._dense[label], rtol=1e-4, atol=1e-4):
            faults.append("dense values differ from the definition")
        if not np.array_equal(sparse, self._sparse[label]):
            faults.append("sparse values differ from the definition")
        return faults


def transformed(table: Any, mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The workload by hand in NumPy and Arrow, at its best: (dense, sparse, label) of a record batch or table.

    Columns are made whole and only then laid side by side: column by column they stay in the cache.
    """
    rows = table.num_rows
    dense = np.empty((rows, len(FLOATS)), np.float32)
    scale, shift = (1 / std).astype(np.float32), (-mean / std).astype(np.float32)
    for at, name in enumerate(FLOATS):
        values = np.log1p(_numpy(table.column(name).fill_null(np.float32(0))))
        values *= scale[at]
        values += shift[at]
        dense[:, at] = values
    sparse = np.empty((rows, len(INTEGERS)), np.int64)
    for at, name in enumerate(INTEGERS):
        np.remainder(_numpy(table.column(name)), MODULUS, out=sparse[:, at])
    return dense, sparse, _numpy(table.column("label"))


def _numpy(column: Any) -> np.ndarray:
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
