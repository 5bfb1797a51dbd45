"""Reads of one remote store: the objects that are open, their versions and connections."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from forebay.formats.remote_fetch import Fetcher, RemoteOptions
from forebay.formats.remote_file import RemoteFile
from forebay.formats.remote_object import Learned, RangeCache, RemoteObject, Version
from forebay.formats.retry import with_retries
from forebay.formats.s3_gets import gets_of

_OBJECTS = 4096
"""Objects whose version and footer are kept."""


class RemoteReads:
    """Opens objects of one file system. Thread-safe; another process gets its own, with no bytes in it."""

    def __init__(self, files: Any, options: RemoteOptions | None = None, cache: RangeCache | None = None) -> None:
        self.files, self.options, self.cache = files, options or RemoteOptions(), cache
        self._begin()

    def _begin(self) -> None:
        self.fetcher = Fetcher(self.options)
        self._gets = gets_of(self.files)
        self._lock = threading.Lock()
        self._objects: OrderedDict[str, RemoteObject] = OrderedDict()
        self._opening: dict[str, threading.Lock] = {}
        self._process = os.getpid()

    def open(self, path: str) -> pa.PythonFile:
        """A file over the object.

        Raises:
            OSError: the store's own error.
        """
        return pa.PythonFile(RemoteFile(self._object(path)), mode="r")

    def open_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> pa.PythonFile:
        """A file that fetches `ranges` at once, side by side."""
        file = RemoteFile(self._object(path))
        file.will_need(ranges)
        return pa.PythonFile(file, mode="r")

    def learned(self, path: str) -> Learned:
        """What readers found out about this version of the object."""
        return self._object(path).learned

    def forget(self) -> None:
        """Look at every object anew from here on: a new scan sees what was replaced."""
        with self._lock:
            self._objects.clear()

    def _object(self, path: str) -> RemoteObject:
        if os.getpid() != self._process:  # forked: threads stayed behind, and connections belong to the other process
            self._begin()
        with self._lock:
            found = self._objects.get(path)
            if found:
                self._objects.move_to_end(path)
                return found
            opening = self._opening.setdefault(path, threading.Lock())
        with opening:  # who comes meanwhile waits for the one answer
            found = self._objects.get(path)
            if found is None:
                found = RemoteObject(path, self.fetcher, lambda: self._open(path), self.cache, gets=self._gets)
            with self._lock:
                self._objects[path] = found
                self._opening.pop(path, None)
                while len(self._objects) > _OBJECTS:
                    self._objects.popitem(last=False)
        return found

    def _open(self, path: str) -> tuple[Any, Version]:
        def ask() -> Any:
            began = time.monotonic()
            found = self.files.open_input_file(path)
            self.fetcher.answered(time.monotonic() - began)
            return found

        handle = with_retries(ask, self.options.retry)
        size = handle.size()
        try:
            metadata = handle.metadata()
        except (NotImplementedError, pa.ArrowNotImplementedError):
            metadata = {}
        named = {_text(key).lower(): _text(value) for key, value in dict(metadata or {}).items()}
        mark = named.get("etag") or named.get("last-modified")
        if not mark:
            mark = str(with_retries(lambda: self.files.get_file_info(path), self.options.retry).mtime_ns)
        return handle, Version(size, mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteReads, (self.files, self.options, self.cache)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
