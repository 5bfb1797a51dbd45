"""The cache: results of fragments on disk, mapped into memory, bounded in bytes, shared by the processes of a node."""

import errno
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pyarrow as pa

from forebay.engine.cache_counters import Counters, Counts
from forebay.engine.cache_eviction import Future
from forebay.engine.cache_files import CacheFiles
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_publish import Publisher
from forebay.engine.cache_unit import Unit, open_unit, write_batches
from forebay.engine.file_lock import exclusive
from forebay.formats.errors import CorruptError, StorageError


class Cache:
    """One data set's view of a cache directory. Thread-safe; each process makes its own.

    A directory that cannot be written, a full disk or a unit that is gone never stops the caller: results are then
    computed as if there were no cache, and a warning says so once.
    """

    def __init__(self, options: CacheOptions | None = None, *, label: str = "") -> None:
        self.options = options or CacheOptions()
        self.label = label
        self.files = CacheFiles(self.options.directory)
        self._counters = Counters(self.options.directory)
        self._publisher = Publisher(self.files, self._counters, label=label, limit=self.options.limit_bytes)
        self._lock = threading.Lock()
        self._verified: set[tuple[int, int, int]] = set()

    @property
    def counts(self) -> Counts:
        """What this process counted under this label."""
        return self._counters.here(self.label)

    @property
    def writable(self) -> bool:
        """Whether results are kept still: False once the disk was full or refused."""
        return self._publisher.writable

    def expect(self, keys: Iterable[str] | None) -> None:
        """Tell the order in which keys will be asked for from now on (by all ranks of the node, where they share the
        directory): eviction then keeps what is needed soonest. None goes back to least recently used."""
        self._publisher.expect(None if keys is None else Future(keys))

    def get(self, key: str) -> Unit | None:
        """The unit, leased for as long as any part of it is held; None if there is none or its bytes were bad."""
        unit = self._open(key)
        self._publisher.used(key)
        if unit is None:
            self._counters.count(self.label, misses=1)
            return None
        self._counters.count(self.label, hits=1, hit_bytes=unit.info.nbytes)
        self.files.touch(key, time.time_ns())
        return unit

    def get_bytes(self, key: str) -> pa.Buffer | None:
        """Bytes that `put_bytes` kept."""
        unit = self.get(key)
        return unit.payload if unit else None

    def contains(self, key: str) -> bool:
        """Whether a unit is there; its bytes are not looked at."""
        return os.path.exists(self.files.unit(key))

    def put(self, key: str, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> bool:
        """Keep a result, which may have no batches at all; says whether it was kept."""
        compression = self.options.compression
        return self._trust(
            self._publisher.store(
                key, "arrow", lambda sink: write_batches(sink, batches, schema, compression=compression)
            )
        )

    def put_bytes(self, key: str, data: pa.Buffer) -> bool:
        """Keep plain bytes: a range of a remote object."""
        return self._trust(self._publisher.store(key, "bytes", lambda sink: sink.write(data)))

    def get_or_compute(
        self, key: str, compute: Callable[[], Sequence[pa.RecordBatch]], schema: pa.Schema
    ) -> list[pa.RecordBatch]:
        """The unit's batches, computed by one process of the node while the others wait.

        Another's death ends the waiting at once (the kernel frees its lock); its slowness ends it after `patience`.
        """
        unit = self.get(key)
        if unit:
            return unit.batches()
        with ExitStack() as held:
            mine = self._lock_computing(held, key) if self.writable else False
            unit = self._open(key)  # another may have finished it while this one waited
            if unit:
                return unit.batches()
            made = list(compute())
            if mine and self.put(key, made, schema):
                unit = self._open(key)  # the mapping can be paged out, what was just computed cannot
            return unit.batches() if unit else made

    def close(self) -> None:
        """Bring the counters to the disk."""
        self._counters.flush()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Cache, label=self.label), (self.options,)  # another process makes its own

    def _lock_computing(self, held: ExitStack, key: str) -> bool:
        lock = exclusive(self.files.computing(key), patience=self.options.patience, remove=True)
        try:
            return held.enter_context(lock)
        except FileNotFoundError:
            return True  # the folders were deleted: compute without a lock, and `put` makes them anew
        except OSError as error:
            self._publisher.refused(error)
            return False

    def _open(self, key: str) -> Unit | None:
        path = self.files.unit(key)
        try:
            unit = open_unit(path)
            if unit is None or (unit.info.key == key and self._intact(path, unit)):
                return unit
            raise CorruptError(f"{path}: its bytes do not hash to {unit.info.checksum}, or it is another's unit")
        except CorruptError as error:
            self._drop_bad(path, error)
        except PermissionError as error:
            _warn(f"cache unit cannot be read ({error}); its result is computed instead")
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise StorageError(
                    f"{path}: too many open files; each cache unit in use holds one: raise the limit (ulimit -n)"
                ) from error
            raise StorageError(f"{path}: {error.strerror}") from error
        return None

    def _intact(self, path: str, unit: Unit) -> bool:
        """All of a unit is hashed on the first touch by this process; later touches trust that."""
        try:
            mark = _mark(os.stat(path))
        except FileNotFoundError:
            return unit.intact()
        with self._lock:
            known = mark in self._verified
        if known:
            return True
        if not unit.intact():
            return False
        with self._lock:
            self._verified.add(mark)
        return True

    def _trust(self, stored: os.stat_result | None) -> bool:
        if stored is None:
            return False
        with self._lock:
            self._verified.add(_mark(stored))
        return True

    def _drop_bad(self, path: str, error: CorruptError) -> None:
        self._counters.count(self.label, bad=1)
        _warn(f"{error}; the unit is dropped and built anew (check the disk if this comes again)")
        with suppress(OSError):  # gone already, or in a read-only directory: then each read computes instead
            os.unlink(path)


def _mark(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
