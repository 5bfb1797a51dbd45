"""Reading ahead of an order that is known, as far as the store's latency asks for and memory allows."""

import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")
Plain = TypeVar("Plain")

AHEAD_BYTES = 128 << 20
"""Most bytes read ahead, by the sizes that the items have in their files: twice what 16 connections of 4 MiB carry at once, so
that as much can be ready as is under way."""

_FIRST_BYTES = 16 << 20
_MOST_AT_ONCE = 64


class ReadAhead(Generic[Item, Result]):
    """Reads items in their order before they are asked for. Thread-safe.

    How far ahead is found on the way: each time that a caller has to wait, twice as many bytes may be under way or ready,
    until none waits or `limit` is reached. So a near store costs little memory, and a far one is kept busy.
    """

    def __init__(
        self,
        read: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        size: Callable[[Item], int],
        limit: Callable[[], int] = lambda: AHEAD_BYTES,
        first: int = _FIRST_BYTES,
    ) -> None:
        """
        Args:
            read: reads one item; called in threads. It must not hold this object, which else would not end when it is dropped.
            items: different items in the order of their use, taken from as they are begun.
            size: bytes of an item.
            limit: most bytes under way or ready, as things stand when it is called.
            first: bytes that are under way from the beginning.
        """
        self._read, self._items, self._size, self._limit = read, iter(items), size, limit
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="forebay-ahead")
        self._lock = threading.Lock()
        self._coming: dict[Item, Future[Result]] = {}
        self._passed: set[Item] = set()
        """Items that were not begun when a later one was asked for."""
        self._due: set[Item] = set()
        """Items that are not ahead any more, but have not been taken."""
        self._next: Item | None = None
        self._held, self._target = 0, first
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True).atexit = False
        with self._lock:
            self._begin()

    def take(self, item: Item) -> Result:
        """The result for an item. Items are taken once, in order or nearly so.

        Raises:
            Exception: what `read` raised for this item.
        """
        with self._lock:
            future = self._coming.pop(item, None)
            if future is None:
                future = self._out_of_turn(item)
            elif item not in self._due:
                self._held -= self._size(item)
            self._due.discard(item)
            if not future.done() and self._target < self._limit():
                self._target *= 2
            self._begin()
        return future.result()

    def due(self, items: Iterable[Item]) -> None:
        """These will be taken now, one after the other: they do not count as read ahead any more, so that what comes after them
        is begun while the first of them is waited for. Without that a store stands still whenever its answers come in another
        order than they were asked for."""
        with self._lock:
            for item in items:
                if item in self._coming and item not in self._due:
                    self._held -= self._size(item)
                self._due.add(item)
            self._begin()

    def close(self) -> None:
        """Leave what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def target(self) -> int:
        """Bytes that may be under way or ready now."""
        return min(self._target, self._limit())

    def _out_of_turn(self, item: Item) -> Future[Result]:
        """Begin an item now that is not under way."""
        if item in self._passed:
            self._passed.remove(item)
        else:
            while (passed := self._following()) is not None and passed != item:
                self._passed.add(passed)
        return self._pool.submit(self._read, item)

    def _following(self) -> Item | None:
        """The item to begin next, taken."""
        found, self._next = self._next, None
        return next(self._items, None) if found is None else found

    def _begin(self) -> None:
        target = self.target
        while (item := self._following()) is not None:
            nbytes = 0 if item in self._due else self._size(item)
            if self._held and self._held + nbytes > target:
                self._next = item
                return
            self._coming[item] = self._pool.submit(self._read, item)
            self._held += nbytes


def read_ahead(
    read: Callable[[Plain], Result], items: Sequence[Plain], *, size: Callable[[Plain], int], limit: int = AHEAD_BYTES
) -> Iterator[Result]:
    """`read(item)` for each item, in order, read ahead. The first exception comes where its result would have come."""
    ahead = ReadAhead(
        lambda at: read(items[at]), range(len(items)), size=lambda at: size(items[at]), limit=lambda: limit, first=1
    )
    try:
        for at in range(len(items)):
            yield ahead.take(at)
    finally:
        ahead.close()
