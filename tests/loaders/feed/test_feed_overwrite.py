"""overwrite=True: the same batches, in memory that is written again when the next one is asked for."""

from pathlib import Path

import pytest
import torch
from support import tables

import forebay as fb


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path: Path = tmp_path_factory.mktemp("overwrite")
    fb.scan(str(tables.write_parquet(path / "raw"))).select("row", "y").write(str(path / "out"), format="arrow")
    return fb.scan(str(path / "out"))


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_are_the_same_when_each_is_used_before_the_next(ds: fb.Dataset, threads: int) -> None:
    options = {"batch_size": 64, "shuffle": True, "seed": 1, "num_workers": threads}
    plain = [one["row"] for one in fb.DataLoader(ds, **options)]
    loader = fb.DataLoader(ds, **options, overwrite=True)
    for _ in range(2):
        loader.set_epoch(0)
        assert all(torch.equal(one, other["row"]) for one, other in zip(plain, loader, strict=True))
        loader.load_state_dict({**loader.state_dict(), "position": 0})


def test_memory_stays_the_same_whatever_is_kept(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, 3000, overwrite=True)
    kept = [batch["row"] for _ in range(20) for batch in loader]
    assert loader._feed.ring.made <= 2 and len({one.data_ptr() for one in kept}) <= 2
    loader = fb.DataLoader(ds, 3000)
    kept = [batch["row"] for _ in range(20) for batch in loader]
    assert len({one.data_ptr() for one in kept}) == 20
