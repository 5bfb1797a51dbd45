"""Rows are given once: whatever would share them out again is refused by name."""

import pytest
import torch
from support import tables
from torch.utils.data import DataLoader, DistributedSampler

import forebay as fb
from forebay.formats.errors import SpecError


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    return fb.scan(str(tables.write_parquet(tmp_path_factory.mktemp("sharding") / "raw")))


def test_a_stock_loader_with_several_workers_over_it_is_refused(ds: fb.Dataset) -> None:
    rows = fb.DataLoader(ds.select("row"), 500)
    alone = [batch["row"] for batch in DataLoader(rows.dataset, batch_size=None, num_workers=1)]
    assert torch.cat(alone).tolist() == list(range(3000))
    with pytest.raises(SpecError, match=r"worker \d of 2 of a torch loader .*would give all rows of the rank"):
        list(DataLoader(rows.dataset, batch_size=None, num_workers=2))


def test_a_distributed_sampler_is_refused(ds: fb.Dataset) -> None:
    sampler = DistributedSampler(ds, num_replicas=2, rank=0)
    with pytest.raises(
        SpecError, match="sampler is not taken .*a DistributedSampler would split the rows of each rank"
    ):
        fb.DataLoader(ds, 8, sampler=sampler, rank=0, world_size=2)


def test_a_distributed_sampler_in_a_stock_loader_shares_out_rows_once(ds: fb.Dataset) -> None:
    rows = []
    for rank in range(2):
        sampler = DistributedSampler(ds, num_replicas=2, rank=rank, shuffle=False)
        rows += [int(one["row"]) for one in DataLoader(ds, batch_size=None, sampler=sampler)]
    assert sorted(rows) == list(range(3000))
