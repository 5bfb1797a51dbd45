"""A cache never gives wrong rows and never stops its user, whatever happens to its directory and processes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import cache_work
from support.cache_work import SCHEMA, key, made, right

from forebay.engine.cache_options import CacheOptions, default_directory
from forebay.engine.cache_store import Cache
from forebay.formats.errors import SpecError

WORK = cache_work.__file__


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(CacheOptions(dir=str(tmp_path / "cache")), label="test")


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, WORK, *arguments], text=True, **options)  # type: ignore[call-overload]


def flip(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_gives_back_what_was_put_and_copies_nothing(cache: Cache) -> None:
    assert cache.get(key(1)) is None
    assert cache.put(key(1), made(1), SCHEMA)
    unit = cache.get(key(1))
    assert unit is not None
    batch = unit.batches()[0]
    assert batch.equals(made(1)[0])
    address = batch.column(0).buffers()[1].address
    assert unit.payload.address <= address < unit.payload.address + unit.payload.size
    assert (cache.counts.hits, cache.counts.misses, cache.counts.stored) == (1, 1, 1)


def test_a_result_of_no_batches_is_a_result(cache: Cache) -> None:
    assert cache.put(key(0), [], SCHEMA)
    unit = cache.get(key(0))
    assert unit is not None and unit.batches() == [] and unit.schema() == SCHEMA


def test_lz4_units_read_the_same(tmp_path: Path) -> None:
    packed = Cache(CacheOptions(dir=str(tmp_path), compression="lz4"))
    packed.put(key(1), made(1), SCHEMA)
    unit = packed.get(key(1))
    assert unit is not None and right(1, unit.batches())
    assert unit.info.nbytes < made(1)[0].nbytes


def test_plain_bytes_come_back(cache: Cache) -> None:
    cache.put_bytes(key(1), pa.py_buffer(b"abc" * 1000))
    assert bytes(cache.get_bytes(key(1)) or b"") == b"abc" * 1000


def test_stays_within_its_bound_and_gives_up_the_least_recently_used(tmp_path: Path) -> None:
    small = Cache(CacheOptions(dir=str(tmp_path), limit=55_000))
    for at in range(3):
        small.put(key(at), made(at), SCHEMA)
    assert small.get(key(0)) is not None
    small.put(key(3), made(3), SCHEMA)
    assert [small.contains(key(at)) for at in range(4)] == [True, False, True, True]
    assert sum(one.nbytes for one in small.files.residents()) <= 55_000


def test_with_a_known_order_it_keeps_what_comes_next(tmp_path: Path) -> None:
    small = Cache(CacheOptions(dir=str(tmp_path), limit=35_000))
    small.expect([key(at) for at in (0, 1, 2, 0, 1, 2)])
    for at in (0, 1, 2):
        small.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)
        small.close()
    assert [small.contains(key(at)) for at in range(3)] == [True, True, False]


def test_what_is_leased_here_or_elsewhere_is_not_evicted(tmp_path: Path) -> None:
    small = Cache(CacheOptions(dir=str(tmp_path), limit=35_000))
    small.put(key(0), made(0), SCHEMA)
    holder = start("hold", str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == "True\n"
    small.put(key(1), made(1), SCHEMA)
    column = small.get(key(1)).batches()[0].column(0)  # type: ignore[union-attr]  # it was put just above
    assert not small.put(key(2), made(2), SCHEMA)
    holder.communicate()
    assert small.put(key(3), made(3), SCHEMA)
    assert [small.contains(key(at)) for at in range(4)] == [False, True, False, True]
    assert column.equals(made(1)[0].column(0))


def test_batches_outlive_the_files_they_came_from(cache: Cache) -> None:
    cache.put(key(1), made(1), SCHEMA)
    batches = cache.get(key(1)).batches()  # type: ignore[union-attr]  # it was put just above
    for path in Path(cache.files.directory).rglob("*.unit"):
        path.unlink()
    assert right(1, batches)
    assert cache.get(key(1)) is None
    assert right(1, cache.get_or_compute(key(1), lambda: made(1), SCHEMA)) and cache.contains(key(1))


def test_a_directory_deleted_while_in_use_is_made_anew(cache: Cache) -> None:
    cache.put(key(1), made(1), SCHEMA)
    shutil.rmtree(cache.files.directory)
    for _ in range(2):
        assert right(1, cache.get_or_compute(key(1), lambda: made(1), SCHEMA))
    assert cache.contains(key(1))


@pytest.mark.parametrize("place", ["payload", "trailer", "magic", "cut"])
def test_a_flipped_bit_is_noticed_reported_and_mended(tmp_path: Path, place: str) -> None:
    Cache(CacheOptions(dir=str(tmp_path))).put(key(1), made(1), SCHEMA)
    fresh = Cache(CacheOptions(dir=str(tmp_path)), label="fresh")
    path = fresh.files.unit(key(1))
    size = os.path.getsize(path)
    if place == "cut":
        os.truncate(path, size // 2)
    else:
        flip(path, {"payload": size // 2, "trailer": size - 100, "magic": size - 3}[place])
    with pytest.warns(RuntimeWarning, match="dropped and built anew"):
        assert right(1, fresh.get_or_compute(key(1), lambda: made(1), SCHEMA))
    assert fresh.counts.bad == 1
    assert right(1, fresh.get(key(1)).batches())  # type: ignore[union-attr]  # it was built anew just above


def test_any_flipped_bit_gives_the_right_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        Cache(CacheOptions(dir=str(tmp_path))).put(key(1), made(1, 50), SCHEMA)
        fresh = Cache(CacheOptions(dir=str(tmp_path)))
        path = fresh.files.unit(key(1))
        flip(path, int(rng.integers(0, os.path.getsize(path))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert right(1, fresh.get_or_compute(key(1), lambda: made(1, 50), SCHEMA))


def test_one_process_computes_and_the_others_wait(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    workers = [start("compute_once", str(tmp_path / "cache"), str(journal)) for _ in range(4)]
    assert [one.wait(60) for one in workers] == [0] * 4
    assert sorted(map(int, journal.read_text().split())) == list(range(10))


def test_one_thread_computes_and_the_others_wait(cache: Cache) -> None:
    computed = []

    def compute() -> list[pa.RecordBatch]:
        computed.append(1)
        time.sleep(0.05)
        return made(1)

    threads = [threading.Thread(target=cache.get_or_compute, args=(key(1), compute, SCHEMA)) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert computed == [1]


def test_without_patience_it_computes_by_itself(tmp_path: Path) -> None:
    hasty = Cache(CacheOptions(dir=str(tmp_path), patience=0))
    inside = hasty.get_or_compute(
        key(1), lambda: hasty.get_or_compute(key(1), lambda: made(1), SCHEMA), SCHEMA
    )  # the inner call finds the lock taken
    assert right(1, inside)


def test_an_error_of_the_computation_is_the_callers_and_leaves_no_lock(cache: Cache) -> None:
    def fail() -> list[pa.RecordBatch]:
        raise PermissionError("of the source, not of the cache")

    for _ in range(2):
        with pytest.raises(PermissionError, match="of the source"):
            cache.get_or_compute(key(1), fail, SCHEMA)
    assert cache.writable
    assert right(1, cache.get_or_compute(key(1), lambda: made(1), SCHEMA))


def test_survives_kills_at_any_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(6):
        workers = [start("churn", str(tmp_path), stdout=subprocess.PIPE) for _ in range(2)]
        assert [one.stdout.readline() for one in workers if one.stdout] == ["at work\n"] * 2
        time.sleep(float(rng.random()) * 0.3)
        for one in workers:
            assert one.poll() is None
            one.send_signal(signal.SIGKILL)
            one.communicate()
    after = Cache(CacheOptions(dir=str(tmp_path), limit=200_000))
    assert sum(one.nbytes for one in after.files.residents()) <= 200_000
    assert list(Path(tmp_path, "temporary").iterdir()) == []
    for at in range(40):  # a warning about a bad unit would be an error here
        assert right(at, after.get_or_compute(key(at), lambda at=at: made(at), SCHEMA))


def test_survives_a_kill_at_each_call_of_the_system(tmp_path: Path) -> None:
    # in memory where it can be: some hundred processes sync each of their files, and others use the disk, too
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path)
    with tempfile.TemporaryDirectory(dir=memory, prefix="cache-tests-") as folder:
        worker = start("killed_at_each_step", f"{folder}/cache", stdout=subprocess.PIPE)
        said, _ = worker.communicate(timeout=170)
    assert worker.returncode == 0  # 7: a bad unit, 8: something left lying about, 9: above the bound, 10: wrong rows
    steps, *calls = said.split()
    assert int(steps) > 60
    assert {"open", "write", "fsync", "replace", "unlink", "mkdir", "flock", "close", "utime"} <= set(calls)


def refused(directory: Path, limit: str, *user: str) -> tuple[int, int, str]:
    worker = start("refused", str(directory), limit, *user, stdout=subprocess.PIPE)
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    hits, warned, message = said.strip().split(" ", 2)
    return int(hits), int(warned), message


def test_a_full_disk_ends_caching_not_the_run_and_is_told_once(tmp_path: Path) -> None:
    hits, warned, message = refused(tmp_path, "5000")
    assert (hits, warned) == (0, 1)
    assert "is full" in message and "going on without keeping results" in message
    assert list(Path(tmp_path, "temporary").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    made_it = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], capture_output=True)
    if made_it.returncode:
        pytest.skip("no right to mount a small disk here; the test with a limit on file sizes ran")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_disk_that_fills_up_keeps_serving_what_it_holds(small_disk: Path) -> None:
    hits, warned, message = refused(small_disk, "none")
    assert (hits, warned) == (0, 1) and "is full" in message
    again, warned, _ = refused(small_disk, "none")
    assert again > 0 and warned == 1


def test_a_directory_that_cannot_be_written_is_read_all_the_same() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a second user, to whom the directory does not belong")
    with tempfile.TemporaryDirectory() as folder:
        Cache(CacheOptions(dir=folder)).put(key(1), made(1), SCHEMA)
        os.chmod(folder, 0o755)
        hits, warned, message = refused(Path(folder), "none", "65534")
    assert (hits, warned) == (1, 1)
    assert "cannot be written" in message


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"compression": "zip"}, "compression is 'zip'; expected None or 'lz4'"),
        ({"limit": "much"}, "a size is 'much'"),
        ({"limit": 0}, "limit is 0; expected a size above 0"),
        ({"patience": -1}, "patience is -1"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CacheOptions(**wrong)  # type: ignore[arg-type]


def test_the_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path))
    assert default_directory() == str(tmp_path)
    monkeypatch.delenv("FOREBAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == str(tmp_path / "forebay")


def test_what_was_computed_is_given_mapped_so_that_it_can_be_paged_out(cache: Cache) -> None:
    batch = cache.get_or_compute(key(1), lambda: made(1), SCHEMA)[0]
    cache.close()
    unit = cache.get(key(1))
    assert unit is not None and right(1, [batch])
    del unit
    assert not cache.files.evict(key(1))  # the batch is the lease
    del batch
    assert cache.files.evict(key(1))
