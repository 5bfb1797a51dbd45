"""Polars: row groups read and transformed by lazy expressions, then laid side by side; it has no loader of its own."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from forebay.bench.datasets.tabular import FLOATS, INTEGERS, MODULUS, table_files, table_stats
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers.rows_of_table import cut
from forebay.bench.peers.samples import as_tensors
from forebay.bench.workloads.tabular import BATCH


def tabular(job: Job) -> Loader:
    _, mean, std = table_stats(job.data_path)
    floats = [
        (((pl.col(name).fill_null(0.0)).log1p() - mean[at]) / std[at]).cast(pl.Float32)
        for at, name in enumerate(FLOATS)
    ]
    integers = [pl.col(name) % MODULUS for name in INTEGERS]

    def epoch(number: int) -> Iterator[Any]:
        for path in table_files(job.data_path):
            table = pl.scan_parquet(path).select(*floats, *integers, "label").collect(engine="streaming")
            dense = table.select(FLOATS).to_numpy(order="c")
            sparse = table.select(INTEGERS).to_numpy(order="c")
            label = np.array(table["label"].to_numpy())
            yield from cut(as_tensors((dense, sparse, label)), job.batch or BATCH)

    return PerEpoch(epoch)
