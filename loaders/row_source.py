"""Row sources: where the rows at given positions of an epoch are found, window by window or anywhere in mapped files."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.dataset import Dataset
from forebay.engine.order import mix_key, permute, window_order
from forebay.engine.plan import Plan
from forebay.engine.read_ahead import ReadAhead
from forebay.engine.run_stages import ROW_BITS
from forebay.formats.errors import SpecError
from forebay.formats.schemas import no_rows
from forebay.loaders.feed_spec import FeedSpec

Share = tuple[int, int]
"""(first, one past the last) position of the epoch."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a chunk that lie together."""

    batch: pa.RecordBatch
    """Source columns; the rows wanted are among its rows."""
    take: NDArray[np.int64]
    """(n,) which of them, in order."""
    ids: NDArray[np.uint64]
    """(n,) their sample ids."""
    places: NDArray[np.int64] | None
    """(n,) their rows in the chunk; None: one run behind that of the piece before."""
    path: str
    """A file they come from, for messages."""


class RowSource(Protocol):
    """Gives the rows of an epoch. `schedule` runs in the order of the epoch, in one thread; `pieces` in any thread."""

    def schedule(self, shares: Sequence[Share], pool: Executor | None) -> Any:
        """Start reading what these shares need; what it returns is for `pieces`."""

    def pieces(self, scheduled: Any) -> Iterator[Piece]:
        """The rows."""


def row_source(dataset: Dataset, plan: Plan, spec: FeedSpec, epoch: int) -> RowSource:
    """The source that fits the data and the order asked for.

    Raises:
        SpecError: a global shuffle of data that is not memory-mapped.
    """
    mapped = dataset.source.random_access
    if spec.shuffle == "global" and not mapped:
        raise SpecError(
            f"shuffle='global' takes any row at any time, which {dataset.source.format} files do not give; write the data with "
            "format='arrow', or use shuffle='window' (what shuffle=True takes here)"
        )
    if mapped and spec.shuffle != "window":
        return MappedSource(dataset, plan, spec, epoch)
    return WindowSource(dataset, plan, spec, epoch)


class MappedSource:
    """Memory-mapped Arrow: rows are taken where they lie."""

    def __init__(self, dataset: Dataset, plan: Plan, spec: FeedSpec, epoch: int) -> None:
        source = dataset.source
        self._selection = dataset.selection
        self._key = mix_key(spec.seed, epoch)
        self._shuffled = spec.shuffle == "global"
        self._paths = [one.path for one in source.fragments()]
        self._batches = [batch.select(plan.columns) for path in source.paths for batch in source.open_batches(path)]
        self._rows = len(self._selection)

    def schedule(self, shares: Sequence[Share], pool: Executor | None) -> Sequence[Share]:
        return shares

    def pieces(self, scheduled: Sequence[Share]) -> Iterator[Piece]:
        positions = np.concatenate([np.arange(first, stop) for first, stop in scheduled])
        if self._shuffled:
            positions = permute(self._rows, self._key, positions)
        fragments, rows = self._selection.locate(positions)
        if len(self._batches) == 1 or (fragments[0] == fragments).all():
            yield self._piece(int(fragments[0]), rows, None)
            return
        order = np.argsort(fragments, kind="stable")
        cuts = np.flatnonzero(np.diff(fragments[order])) + 1
        for places in np.split(order, cuts):
            yield self._piece(int(fragments[places[0]]), rows[places], places)

    def _piece(self, fragment: int, rows: NDArray[np.int64], places: NDArray[np.int64] | None) -> Piece:
        ids = rows.astype(np.uint64) + np.uint64(fragment << ROW_BITS)
        return Piece(self._batches[fragment], rows, ids, places, self._paths[fragment])


@dataclass(frozen=True, slots=True)
class _Window:
    batch: pa.RecordBatch
    order: NDArray[np.int64]
    ids: NDArray[np.uint64]
    path: str


