"""Who computed a unit goes on at once; the unit comes to the disk behind its back, whole or not at all."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import cache_work
from support.cache_work import SCHEMA, key, made, right

from forebay.engine import cache_backlog
from forebay.engine.cache_backlog import Backlog
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_publish import Publisher
from forebay.engine.cache_store import Cache
from forebay.formats.errors import StorageError


class Disk:
    """Stands in for `os.fsync`: waits until it may go on, then does what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.real, self.error = threading.Event(), os.fsync, 0
        self.synced: list[str] = []
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        assert self.go.wait(60)
        self.synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.real(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(CacheOptions(dir=str(tmp_path / "cache")), label="test")


def test_a_unit_is_there_before_the_disk_has_it_and_has_its_name_only_after(cache: Cache, disk: Disk) -> None:
    batches = cache.get_or_compute(key(1), lambda: made(1), SCHEMA)
    other = Cache(cache.options)
    assert right(1, batches) and cache.contains(key(1)) and not other.contains(key(1))
    assert right(1, cache.get(key(1)).batches())  # type: ignore[union-attr]  # it is on its way
    assert other.busy(key(1)) and not cache.busy(key(1))
    disk.go.set()
    cache.close()
    assert [Path(one).parent.name for one in disk.synced] == ["temporary"]  # synced first, then renamed
    assert right(1, other.get(key(1)).batches()) and right(1, batches)  # type: ignore[union-attr]  # it was published
    assert not other.busy(key(1))


def test_a_batch_is_a_lease_from_the_beginning(cache: Cache) -> None:
    batches = cache.get_or_compute(key(1), lambda: made(1), SCHEMA)
    cache.close()
    assert not cache.files.evict(key(1))
    del batches
    assert cache.files.evict(key(1))


@pytest.mark.parametrize("ask", [lambda cache: cache.close(), lambda cache: cache.get_or_compute(key(2), list, SCHEMA)])
def test_a_disk_that_fails_is_told_to_whoever_uses_the_cache_next(
    cache: Cache, disk: Disk, ask: Callable[[Cache], object]
) -> None:
    disk.error = errno.EIO
    disk.go.set()
    assert right(1, cache.get_or_compute(key(1), lambda: made(1), SCHEMA))
    while cache.busy(key(1)) or cache._behind.coming(key(1)):
        threading.Event().wait(0.001)
    with pytest.raises(StorageError, match="the cache cannot be written: .*Input/output error"):
        ask(cache)
    cache.close()  # told once
    assert not cache.contains(key(1))


def test_a_disk_that_turns_out_to_be_full_ends_caching_and_is_told_once(cache: Cache, disk: Disk) -> None:
    disk.error = errno.ENOSPC
    disk.go.set()
    with pytest.warns(RuntimeWarning, match="is full .* going on without keeping results") as seen:
        for at in range(3):
            assert right(at, cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA))
            cache.close()
    assert len(seen) == 1 and not cache.writable


def test_folders_deleted_meanwhile_are_not_made_anew_for_what_was_on_its_way(cache: Cache, disk: Disk) -> None:
    batches = cache.get_or_compute(key(1), lambda: made(1), SCHEMA)
    shutil.rmtree(cache.files.directory)
    disk.go.set()
    cache.close()
    assert not os.path.exists(cache.files.directory) and right(1, batches)
    assert right(1, cache.get_or_compute(key(1), lambda: made(1), SCHEMA))
    cache.close()
    assert cache.contains(key(1))


def test_what_is_on_its_way_when_the_interpreter_ends_arrives(tmp_path: Path) -> None:
    subprocess.run([sys.executable, cache_work.__file__, "leave", str(tmp_path)], check=True, timeout=60)
    after = Cache(CacheOptions(dir=str(tmp_path)))
    assert all(right(at, after.get(key(at)).batches()) for at in range(3))  # type: ignore[union-attr]  # all three are there


def test_no_more_waits_for_the_disk_than_the_bound_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_backlog, "LIMIT_UNITS", 2)
    backlog, go, done = Backlog(), threading.Event(), []
    most, under_way = 0, 0

    def work() -> None:
        assert go.wait(60)
        done.append(1)

    def add() -> None:
        nonlocal most, under_way
        for _ in range(6):
            backlog.add(1, work)
            under_way += 1
            most = max(most, under_way - len(done))

    thread = threading.Thread(target=add)
    thread.start()
    while under_way < 2:
        threading.Event().wait(0.001)
    go.set()
    thread.join()
    backlog.wait()
    assert len(done) == 6 and most <= 3  # the third is counted when it may begin


def test_what_would_not_be_kept_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = [], Publisher.write

    def noted(self: Publisher, key: str, *rest: object) -> object:
        written.append(key)
        return write(self, key, *rest)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(Publisher, "write", noted)
    small = Cache(CacheOptions(dir=str(tmp_path), limit=35_000))
    small.expect([key(at) for at in (0, 1, 2, 0, 1, 2)])
    for at in (0, 1, 2):
        assert right(at, small.get_or_compute(key(at), lambda at=at: made(at), SCHEMA))
        small.close()
    assert written == [key(0), key(1)] and small.counts.refused == 1
