"""Rows of files that are decoded a fragment at a time (Parquet, text, tars, object stores), read ahead in a known order."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.epoch_order import EpochOrder
from forebay.engine.gather import Gatherer
from forebay.engine.order import WindowOrder, offsets_of
from forebay.engine.plan import Plan
from forebay.engine.read_ahead import AHEAD_BYTES, ReadAhead
from forebay.formats.errors import DataError
from forebay.formats.source import Source
from forebay.loaders.piece import Piece, Scattered, row_ids


class DecodedRows:
    """A `RowStore` for one pass: holds the windows in use and begins the next."""

    def __init__(self, source: Source, plan: Plan, order: EpochOrder, *, threads: int, alone: bool) -> None:
        """`alone`: all rows of the pass will be asked for here, not some of them on other ranks."""
        assert order.windows is not None
        self.whole = alone and order.shuffle == "window"
        self._source, self._plan, self._order, self._threads = source, plan, order, threads
        self._order_of_reading: WindowOrder = order.windows
        self._held: dict[int, _Window] = {}
        self._ahead: ReadAhead[int, list[pa.RecordBatch]] | None = None
        fragments, ordinals = source.fragments(), order.windows.fragments.tolist()
        if (
            not source.store.local
        ):  # each request takes its time there: more of them are under way than there are threads
            self._ahead = ReadAhead(self._read, ordinals, size=lambda ordinal: fragments[ordinal].nbytes)
        expect = getattr(source, "expect", None)
        if expect is not None:  # a cache that cannot hold everything keeps what comes next
            expect(ordinals)

    def schedule(self, positions: NDArray[np.int64], floor: int, pool: Executor | None) -> "list[_Window]":
        if not len(positions):
            return []
        low, high = int(positions.min()), int(positions.max())
        order = self._order_of_reading
        oldest = order.window_at(min(floor, low))
        for window in [one for one in self._held if one < oldest]:
            del self._held[window]
        wanted = range(order.window_at(low), order.window_at(high) + 1)
        found = [self._window(window, pool) for window in wanted]
        if pool is not None:
            self._begin_next(wanted[-1] + 1, pool)
        return found

    def pieces(self, positions: NDArray[np.int64], scheduled: "list[_Window]") -> Iterator[Piece]:
        if len(scheduled) == 1:
            yield from scheduled[0].pieces(positions, slice(0, len(positions)), self._order)
            return
        for window in scheduled:
            here = np.flatnonzero((positions >= window.start) & (positions < window.stop))
            if len(here):
                run = here[-1] - here[0] == len(here) - 1
                places = slice(int(here[0]), int(here[-1]) + 1) if run else here
                yield from window.pieces(positions[here], places, self._order)

    def _begin_next(self, window: int, pool: Executor) -> None:
        """Begin the window that comes next, and more of them while there are threads to do it."""
        order, begun, nbytes = self._order_of_reading, 0, 0
        fragments = self._source.fragments()
        while window < len(order.firsts) - 1 and (begun == 0 or (begun < self._threads and nbytes < AHEAD_BYTES)):
            ordinals = order.fragments[order.firsts[window] : order.firsts[window + 1]].tolist()
            nbytes += sum(fragments[one].nbytes for one in ordinals)
            begun += len(ordinals)
            self._window(window, pool)
            window += 1

    def _window(self, window: int, pool: Executor | None) -> "_Window":
        if window not in self._held:
            order = self._order_of_reading
            places = range(int(order.firsts[window]), int(order.firsts[window + 1]))
            coming = [pool.submit(self._load, one) if pool else None for one in places]
            self._held[window] = _Window(self, places, coming)
            if pool:
                pool.submit(self._held[window].prepare)  # behind the fragments it waits for: no thread waits for itself
        return self._held[window]

    def _read(self, ordinal: int) -> list[pa.RecordBatch]:
        return list(self._source.read(self._source.fragments()[ordinal], columns=self._plan.columns))

    def _load(self, place: int) -> list[pa.RecordBatch]:
        """The fragment at a place of the reading order, decoded.

        Raises:
            DataError: it has another number of rows than the order was made for.
        """
        ordinal = int(self._order_of_reading.fragments[place])
        batches = self._ahead.take(place) if self._ahead else self._read(ordinal)
        fragment, found = self._source.fragments()[ordinal], sum(one.num_rows for one in batches)
        kept = self._order.selection.kept.get(ordinal)
        enough = found == self._order.selection.counts[ordinal] if kept is None else found > int(kept[-1])
        if not enough:
            raise DataError(
                f"{fragment.path}: fragment {ordinal} has {found} rows, which is not what was found when the data set was "
                "opened; the file has changed since, or is not the one that the manifest names"
            )
        return batches


class _Window:
    """Some fragments, decoded or being decoded, among whose rows the order moves."""

    def __init__(self, rows: DecodedRows, places: range, coming: list["Future[list[pa.RecordBatch]] | None"]) -> None:
        order = rows._order_of_reading
        self.start, self.stop = int(order.ends[places.start]), int(order.ends[places.stop])
        self._rows, self._places, self._coming = rows, places, coming
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Do what can be done before rows are asked for."""
        with self._lock:
            _ = self._shuffled if self._rows.whole else self._joined

    def pieces(
        self, positions: NDArray[np.int64], places: slice | NDArray[np.int64], order: EpochOrder
    ) -> Iterator[Piece]:
        """The rows at `positions`, all of which are in this window."""
        in_one_run = isinstance(places, slice) and int(positions[-1] - positions[0]) == len(positions) - 1
        if self._rows.whole:
            with self._lock:
                gatherer, ids = self._shuffled
            at = positions - self.start
            if in_one_run:
                found = gatherer.batches[0].slice(int(at[0]), len(at))
                yield Piece(found, ids[at[0] : at[-1] + 1], places)
            else:
                yield Piece(Scattered(gatherer, np.zeros(len(at), np.int64), at), ids[at], places)
            return
        with self._lock:
            joined = self._joined
        slots, inside, ids = self._located(joined, positions)
        if order.shuffle != "none" or order.selection.kept or not isinstance(places, slice) or not in_one_run:
            yield Piece(Scattered(joined.gatherer, slots, inside), ids, places)
            return
        done = 0
        while done < len(ids):  # the rows lie one behind another: nothing needs to be copied
            batch, first = joined.gatherer.batches[int(slots[done])], int(inside[done])
            count = min(batch.num_rows - first, len(ids) - done)
            end = done + count
            yield Piece(batch.slice(first, count), ids[done:end], slice(places.start + done, places.start + end))
            done = end

    def _located(
        self, joined: "_Joined", positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """(record batches, rows in these, sample ids) at `positions`."""
        at, left = self._rows._order_of_reading.rows(positions)
        fragments = self._rows._order_of_reading.fragments[at]
        rows = self._rows._order.unfiltered(fragments, left)
        lying = joined.fragment_starts[at - self._places.start] + rows
        slots = np.searchsorted(joined.batch_starts, lying, side="right") - 1
        return slots, lying - joined.batch_starts[slots], row_ids(fragments, rows)

    @cached_property
    def _joined(self) -> "_Joined":
        gatherer = Gatherer(self._rows._plan.source_schema)
        fragment_rows, batch_rows = [], []
        for place, coming in zip(self._places, self._coming, strict=True):
            batches = coming.result() if coming is not None else self._rows._load(place)
            fragment_rows.append(sum(one.num_rows for one in batches))
            for batch in batches:
                if batch.num_rows:
                    gatherer.add(batch)
                    batch_rows.append(batch.num_rows)
        self._coming = [None] * len(self._coming)
        return _Joined(
            gatherer, offsets_of(np.array(fragment_rows, np.int64)), offsets_of(np.array(batch_rows, np.int64))
        )

    @cached_property
    def _shuffled(self) -> tuple[Gatherer, NDArray[np.uint64]]:
        """(one record batch of the window's rows in their order, their sample ids).

        Taken all at once: a chunk is a thin sample of the window, so that taking chunk by chunk reads nearly all of the
        window's memory for each.
        """
        joined = self._joined
        slots, inside, ids = self._located(joined, np.arange(self.start, self.stop))
        gatherer = Gatherer(joined.gatherer.schema)
        gatherer.add(joined.gatherer.take(slots, inside))
        del self._joined
        return gatherer, ids


class _Joined(NamedTuple):
    """A window's record batches."""

    gatherer: Gatherer
    fragment_starts: NDArray[np.int64]
    """First row of each fragment when all are laid one behind another."""
    batch_starts: NDArray[np.int64]
    """First row of each record batch, likewise."""
