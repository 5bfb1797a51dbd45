"""The files of a cache: where a unit lies, how one is written beside the others, what a killed process left."""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass

from forebay.engine.cache_eviction import Resident
from forebay.engine.cache_unit import paths_below
from forebay.engine.file_lock import share, try_exclusive

_SHELF = 2
"""Digits of the key that name its folder, so that no folder holds 10^5 files."""


@dataclass(frozen=True, slots=True)
class CacheFiles:
    """Layout of a cache's directory: `units/ab/KEY.unit`, `temporary/`, `locks/`."""

    directory: str

    def unit(self, key: str) -> str:
        return os.path.join(self.directory, "units", key[:_SHELF], f"{key}.unit")

    @property
    def publishing(self) -> str:
        """Lock under which units come and go, so that the bound in bytes is exact between processes."""
        return os.path.join(self.directory, "publish.lock")

    def computing(self, key: str) -> str:
        """Lock of whoever computes a unit."""
        return os.path.join(self.directory, "locks", key)

    def make(self) -> None:
        """Make the folders and take away what killed processes left.

        Raises:
            OSError: the directory cannot be written.
        """
        for name in ("units", "temporary", "locks"):
            os.makedirs(os.path.join(self.directory, name), exist_ok=True)
        self.sweep()

    def temporary(self) -> "Temporary":
        """A new file, on which this process holds a lease while it writes."""
        while True:
            name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
            path = os.path.join(self.directory, "temporary", name)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            share(descriptor)
            # a sweeper may have come between the two calls; then the file has no name and another is made
            if os.fstat(descriptor).st_nlink:
                return Temporary(descriptor, path)
            os.close(descriptor)

    def publish(self, temporary: "Temporary", key: str) -> None:
        """Give a file whose bytes are on the disk its name.

        The name itself is left to the system to bring to the disk: a power cut that comes first leaves the unit out.

        Raises:
            FileNotFoundError: somebody deleted the file, or the folder of units.
        """
        path = self.unit(key)
        try:
            os.replace(temporary.path, path)
        except FileNotFoundError:  # the first unit of its shelf
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(path))
            os.replace(temporary.path, path)

    def residents(self) -> list[Resident]:
        """All units, by a look at the directory: files deleted by hand are seen to be gone."""
        found = []
        for entry in paths_below(os.path.join(self.directory, "units")):
            with suppress(FileNotFoundError):
                stat = entry.stat()
                found.append(Resident(entry.name.removesuffix(".unit"), stat.st_size, stat.st_atime_ns))
        return found

    def touch(self, key: str, now_ns: int) -> None:
        """Note a use, for eviction by age: the access time is the record, and costs one system call."""
        path = self.unit(key)
        with suppress(OSError):
            os.utime(path, ns=(now_ns, os.stat(path).st_mtime_ns))

    def evict(self, key: str) -> bool:
        """Take a unit away unless somebody, here or in another process, holds a lease on it."""
        path = self.unit(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            if not try_exclusive(descriptor):
                return False
            with suppress(FileNotFoundError):
                os.unlink(path)
            return True
        finally:
            os.close(descriptor)

    def sweep(self) -> int:
        """Take away temporary files whose writer is dead, and say how many: a live one holds a lock on its own."""
        swept = 0
        for folder in ("temporary", "locks"):
            for entry in _entries(os.path.join(self.directory, folder)):
                with suppress(FileNotFoundError):
                    descriptor = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        if try_exclusive(descriptor):
                            os.unlink(entry.path)
                            swept += folder == "temporary"
                    finally:
                        os.close(descriptor)
        return swept


@dataclass(frozen=True, slots=True)
class Temporary:
    """A file that is not a unit yet.

    Its descriptor holds the shared lock that keeps sweepers away, and a mapping made from it goes on holding that when the
    file has become a unit: then it is the lease.
    """

    descriptor: int
    path: str

    def close(self) -> None:
        """Let go of it; the file is gone unless it was published."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        os.close(self.descriptor)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:
        return []
