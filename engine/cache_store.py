"""The cache: results of fragments on disk, mapped into memory, bounded in bytes, shared by the processes of a node."""

import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pyarrow as pa

from forebay.engine.cache_counters import Counters, Counts
from forebay.engine.cache_eviction import Future
from forebay.engine.cache_files import CacheFiles
from forebay.engine.cache_guard import RowGuard, guarded
from forebay.engine.cache_opener import UnitOpener
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_publish import Publisher
from forebay.engine.cache_trust import Trust
from forebay.engine.cache_unit import Unit, UnitSink, write_batches
from forebay.engine.cache_write_behind import WriteBehind
from forebay.engine.file_lock import exclusive, held_elsewhere


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
        self._trust = Trust()
        self._behind = WriteBehind(self._publisher, self._trust)
        self._opener = UnitOpener(self.files, self._counters, self._behind, label)
        weakref.finalize(self, self._counters.flush)

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
        unit = self._opener.open(key, self._trust.intact)
        if unit is None:
            self._publisher.used(key)
            self._counters.count(self.label, misses=1)
            return None
        self._used(key, unit)
        return unit

    def get_guarded(self, key: str) -> tuple[list[pa.RecordBatch], RowGuard | None] | None:
        """The unit's batches, and what is to be asked before a row of theirs is read, where not all was looked at.

        None where there is none or its bytes were bad: ask `get_or_compute`, also for a unit whose guard finds a bad row.
        """
        found: list[tuple[list[pa.RecordBatch], RowGuard | None]] = []

        def right(unit: Unit) -> bool:
            made = guarded(unit, self._trust.of(unit))
            found.extend([made] if made else [])
            return made is not None

        unit = self._opener.open(key, right)
        if unit is None:
            return None
        self._used(key, unit)
        return found[0] if found else (unit.batches(), None)

    def get_bytes(self, key: str) -> pa.Buffer | None:
        """Bytes that `put_bytes` kept."""
        unit = self.get(key)
        return unit.payload if unit else None

    def contains(self, key: str) -> bool:
        """Whether a unit is there, or on its way; its bytes are not looked at."""
        return self._behind.coming(key) is not None or os.path.exists(self.files.unit(key))

    def bytes_held(self, key: str) -> int | None:
        """Length of what a unit holds, which is not looked at; None where there is none."""
        unit = self._opener.open(key, lambda unit: True)
        return None if unit is None else unit.info.nbytes

    def busy(self, key: str) -> bool:
        """Whether another process computes or publishes the unit at this moment."""
        return not self.contains(key) and held_elsewhere(self.files.computing(key))

    def put(self, key: str, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> bool:
        """Keep a result, which may have no batches at all; says whether it is on the disk now."""
        written = self._publisher.write(key, "arrow", self._writing(batches, schema))
        return written is not None and self._behind.publish(written)

    def put_bytes(self, key: str, data: pa.Buffer) -> None:
        """Keep plain bytes: a range of a remote object. They are brought to the disk behind the caller's back."""
        self._behind.raise_failed()
        if self._publisher.admits(data.size, key):
            self._behind.add(key, "bytes", lambda sink: sink.write(data))

    def get_or_compute(
        self, key: str, compute: Callable[[], Sequence[pa.RecordBatch]], schema: pa.Schema
    ) -> list[pa.RecordBatch]:
        """The unit's batches, computed by one process of the node while the others wait.

        They come back as soon as they are written; threads of the cache bring them to the disk and publish them then.
        Another's death ends the waiting at once (the kernel frees its lock); its slowness ends it after `patience`.

        Raises:
            StorageError: the disk failed in a way that is neither full nor forbidden, with this unit or with an earlier one.
        """
        self._behind.raise_failed()
        unit = self.get(key)
        if unit:
            return unit.batches()
        with ExitStack() as held:
            mine = self._lock_computing(held, key) if self.writable else False
            unit = self._opener.open(key, self._trust.intact)  # another may have finished it while this one waited
            if unit:
                return unit.batches()
            made = list(compute())
            if mine and self._publisher.admits(sum(one.nbytes for one in made), key):
                # the mapping can be paged out, what was just computed cannot
                unit = self._behind.add(key, "arrow", self._writing(made, schema), held=held)
            return unit.batches() if unit else made

    def close(self) -> None:
        """Bring everything to the disk: units that were computed, and the counters. The cache can still be used.

        Raises:
            StorageError: the disk failed in a way that is neither full nor forbidden.
        """
        self._behind.wait()
        self._counters.flush()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Cache, label=self.label), (self.options,)  # another process makes its own

    def _writing(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> Callable[[UnitSink], None]:
        return partial(write_batches, batches=batches, schema=schema, compression=self.options.compression)

    def _lock_computing(self, held: ExitStack, key: str) -> bool:
        lock = exclusive(self.files.computing(key), patience=self.options.patience, remove=True)
        try:
            return held.enter_context(lock)
        except FileNotFoundError:
            return True  # the folders were deleted: compute without a lock, and `put` makes them anew
        except OSError as error:
            self._publisher.refused(error)
            return False

    def _used(self, key: str, unit: Unit) -> None:
        self._publisher.used(key)
        self._counters.count(self.label, hits=1, hit_bytes=unit.info.nbytes)
        self.files.touch(key, time.time_ns())
