"""Row groups of the table as a random-access list of finished batches' parts: the source of loaders that map over items."""

from typing import Any

import pyarrow.parquet as pq

from forebay.bench.datasets.tabular import table_files, table_stats
from forebay.bench.peers.samples import as_tensors
from forebay.bench.workloads.tabular import transformed


class RowGroups:
    """Item i is row group i as a tuple of whole tensors (dense, sparse, label)."""

    def __init__(self, data: Any) -> None:
        self._groups = [
            (path, at) for path in table_files(data) for at in range(pq.ParquetFile(path).metadata.num_row_groups)
        ]
        _, self._mean, self._std = table_stats(data)

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Any:
        path, at = self._groups[index]
        table = pq.ParquetFile(path).read_row_group(at, use_threads=False)
        return as_tensors(transformed(table, self._mean, self._std))


def cut(group: Any, size: int) -> list[Any]:
    """The batches of a row group."""
    return list(zip(*(one.split(size) for one in group), strict=True))