class WindowSource:
    """Parquet, text, tars, object stores: fragments are decoded whole, a window of them at a time, one window ahead."""

    def __init__(self, dataset: Dataset, plan: Plan, spec: FeedSpec, epoch: int) -> None:
        self._source, self._plan, self._selection = dataset.source, plan, dataset.selection
        shuffled = spec.shuffle == "window"
        window_rows = spec.window_rows if shuffled else 1
        self._order = window_order(
            self._selection.counts, seed=spec.seed, epoch=epoch, shuffle=shuffled, window_rows=window_rows
        )
        self._coming: dict[int, Future[_Window]] = {}
        self._ahead: ReadAhead[int, list[pa.RecordBatch]] | None = None
        if not self._source.store.local:  # a window ahead is not enough where each request takes its time
            fragments = self._source.fragments()
            ordinals = self._order.fragments.tolist()
            self._ahead = ReadAhead(self._read, ordinals, size=lambda ordinal: fragments[ordinal].nbytes)

    def schedule(self, shares: Sequence[Share], pool: Executor | None) -> list[tuple[Future[_Window], int, int]]:
        found: list[tuple[Future[_Window], int, int]] = []
        for first, stop in shares:
            while first < stop:
                window = self._order.window_at(first)
                start, end = int(self._order.starts[window]), int(self._order.starts[window + 1])
                until = min(stop, end)
                found.append((self._window(window, pool), first - start, until - start))
                first = until
        return _joined(found)

    def pieces(self, scheduled: list[tuple[Future[_Window], int, int]]) -> Iterator[Piece]:
        for coming, first, stop in scheduled:
            window = coming.result()
            take = window.order[first:stop]
            yield Piece(window.batch, take, window.ids[take], None, window.path)

    def _window(self, window: int, pool: Executor | None) -> Future[_Window]:
        """The window's rows, and those of the next begun; windows behind are let go once no chunk needs them."""
        for one in [window, window + 1] if pool else [window]:
            if one not in self._coming and one < len(self._order.starts) - 1:
                self._coming[one] = pool.submit(self._load, one) if pool else _done(self._load(one))
        for old in [one for one in self._coming if one < window]:
            del self._coming[old]
        return self._coming[window]

    def _read(self, ordinal: int) -> list[pa.RecordBatch]:
        return list(self._source.read(self._source.fragments()[ordinal], columns=self._plan.columns))

    def _load(self, window: int) -> _Window:
        ordinals = self._order.fragments[self._order.firsts[window] : self._order.firsts[window + 1]].tolist()
        tables, ids = [], []
        for at, ordinal in enumerate(ordinals, int(self._order.firsts[window])):
            batches = self._ahead.take(at) if self._ahead else self._read(ordinal)
            table = pa.Table.from_batches(batches, schema=self._plan.source_schema)
            kept = self._selection.kept.get(ordinal)
            if kept is not None:
                table = table.take(pa.array(kept))
            rows = self._selection.rows_of(ordinal).astype(np.uint64)
            ids.append(rows + np.uint64(ordinal << ROW_BITS))
            tables.append(table)
        whole = pa.concat_tables(tables).combine_chunks().to_batches()
        batch = whole[0] if whole else no_rows(self._plan.source_schema)
        return _Window(batch, self._order.rows(window), np.concatenate(ids), self._source.fragments()[ordinals[0]].path)


def _joined(found: list[tuple[Future[_Window], int, int]]) -> list[tuple[Future[_Window], int, int]]:
    """Runs that follow one another in a window become one: a stage then runs once for several batches."""
    joined: list[tuple[Future[_Window], int, int]] = []
    for one in found:
        if joined and joined[-1][0] is one[0] and joined[-1][2] == one[1]:
            joined[-1] = (one[0], joined[-1][1], one[2])
        else:
            joined.append(one)
    return joined


def _done(window: _Window) -> Future[_Window]:
    future: Future[_Window] = Future()
    future.set_result(window)
    return future
