"""prep_tabular: Parquet in, Parquet (zstd) out: fill nulls, log1p, standardize by the data's own moments, modulo 100,000.

A run is a whole preparation, moments included; a "batch" is the directory that it wrote. The first one of a process is its
"first batch", the second one is timed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forebay.bench.datasets.store import made_once
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, write_table
from forebay.bench.workloads.tabular import Oracle as RowOracle
from forebay.bench.workloads.tabular import samples

BATCH = 1
TURNS = 2
UNIT = "rows"
ABOUT = "2 M Parquet rows of 13 float32 with nulls and 26 int64: fill, log1p, standardize, modulo 100,000, Parquet (zstd) again"

__all__ = ["ABOUT", "BATCH", "UNIT", "Oracle", "contract_faults", "count", "ids", "make_data", "samples"]


def make_data(*, quick: bool) -> Path:
    """The data set's directory, made if it is not there."""
    if quick:
        return made_once("tabular-quick", lambda to: write_table(to, files=2, groups=2, group_rows=8_192))
    return made_once("tabular-prep-2m", lambda to: write_table(to, files=8, groups=4, group_rows=62_500))


def count(batch: Any) -> int:
    """Rows that were written (limits give the number itself)."""
    return batch if isinstance(batch, int) else sum(pq.read_metadata(path).num_rows for path in _files(batch[0]))


def ids(batch: Any) -> np.ndarray:
    """Which rows were written: labels are their numbers."""
    return _table(batch[0], ["label"])["label"].to_numpy()


def contract_faults(batch: Any, size: int) -> list[str]:
    """Where the files' schema differs from what was asked for."""
    schema = pq.read_schema(_files(batch[0])[0])
    wanted = {**dict.fromkeys(FLOATS, pa.float32()), **dict.fromkeys([*INTEGERS, "label"], pa.int64())}
    return [
        f"column {name} is {schema.field(name).type}; expected {kind}"
        for name, kind in wanted.items()
        if schema.field(name).type != kind
    ]


class Oracle:
    """The same definition as the loader's workload."""

    def __init__(self, data: Path) -> None:
        self._rows = RowOracle(data)

    def faults(self, batch: Any) -> list[str]:
        """Where the files differ from the definition."""
        import torch

        table = _table(batch[0], [*FLOATS, *INTEGERS, "label"])
        dense = np.stack([table[name].to_numpy() for name in FLOATS], 1)
        sparse = np.stack([table[name].to_numpy() for name in INTEGERS], 1)
        return self._rows.faults(tuple(map(torch.from_numpy, (dense, sparse, np.array(table["label"].to_numpy())))))


def _files(directory: Path) -> list[str]:
    return sorted(str(one) for one in directory.rglob("*.parquet") if not one.name.startswith(("_", ".", "quarantine")))


def _table(directory: Path, columns: list[str]) -> Any:
    return pa.concat_tables([pq.read_table(one, columns=columns) for one in _files(directory)])
