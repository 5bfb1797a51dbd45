"""Footers of Parquet files, kept so that a file with a thousand row groups is not parsed a thousand times."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq

from forebay.formats.store import Store

_HELD = 64
"""Files whose footers are held: more than are read at once, few enough that wide ones (a megabyte each) do no harm."""

_Key = tuple[str, int, int | None]


class Footers:
    """A small cache by path, size and time: a file that was rewritten is looked at again. Safe between threads; pickles
    as an empty one."""

    def __init__(self) -> None:
        self._held: OrderedDict[_Key, tuple[pq.FileMetaData, dict[str, frozenset[int]]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: Store, path: str) -> pq.FileMetaData | None:
        """The footer, or None when it is not held."""
        key = _key(store, path)
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, store: Store, path: str, footer: pq.FileMetaData) -> None:
        key = _key(store, path)
        with self._lock:
            self._held[key] = (footer, {})
            while len(self._held) > _HELD:
                self._held.popitem(last=False)

    def once(self, store: Store, path: str, what: str, find: Callable[[], frozenset[int]]) -> frozenset[int]:
        """What `find` gives for this file, remembered under the name `what` as long as its footer is."""
        with self._lock:
            found = self._held.get(_key(store, path))
        if found is None:
            return find()
        if what not in found[1]:
            found[1][what] = find()
        return found[1][what]

    def __reduce__(self) -> tuple[Any, ...]:
        return (Footers, ())


def _key(store: Store, path: str) -> _Key:
    if not store.local:  # asking an object store costs as much as the footer; a source is of one moment there
        return (path, -1, None)
    info = store.info(path)
    return (path, info.size, info.mtime_ns)
