"""The backlog: work that waits for the disk, done by threads of its own, and no more of it than memory allows."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

LIMIT_BYTES = 2 << 30
"""Bytes that may wait for the disk before who writes has to wait, too."""
LIMIT_UNITS = 64
"""The same in units, each of which holds two files open."""
_THREADS = 2
"""While one waits for the disk's answer, the disk has the other's bytes to write."""


class Backlog:
    """Work that waits for the disk. Thread-safe. What is left when the interpreter ends is still done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._nbytes, self._units = 0, 0
        self._pool: ThreadPoolExecutor | None = None
        self._error: Exception | None = None

    def add(self, nbytes: int, work: Callable[[], None]) -> None:
        """Do `work` for a unit of `nbytes` bytes soon. Returns at once unless too much is waiting already."""
        with self._changed:
            while self._units and (self._nbytes + nbytes > LIMIT_BYTES or self._units >= LIMIT_UNITS):
                self._changed.wait()
            self._nbytes += nbytes
            self._units += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="forebay-cache")
        try:
            self._pool.submit(self._run, nbytes, work)
        except RuntimeError:  # the interpreter is ending, and takes no more work for threads
            self._run(nbytes, work)

    def raise_failed(self) -> None:
        """Raise what work failed with since the last call, once."""
        with self._changed:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Return when nothing is left.

        Raises:
            Exception: what work failed with.
        """
        with self._changed:
            while self._units:
                self._changed.wait()
        self.raise_failed()

    def _run(self, nbytes: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # kept for whoever uses the cache next
            with self._changed:
                self._error = self._error or error
        finally:
            with self._changed:
                self._nbytes -= nbytes
                self._units -= 1
                self._changed.notify_all()
