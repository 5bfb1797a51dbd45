"""A remote object: one version of it, read by ranges, and what of it is kept at hand."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from forebay.formats.errors import StateError
from forebay.formats.remote_fetch import Fetcher
from forebay.formats.remote_ranges import Range
from forebay.formats.retry import with_retries
from forebay.formats.s3_gets import NotServedError, ReplacedError

EDGE = 64 << 10
"""Bytes at both ends of an object that are kept once they were read: there stand magic bytes and footers."""


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one content of an object from another."""

    size: int
    mark: str
    """Its etag; where the store gives none, its time."""


class Learned:
    """What was found out about an object and need not be looked up again, by name. Thread-safe."""

    def __init__(self) -> None:
        self._lock, self._found = threading.RLock(), dict[Any, Any]()

    def get(self, key: Any, find: Callable[[], dict[Any, Any]]) -> Any:
        """What is known under a key; `find` tells that and perhaps more, once, while others wait."""
        if key not in self._found:
            with self._lock:
                if key not in self._found:
                    self._found.update(find())
        return self._found[key]

    def knows(self, key: Any) -> bool:
        return key in self._found

    def promised(self, key: Any) -> tuple[Future[None], bool]:
        """(done when something was found out, or could not be; whether it is for the asker to do that). One asker is told so."""
        with self._lock:
            new = key not in self._found
            return self._found.setdefault(key, Future()), new


class RangeCache(Protocol):
    """Where ranges of remote objects are kept on the local disk."""

    def get(self, version: Version, name: str, part: Range) -> pa.Buffer | None: ...

    def put(self, version: Version, name: str, part: Range, data: pa.Buffer) -> None: ...


class RangeGets(Protocol):
    """Requests that ask for one version of an object, and bring nothing of another."""

    serves: bool
    """Whether they work with this store."""

    def read_into(self, path: str, part: Range, target: memoryview, *, etag: str) -> int: ...

    def ending(self, path: str, nbytes: int) -> tuple[int, str, bytearray]: ...


class RemoteObject:
    """One object of a store, at the version it had when it was first opened. Thread-safe; shared by its files.

    Attributes:
        edges: its first and last bytes, by where they start: they are read again and again, and kept.
        learned: what readers found out about it and need not look up again.
    """

    def __init__(
        self,
        path: str,
        fetcher: Fetcher,
        open_handle: Callable[[], tuple[Any, Version]],
        cache: RangeCache | None,
        *,
        gets: RangeGets | None = None,
    ) -> None:
        """`open_handle` asks for the object's version; `gets` brings its end together with that."""
        self.path, self.fetcher, self._cache = path, fetcher, cache
        self._looking = threading.Lock()
        self._open = open_handle
        self._handle: Any = None
        self.edges: dict[int, pa.Buffer] = {}
        self.version = self._opened(gets) or self._with_handle()
        # If-Match wants an etag, and a strong one
        self._gets = gets if self.version.mark.startswith('"') else None
        self.learned = Learned()
        self._looks, self._last_look, self._seen = 0, 0, self.version

    @property
    def size(self) -> int:
        return self.version.size

    @property
    def caches(self) -> bool:
        """Whether what is read is kept beyond this process."""
        return self._cache is not None

    def edge(self, start: int, stop: int) -> pa.Buffer | None:
        """These bytes, if they are among those at its ends that are kept."""
        for first, data in list(self.edges.items()):
            if first <= start and stop <= first + data.size:
                return data.slice(start - first, stop - start)
        return None

    def read_into(self, part: Range, target: memoryview) -> int:
        """One request, straight into memory; the bytes that came.

        Raises:
            OSError: the store's own error.
            StateError: the object was replaced.
        """
        if self._gets is not None and self._gets.serves:
            try:
                return self._gets.read_into(self.path, part, target, etag=self.version.mark)
            except ReplacedError as error:
                raise self._replaced(self._open()[1]) from error
            except NotServedError:
                self._gets = None  # pyarrow's client from here on
        with self._looking:
            if self._handle is None:
                self._with_handle()
        stream = self._handle.get_stream(part[0], part[1] - part[0])
        filled = 0
        while filled < len(target):
            count = stream.readinto(target[filled:])
            if not count:
                break
            filled += count
        return filled

    def _opened(self, gets: RangeGets | None) -> Version | None:
        """The version as told with the object's end; None where pyarrow must be asked for it."""
        if gets is None or not gets.serves or self.caches:  # what is cached is not fetched
            return None

        def ask() -> tuple[int, str, bytearray]:
            began = time.monotonic()
            found = gets.ending(self.path, EDGE)
            self.fetcher.answered(time.monotonic() - began)
            return found

        try:
            size, etag, end = with_retries(ask, self.fetcher.options.retry)
        except NotServedError:
            return None
        self.fetcher.count(len(end))
        self.edges[size - len(end)] = pa.py_buffer(end)
        return Version(size, etag)

    def _with_handle(self) -> Version:
        self._handle, version = self._open()
        return version

    def cached(self, part: Range) -> pa.Buffer | None:
        return self._cache.get(self.version, self.path, part) if self._cache else None

    def keep(self, part: Range, data: pa.Buffer) -> None:
        if self._cache:
            self._cache.put(self.version, self.path, part, data)

    def check_version(self) -> None:
        """Refuse to go on when the object is no longer the one that was opened. Asks for nothing where each answer told that.

        Asked after bytes came and before they are used, so that those between two equal answers are of one version. Those
        who ask while a look is under way share the next one: there are no more looks than round trips, however small the
        reads are.

        Raises:
            StateError: it was replaced.
        """
        if self._gets is not None and self._gets.serves:
            return
        begun = self._looks
        with self._looking:
            if self._last_look <= begun:  # none that has ended began after the bytes came
                self._looks += 1
                _, self._seen = self._open()
                self._last_look = self._looks
            now = self._seen
        if now != self.version:
            raise self._replaced(now)

    def _replaced(self, now: Version) -> StateError:
        return StateError(
            f"{self.path}: replaced while it was being read (it was {self.version.size} bytes, {self.version.mark}; "
            f"now {now.size} bytes, {now.mark}); scan the data set again, or write new data under new names"
        )
