"""Rows of files that are decoded a fragment at a time (Parquet, text, tars, object stores), read ahead in a known order."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.epoch_order import EpochOrder
from forebay.engine.gather import Gatherer
from forebay.engine.order import Read, WindowOrder
from forebay.engine.plan import Plan
from forebay.engine.read_ahead import AHEAD_BYTES
from forebay.engine.run_stages import ROW_BITS
from forebay.formats.source import Source
from forebay.loaders.fragment_rows import FragmentRows
from forebay.loaders.piece import Part, Piece, Scattered, consecutive, row_ids
from forebay.loaders.rows_ahead import RowsAhead

_WIDE = 2048
"""Bytes of a row from which on taking it from anywhere costs no more than taking it from beside the last."""


class DecodedRows:
    """A `RowStore` for one pass: holds the windows in use and begins the next.

    Args:
        share: (rank, world size) where each position p that is asked for, and is in lanes, has p % world_size == rank, so that
            most windows' rows are needed here or not at all; None where any may be asked for.
        following: the order of the pass after this, for a cache that cannot hold everything.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        order: EpochOrder,
        *,
        threads: int,
        share: tuple[int, int] | None,
        following: Callable[[], EpochOrder] | None = None,
    ) -> None:
        assert order.windows is not None
        self._source, self._plan, self._order, self._threads = source, plan, order, threads
        self._order_of_reading: WindowOrder = order.windows
        self.share = share if order.shuffle == "window" else None
        self.lanes = _lanes_of(self._order_of_reading.lanes, self.share)
        self._pass = _Pass(self._order_of_reading, order, self.share, plan.source_schema)
        self._held: dict[int, _Window] = {}
        self._loads: dict[tuple[int, int], FragmentRows] = {}
        self._following, self._expect = following, getattr(source, "expect", None)
        self._ahead: RowsAhead | None = None

    def schedule(self, positions: NDArray[np.int64], floor: int, pool: Executor | None) -> "list[_Window]":
        if not len(positions):
            return []
        low, high = int(positions.min()), int(positions.max())
        order = self._order_of_reading
        if self._expect is not None:  # a cache that cannot hold everything keeps what comes next
            self._expect(self._coming(order.window_at(low)))
            self._expect = None
        if not self._source.store.local:
            pool = None  # fetching has threads of its own; those of the pool would wait for it, and not do what can be done
            if self._ahead is None:
                columns, first = self._plan.columns, order.window_at(low)
                self._ahead = RowsAhead(self._source, columns, self._order, lanes=self.lanes, first=first)
        oldest = order.window_at(min(floor, low))
        for window in [one for one in self._held if one < oldest]:
            del self._held[window]
        wanted = range(order.window_at(low), order.window_at(high) + 1)
        begun = bool(self._held)
        found = [self._window(window, pool) for window in wanted]
        # not with the first rows of all: these would wait in line behind the next window; nor with rows of two windows, where
        # that can be done with the next rows as well, and one window is gone by then
        last = wanted[-1]
        soon = len(wanted) > 1 and order.start(last + 1) - 1 - high > high - low
        if pool is not None and begun and not soon:
            self._begin_next(last + 1, pool)
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
        while window < order.windows and (begun == 0 or (begun < self._threads and nbytes < AHEAD_BYTES)):
            places = [one.place for one in order.reads(window, self.lanes)]
            nbytes += sum(fragments[self.ordinal(place)].nbytes for place in places)
            begun += len(places)
            self._window(window, pool)
            window += 1

    def _window(self, window: int, pool: Executor | None) -> "_Window":
        if window not in self._held:
            reads, old = self._order_of_reading.reads(window, self.lanes), self._loads
            # a fragment that the window before has a part of is decoded once for both
            self._loads = {one[:2]: old.get(one[:2]) or self._load(one) for one in reads}
            if self._ahead is not None:
                self._ahead.due(reads)
            coming = [self._loads[one[:2]].expect(self._order.stored(one), pool) for one in reads]
            self._held[window] = _Window(self._pass, window, [(one, self._loads[one[:2]]) for one in reads])
            if self._held[window].share:
                self._held[window].prepare_behind([one for one in coming if one is not None])
        return self._held[window]

    def _reading(self, order: WindowOrder, first: int) -> list[tuple[int, int]]:
        """(lane, place) of all that will be loaded from window `first` on, in the order of its first use."""
        windows = range(first, order.windows)
        return list(dict.fromkeys(one[:2] for window in windows for one in order.reads(window, self.lanes)))

    def _coming(self, first: int) -> list[int]:
        """Fragments in the order of their use: the rest of this pass, and all of the next."""
        orders = [(self._order_of_reading, first)]
        after = self._following().windows if self._following else None
        if after is not None:
            orders.append((after, 0))
        return [int(order.fragments[place]) for order, start in orders for _, place in self._reading(order, start)]

    def ordinal(self, place: int) -> int:
        """The fragment at a place of the reading order."""
        return int(self._order_of_reading.fragments[place])

    def _load(self, read: Read) -> FragmentRows:
        ordinal = self.ordinal(read.place)
        fragment, kept = self._source.fragments()[ordinal], self._order.selection.kept.get(ordinal)
        rows = None if kept is not None else int(self._order.selection.counts[ordinal])
        whole = not self._order_of_reading.window
        place = f"{fragment.path}: fragment {ordinal}"
        if self._ahead is not None:
            first, coming = self._ahead.batches(read)
            return FragmentRows(lambda: coming, rows, place, first=first)
        columns = self._plan.columns
        return FragmentRows(lambda: self._source.read(fragment, columns=columns, at_once=whole), rows, place)


