"""Publishing: how a unit comes into a cache whole, within the bound, and what happens when the disk says no."""

import errno
import math
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from forebay.engine.cache_counters import Counters
from forebay.engine.cache_eviction import Future, choose_victims
from forebay.engine.cache_files import CacheFiles
from forebay.engine.cache_unit import UnitSink
from forebay.engine.file_lock import exclusive
from forebay.formats.errors import StorageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class Publisher:
    """Writes units of one label. Thread-safe.

    Attributes:
        writable: False from the first time that the disk was full or refused; nothing is written after that.
    """

    def __init__(self, files: CacheFiles, counters: Counters, *, label: str, limit: int) -> None:
        self._files, self._counters, self._label, self._limit = files, counters, label, limit
        self._lock = threading.Lock()
        self._future: Future | None = None
        self._scanned = False
        self.writable = True
        self._make_folders()

    def expect(self, future: Future | None) -> None:
        with self._lock:
            self._future = future

    def used(self, key: str) -> None:
        with self._lock:
            if self._future:
                self._future.used(key)

    def store(
        self, key: str, kind: Literal["arrow", "bytes"], write: Callable[[UnitSink], object]
    ) -> os.stat_result | None:
        """Write a unit and give it its name; None when it is not kept.

        Raises:
            StorageError: the disk failed in a way that is neither full nor forbidden.
        """
        if not self.writable:
            return None
        try:
            with self._files.temporary() as (descriptor, temporary):
                sink = UnitSink(descriptor)
                write(sink)
                sink.finish(key, kind, self._label)
                found = os.fstat(descriptor)
                with exclusive(self._files.publishing, patience=math.inf):
                    if not self._make_room(found.st_size, key):
                        self._counters.count(self._label, refused=1)
                        return None
                    self._files.publish(temporary, key)
        except FileNotFoundError:
            # somebody deleted the folders: this result is not kept, the next one finds them made anew
            self._make_folders()
            return None
        except OSError as error:
            self.refused(error)
            return None
        self._counters.count(self._label, stored=1, stored_bytes=found.st_size)
        return found

    def refused(self, error: OSError) -> None:
        """The disk said no: go on without writing, and say so once.

        Raises:
            StorageError: neither for space nor for permission.
        """
        if error.errno not in (*NO_SPACE, *FORBIDDEN):
            raise StorageError(f"{self._files.directory}: the cache cannot be written: {error}") from error
        if self.writable:
            self.writable = False
            what = "is full" if error.errno in NO_SPACE else "cannot be written"
            warnings.warn(
                f"the cache directory {self._files.directory} {what} ({error.strerror}); "
                "going on without keeping results",
                RuntimeWarning,
                stacklevel=4,
            )

    def _make_folders(self) -> None:
        try:
            self._files.make()
        except OSError as error:
            self.refused(error)

    def _make_room(self, need: int, key: str) -> bool:
        """Evict until `need` more bytes fit; under the publishing lock. False: the unit is not to be kept."""
        total = self._read_total()
        if not self._scanned or total is None or total + need > self._limit:
            residents = [one for one in self._files.residents() if one.key != key]
            total, self._scanned = sum(one.nbytes for one in residents), True
            while total + need > self._limit:
                with self._lock:
                    victims = choose_victims(
                        residents,
                        total + need - self._limit,
                        future=self._future,
                        incoming=key if self._future else None,
                    )
                if victims is None:
                    return False
                gone = {one.key for one in victims if self._files.evict(one.key)}
                self._counters.count(self._label, evicted=len(gone))
                total -= sum(one.nbytes for one in victims if one.key in gone)
                tried = {one.key for one in victims}  # those that are leased stay: look for others
                residents = [one for one in residents if one.key not in tried]
        self._write_total(total + need)
        return True

    # The total stands in the lock's own file, and is raised before the unit gets its name. A crash or a file deleted by
    # hand leaves it too high, never too low, and too high only brings the next look at the directory forward.

    def _read_total(self) -> int | None:
        try:
            with open(self._files.publishing, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def _write_total(self, total: int) -> None:
        with suppress(OSError), open(self._files.publishing, "r+", encoding="ascii") as file:
            file.write(f"{total:<20d}")
