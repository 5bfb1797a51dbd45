"""Reading ahead of an order that is known, as far as the store's latency asks for and memory allows."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD_BYTES = 256 << 20
"""Most bytes read ahead, by the sizes that the items have in their files."""

_FIRST_DEPTH = 2
_MOST_DEPTH = 64


class ReadAhead(Generic[Item, Result]):
    """Reads items in their order before they are asked for. Thread-safe.

    How far ahead is found on the way: each time that a caller has to wait, twice as many are begun, until none waits or
    `limit` bytes are under way. So a near store costs few threads, and a far one is kept busy.
    """

    def __init__(
        self,
        read: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        size: Callable[[Item], int],
        limit: int = AHEAD_BYTES,
    ) -> None:
        self._read, self._items, self._size, self._limit = read, items, size, limit
        self._pool = ThreadPoolExecutor(_MOST_DEPTH, thread_name_prefix="forebay-ahead")
        self._lock = threading.Lock()
        self._coming: dict[int, Future[Result]] = {}
        self._held, self._next, self._depth = 0, 0, _FIRST_DEPTH

    def take(self, at: int) -> Result:
        """The result for item `at`. Items are taken once, in order or nearly so.

        Raises:
            Exception: what `read` raised for this item.
        """
        with self._lock:
            self._next = max(self._next, at)
            self._begin(at)
            future = self._coming.pop(at, None)
            if future is None:  # taken out of turn
                future = self._pool.submit(self._read, self._items[at])
            else:
                self._held -= self._size(self._items[at])
            if not future.done():
                self._depth = min(2 * self._depth, _MOST_DEPTH)
            self._begin(at + 1)
        return future.result()

    def close(self) -> None:
        """Leave what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, at: int) -> None:
        while self._next < min(len(self._items), at + self._depth):
            nbytes = self._size(self._items[self._next])
            if self._coming and self._held + nbytes > self._limit:
                return
            self._coming[self._next] = self._pool.submit(self._read, self._items[self._next])
            self._held += nbytes
            self._next += 1


def read_ahead(
    read: Callable[[Item], Result], items: Sequence[Item], *, size: Callable[[Item], int], limit: int = AHEAD_BYTES
) -> Iterator[Result]:
    """`read(item)` for each item, in order, read ahead. The first exception comes where its result would have come."""
    ahead = ReadAhead(read, items, size=size, limit=limit)
    try:
        for at in range(len(items)):
            yield ahead.take(at)
    finally:
        ahead.close()
