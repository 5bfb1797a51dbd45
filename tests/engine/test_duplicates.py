"""Duplicate keys: the first row by source order stays, offline and online, over all files and any number of threads."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import forebay as fb
from forebay import transforms as T


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_row_of_each_key_stays(tmp_path: Path, threads: int) -> None:
    (tmp_path / "raw").mkdir()
    keys = [1, 2, 2, 3, 1, 4, 4, 5, 2, 6]
    for file in range(2):
        part = pa.table({"key": keys[file * 5 :][:5], "row": range(file * 5, file * 5 + 5)})
        pq.write_table(part, tmp_path / "raw" / f"{file}.parquet", row_group_size=2)
    ds = fb.scan(str(tmp_path / "raw")).apply(T.DropDuplicates(["key"])).fit(threads=threads)
    report = ds.write(str(tmp_path / "out"), threads=threads)
    assert report.written == 6 and sum(report.filtered.values()) == 4
    expected = [0, 1, 3, 5, 7, 9]
    assert fb.scan(str(tmp_path / "out")).head(99).column("row").to_pylist() == expected
    assert len(ds) == 6
    assert torch.cat([batch["row"] for batch in fb.DataLoader(ds, batch_size=4)]).tolist() == expected
