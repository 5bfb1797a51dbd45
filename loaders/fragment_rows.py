"""One fragment on its way into windows: decoded only as far as they need it, held only as long."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future

import pyarrow as pa

from forebay.formats.errors import DataError

Range = tuple[int, int]
"""(first row, one past the last)."""


class FragmentRows:
    """Rows of one fragment, for windows that need a part of it each, in ascending order. Thread-safe.

    A row group may be larger than a window; then the rest of it is decoded when the next window comes.
    """

    def __init__(
        self, begin: Callable[[], Iterator[pa.RecordBatch]], rows: int | None, place: str, *, first: int = 0
    ) -> None:
        """`begin` begins to decode, at row `first`; `rows` is how many there must be in all (None: not known); `place` names
        them in errors."""
        self._begin, self._rows, self._place = begin, rows, place
        self._coming: Iterator[pa.RecordBatch] | None = None
        self._batches: list[tuple[int, pa.RecordBatch]] = []
        self._decoded = first
        self._expected: list[int] = []
        self._failed: Exception | None = None
        self._lock = threading.Lock()

    def expect(self, range: Range, pool: Executor | None) -> "Future[None] | None":
        """`take` will be called for these rows: begin to decode them. Done when they are decoded, or cannot be."""
        with self._lock:
            self._expected.append(range[0])
        return pool.submit(self._ahead, range[1]) if pool is not None else None

    def take(self, range: Range) -> list[tuple[int, pa.RecordBatch]]:
        """(first row, record batch) of all that hold a part of these rows.

        Raises:
            DataError: the fragment has not the rows that it must have.
        """
        with self._lock:
            self._decode(range[1])
            found = [(at, one) for at, one in self._batches if at < range[1] and at + one.num_rows > range[0]]
            self._expected.remove(range[0])
            needed = min(self._expected, default=range[0])
            self._batches = [(at, one) for at, one in self._batches if at + one.num_rows > needed]
        return found

    def _ahead(self, stop: int) -> None:
        # what fails is raised where the rows are taken
        with self._lock, contextlib.suppress(Exception):
            self._decode(stop)

    def _decode(self, stop: int) -> None:
        if self._failed is not None:
            raise self._failed
        try:
            if self._coming is None:
                self._coming = self._begin()
            self._batches += self._decoded_until(stop, self._coming)
        except Exception as error:
            self._failed = error
            raise

    def _decoded_until(self, stop: int, coming: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        while self._decoded < stop or self._decoded == self._rows:  # behind the last row there must be nothing more
            batch = next(coming, None)
            if batch is None:
                if self._decoded < stop:
                    raise self._other(f"{self._decoded}")
                return
            if batch.num_rows:
                yield self._decoded, batch
                self._decoded += batch.num_rows
        if self._rows is not None and self._decoded > self._rows:
            raise self._other(f"more than {self._rows}")

    def _other(self, found: str) -> DataError:
        return DataError(
            f"{self._place} has {found} rows, which is not what was found when the data set was opened; the file has changed "
            "since, or is not the one that the manifest names"
        )
