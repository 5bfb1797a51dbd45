"""Publishing: how a unit comes into a cache whole, within the bound, and what happens when the disk says no."""

import errno
import math
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Literal

from forebay.engine.cache_counters import Counters
from forebay.engine.cache_eviction import Future, Resident, choose_victims
from forebay.engine.cache_files import CacheFiles, Temporary
from forebay.engine.cache_unit import UnitSink
from forebay.engine.file_lock import exclusive
from forebay.formats.errors import StorageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Written:
    """A unit that is whole, but has no name, and whose bytes may not be on the disk yet."""

    key: str
    file: Temporary
    stat: os.stat_result


class Publisher:
    """Writes units of one label, and gives them their names. Thread-safe.

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

    def admits(self, need: int, key: str) -> bool:
        """Whether a unit of `need` bytes would be kept now, asked before it is written: `publish` decides."""
        total = self._read_total()
        if total is not None and total + need <= self._limit:
            return True
        residents = [one for one in self._files.residents() if one.key != key]
        over = sum(one.nbytes for one in residents) + need - self._limit
        if over <= 0 or self._choose(residents, over, key) is not None:
            return True
        self._counters.count(self._label, refused=1)
        return False

    def write(self, key: str, kind: Literal["arrow", "bytes"], write: Callable[[UnitSink], object]) -> Written | None:
        """Write a unit beside the others; None when the disk says no. Whoever gets it publishes it.

        Raises:
            StorageError: the disk failed in a way that is neither full nor forbidden.
        """
        if not self.writable:
            return None
        with ExitStack() as undo:
            try:
                file = self._temporary()
                undo.callback(file.close)
                sink = UnitSink(file.descriptor)
                write(sink)
                sink.finish(key, kind, self._label)
                undo.pop_all()
                return Written(key, file, os.fstat(file.descriptor))
            except OSError as error:
                self.refused(error)
        return None

    def publish(self, written: Written) -> bool:
        """Bring a unit to the disk, and give it its name; says whether it was kept.

        Raises:
            StorageError: the disk failed in a way that is neither full nor forbidden.
        """
        size = written.stat.st_size
        try:
            os.fsync(written.file.descriptor)
            with exclusive(self._files.publishing, patience=math.inf):
                if not self._make_room(size, written.key):
                    self._counters.count(self._label, refused=1)
                    return False
                self._files.publish(written.file, written.key)
        except FileNotFoundError:  # somebody deleted the folders; the next unit makes them anew
            return False
        except OSError as error:
            self.refused(error)
            return False
        finally:
            written.file.close()
        self._counters.count(self._label, stored=1, stored_bytes=size)
        return True

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

    def _temporary(self) -> Temporary:
        try:
            return self._files.temporary()
        except FileNotFoundError:  # somebody deleted the folders
            self._files.make()
            return self._files.temporary()

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
                victims = self._choose(residents, total + need - self._limit, key)
                if victims is None:
                    return False
                gone = {one.key for one in victims if self._files.evict(one.key)}
                self._counters.count(self._label, evicted=len(gone))
                total -= sum(one.nbytes for one in victims if one.key in gone)
                tried = {one.key for one in victims}  # those that are leased stay: look for others
                residents = [one for one in residents if one.key not in tried]
        self._write_total(total + need)
        return True

    def _choose(self, residents: list[Resident], need: int, key: str) -> list[Resident] | None:
        with self._lock:
            return choose_victims(residents, need, future=self._future, incoming=key if self._future else None)

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