@dataclass(frozen=True, slots=True)
class _Pass:
    """What windows know of the pass: not its `DecodedRows`, which holds them, so that their memory goes when they do."""

    reading: WindowOrder
    order: EpochOrder
    share: tuple[int, int] | None
    schema: pa.Schema


class _Window:
    """Rows that come in one stretch of the order: parts of fragments, decoded or being decoded."""

    def __init__(self, of: _Pass, number: int, loads: list[tuple[Read, FragmentRows]]) -> None:
        self.start, self.stop = of.reading.start(number), of.reading.start(number + 1)
        self._pass, self._loads = of, loads
        self.share = None if of.reading.is_rest(number) else of.share
        self._batches: dict[int, pa.RecordBatch] = {}
        """What has been taken of `_loads`: one that fails is asked again, and fails again, the others only once."""
        self._lock = threading.Lock()

    def prepare_behind(self, coming: "list[Future[None]]") -> None:
        """Put the rows in order as soon as all fragments are decoded: in the thread that decodes the last, so that none
        waits for another."""
        left = itertools.count(len(coming) - 1, -1)

        def decoded(one: "Future[None]") -> None:
            if next(left) == 0 and not one.cancelled():
                with self._lock, contextlib.suppress(Exception):  # it is raised again where rows are asked for
                    _ = self._shuffled if self._gathered else self._joined

        for one in coming:
            one.add_done_callback(decoded)

    def pieces(
        self, positions: NDArray[np.int64], places: slice | NDArray[np.int64], order: EpochOrder
    ) -> Iterator[Piece]:
        """The rows at `positions`, all of which are in this window."""
        with self._lock:
            shuffled = self._shuffled if self._gathered else None
        if shuffled is not None and self.share:
            gatherer, ids = shuffled
            yield _taken(gatherer, ids, (positions - self._first) // self.share[1], places)
            return
        with self._lock:
            joined = self._joined
        in_order = order.shuffle == "none" and not order.selection.kept
        if not (in_order and isinstance(places, slice) and consecutive(positions)):
            slots, inside, ids = self._located(joined, positions)
            with self._lock:
                gatherer = joined.gatherer
            yield Piece(Scattered(gatherer, slots, inside), ids, places)
            return
        done = 0
        while done < len(positions):  # the rows lie one behind another: nothing is copied, nor looked up row by row
            slots, inside, ids = self._located(joined, positions[done : done + 1])
            batch, first = joined.batches[int(slots[0])], int(inside[0])
            count = min(batch.num_rows - first, len(positions) - done)
            here = slice(places.start + done, places.start + done + count)
            yield Piece(Part(batch, first, count), ids[0] + np.arange(count, dtype=np.uint64), here)
            done += count

    @cached_property
    def _gathered(self) -> bool:
        """Whether rows are put in order all at once; wide ones are taken from where they lie, without that copy."""
        batches = self._joined.batches if self.share else []
        rows = sum(one.num_rows for one in batches)
        return rows > 0 and sum(one.nbytes for one in batches) < _WIDE * rows

    @property
    def _first(self) -> int:
        """The first position that is asked for here."""
        rank, world_size = self.share or (0, 1)
        return self.start + (rank - self.start) % world_size

    def _located(
        self, joined: "_Joined", positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """(record batches, rows in these, sample ids) at `positions`."""
        at, left = self._pass.reading.rows(positions)
        fragments = self._pass.reading.fragments[at]
        rows = self._pass.order.unfiltered(fragments, left)
        ids = row_ids(at, rows).view(np.int64)
        slots = np.searchsorted(joined.starts, ids, side="right") - 1
        return slots, ids - joined.starts[slots], row_ids(fragments, rows)

    @cached_property
    def _joined(self) -> "_Joined":
        found = self._batches
        while self._loads:
            read, load = self._loads[0]
            for first, batch in load.take(self._pass.order.stored(read)):
                found[read.place << ROW_BITS | first] = batch  # two lanes may have parts of one fragment
            del self._loads[0]
        starts = sorted(found)
        joined = _Joined(self._pass.schema, [found[one] for one in starts], np.array(starts, np.int64))
        found.clear()
        return joined

    @cached_property
    def _shuffled(self) -> tuple[Gatherer, NDArray[np.uint64]]:
        """(one record batch of the rows wanted here in their order, their sample ids).

        Taken all at once: a chunk is a thin sample of the window, so that taking chunk by chunk reads nearly all of the
        window's memory for each.
        """
        joined, world_size = self._joined, (self.share or (0, 1))[1]
        slots, inside, ids = self._located(joined, np.arange(self._first, self.stop, world_size))
        gatherer = Gatherer(joined.gatherer.schema)
        gatherer.add(joined.gatherer.take(slots, inside))
        del self._joined
        return gatherer, ids


@dataclass(frozen=True)
class _Joined:
    """A window's record batches."""

    schema: pa.Schema
    batches: list[pa.RecordBatch]
    starts: NDArray[np.int64]
    """(K,) place of each in the reading order and its first row, as one number (`place << ROW_BITS | row`), ascending."""

    @cached_property
    def gatherer(self) -> Gatherer:
        """What takes rows from anywhere in them."""
        gatherer = Gatherer(self.schema)
        for batch in self.batches:
            gatherer.add(batch)
        return gatherer


def _taken(
    gatherer: Gatherer, ids: NDArray[np.uint64], at: NDArray[np.int64], places: slice | NDArray[np.int64]
) -> Piece:
    """Rows `at` of a gatherer's one record batch."""
    if isinstance(places, slice) and consecutive(at):
        return Piece(Part(gatherer.batches[0], int(at[0]), len(at)), ids[at[0] : at[-1] + 1], places)
    return Piece(Scattered(gatherer, np.zeros(len(at), np.int64), at), ids[at], places)


def _lanes_of(lanes: int, share: tuple[int, int] | None) -> list[int]:
    """The lanes that hold what a rank is asked for."""
    if share is None or lanes % share[1]:
        return list(range(lanes))
    return list(range(share[0], lanes, share[1]))
