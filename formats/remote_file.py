"""A remote object as a file: what is announced comes at once and side by side, the rest as it is asked for."""

import bisect
import io
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from forebay.formats.errors import CorruptError, StateError, StorageError
from forebay.formats.remote_fetch import Fetcher, ShortReadError
from forebay.formats.remote_ranges import Range, coalesce, cut

_FIRST_AHEAD = 64 << 10
_MOST_AHEAD = 32 << 20
_GROWTH = 4
_EDGE = 64 << 10
"""Bytes at both ends of an object that are kept once they were read: there stand magic bytes and footers."""


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one content of an object from another."""

    size: int
    mark: str
    """Its etag; where the store gives none, its time."""


class RangeCache(Protocol):
    """Where ranges of remote objects are kept on the local disk."""

    def get(self, version: Version, name: str, part: Range) -> pa.Buffer | None: ...

    def put(self, version: Version, name: str, part: Range, data: pa.Buffer) -> None: ...


class RemoteObject:
    """One object of a store, at the version it had when it was first opened. Thread-safe; shared by its files.

    Attributes:
        edges: its first and last bytes, by where they start: they are read again and again, and kept.
    """

    def __init__(
        self, path: str, fetcher: Fetcher, open_handle: Callable[[], tuple[Any, Version]], cache: RangeCache | None
    ) -> None:
        self.path, self.fetcher, self._cache = path, fetcher, cache
        self._open = open_handle
        self._handle, self.version = open_handle()
        self.edges: dict[int, pa.Buffer] = {}

    @property
    def size(self) -> int:
        return self.version.size

    def read(self, start: int, stop: int) -> bytes:
        """One request."""
        data: bytes = self._handle.read_at(stop - start, start)
        return data

    def cached(self, part: Range) -> pa.Buffer | None:
        return self._cache.get(self.version, self.path, part) if self._cache else None

    def keep(self, part: Range, data: pa.Buffer) -> None:
        if self._cache:
            self._cache.put(self.version, self.path, part, data)

    def check_version(self) -> None:
        """Refuse to go on when the object is no longer the one that was opened.

        Asked after bytes came and before they are used, so that those between two equal answers are of one version.

        Raises:
            StateError: it was replaced.
        """
        _, now = self._open()
        if now != self.version:
            raise StateError(
                f"{self.path}: replaced while it was being read (it was {self.version.size} bytes, {self.version.mark}; "
                f"now {now.size} bytes, {now.mark}); scan the data set again, or write new data under new names"
            )


class RemoteFile(io.RawIOBase):
    """Reads of one consumer. Not thread-safe, as files are not."""

    def __init__(self, source: RemoteObject) -> None:
        super().__init__()
        self._source = source
        self._at = 0
        self._held: dict[int, tuple[int, Future[bytes] | pa.Buffer]] = {}
        self._starts: list[int] = []
        self._ahead = _FIRST_AHEAD
        self._expected_at = -1

    def will_need(self, ranges: Iterable[Range]) -> None:
        """Begin to fetch these ranges, side by side, before they are read."""
        options = self._source.fetcher.options
        limit = self._source.size
        wanted = coalesce(((max(0, a), min(b, limit)) for a, b in ranges), gap=options.gap_bytes)
        parts = [one for one in cut(wanted, part=options.part_bytes) if one[0] not in self._held]
        missing = []
        for part in parts:
            found = self._source.cached(part)
            if found is None:
                missing.append(part)
            else:
                self._hold(part, found)
        futures = self._source.fetcher.start(self._source.read, missing)
        for part, future in zip(missing, futures, strict=True):
            self._hold(part, future)

    def read_buffer(self, size: int = -1) -> pa.Buffer:
        """The next bytes, without a copy where they lie in one part."""
        stop = self._source.size if size < 0 else min(self._at + size, self._source.size)
        start, self._at = self._at, stop
        return self._range(start, stop)

    def read(self, size: int = -1) -> bytes:
        return self.read_buffer(-1 if size is None else size).to_pybytes()

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        data = self.read_buffer(len(view))
        view[: data.size] = memoryview(data)
        return data.size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._source.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        for _, held in self._held.values():
            if isinstance(held, Future):
                held.cancel()
        self._held.clear()
        self._starts.clear()
        super().close()

    def _range(self, start: int, stop: int) -> pa.Buffer:
        if start >= stop:
            return pa.py_buffer(b"")
        for first, data in self._source.edges.items():
            if first <= start and stop <= first + data.size:
                return data.slice(start - first, stop - start)
        pieces = []
        at = start
        while at < stop:
            first, last, data = self._part_with(at, stop)
            upto = min(stop, last)
            pieces.append(data.slice(at - first, upto - at))
            at = upto
        return pieces[0] if len(pieces) == 1 else pa.py_buffer(b"".join(map(memoryview, pieces)))

    def _part_with(self, at: int, stop: int) -> tuple[int, int, pa.Buffer]:
        index = bisect.bisect_right(self._starts, at) - 1
        if index >= 0:
            first = self._starts[index]
            last, held = self._held[first]
            if at < last:
                return first, last, self._landed(first, held)
        # not announced: take this and, where reads follow one another, more and more of what comes next
        self._ahead = min(_GROWTH * self._ahead, _MOST_AHEAD) if at == self._expected_at else _FIRST_AHEAD
        upto = min(max(stop, at + self._ahead), self._source.size)
        following = bisect.bisect_right(self._starts, at)
        if following < len(self._starts):
            upto = min(upto, self._starts[following])
        self._expected_at = upto
        self._drop_before(at)
        for part in cut([(at, upto)], part=self._source.fetcher.options.part_bytes):
            found = self._source.cached(part)
            self._hold(part, found or self._source.fetcher.start(self._source.read, [part])[0])
        first, last, data = self._part_with(at, stop)
        if last - first <= _EDGE and (first == 0 or last == self._source.size):
            self._source.edges[first] = data
        return first, last, data

    def _landed(self, first: int, held: Future[bytes] | pa.Buffer) -> pa.Buffer:
        if not isinstance(held, Future):
            return held
        # all that is under way, then one look at the version for all of it: a look a part would double the requests
        fresh = {}
        for start, (stop, one) in self._held.items():
            if isinstance(one, Future):
                fresh[start] = (stop, self._finished(start, stop, one))
        self._source.check_version()
        for start, (stop, data) in fresh.items():
            self._source.keep((start, stop), data)
        self._held.update(fresh)
        return fresh[first][1]

    def _finished(self, start: int, stop: int, future: Future[bytes]) -> pa.Buffer:
        source = self._source
        try:
            return pa.py_buffer(source.fetcher.finish(source.read, (start, stop), future))
        except FileNotFoundError as error:
            raise StateError(f"{source.path}: deleted while it was being read; scan the data set again") from error
        except OSError as error:
            source.check_version()
            if isinstance(error, ShortReadError):
                raise CorruptError(f"{source.path}: cut short: at byte {start:,} {error}") from error
            raise StorageError(f"{source.path}: bytes {start:,} to {stop:,} do not come: {error}") from error

    def _hold(self, part: Range, data: Future[bytes] | pa.Buffer) -> None:
        self._held[part[0]] = (part[1], data)
        bisect.insort(self._starts, part[0])

    def _drop_before(self, at: int) -> None:
        # a long sequential read must not hold what it has passed; 1 MiB is kept for formats that step back a bit
        for first in [one for one in self._starts if self._held[one][0] < at - (1 << 20)]:
            del self._held[first]
            self._starts.remove(first)
