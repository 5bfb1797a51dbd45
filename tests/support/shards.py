"""A small folder of shards for loaders: x, four floats, and y, one of three classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import forebay as fb


def class_shards(folder: Path, *, files: int = 3, rows: int = 16) -> str:
    """Write the shards; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    for number in range(files):
        x = pa.FixedShapeTensorArray.from_numpy_ndarray(generator.standard_normal((rows, 4)).astype(np.float32))
        table = pa.table({"x": x, "y": generator.integers(0, 3, rows)})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=8)
    return str(folder)


def shard_loader(folder: str, **options: Any) -> fb.DataLoader:
    """forebay's own loader over them, 4 rows a batch and rank, shuffled."""
    settings = {"batch_size": 4, "shuffle": True, "drop_last": True, "seed": 3, "columns": ("x", "y"), **options}
    return fb.DataLoader(fb.scan(folder), **settings)
