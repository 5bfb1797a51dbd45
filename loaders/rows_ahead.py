"""Rows of remote fragments on their way into windows: fetched in the order of their use, before they are asked for."""

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from forebay.engine.epoch_order import EpochOrder
from forebay.engine.order import Read, WindowOrder
from forebay.engine.read_ahead import AHEAD_BYTES, ReadAhead
from forebay.formats.fragment import Fragment
from forebay.formats.ipc_rows import ROWS_ALIGNED
from forebay.formats.reader import ReadRequest, only
from forebay.formats.source import Source

Rows = tuple[int, int]
"""(first row, one past the last), as they are stored."""

_LOOKS_AT_ONCE, _LOOKED_AHEAD = 8, 24
"""Layouts that are looked up at once, and how many parts before they are needed."""
_SAMPLED = 64
"""Fragments by which the bytes of a row are told."""


class _Part(NamedTuple):
    """What is fetched in one go."""

    lane: int
    place: int
    rows: Rows | None
    """None: all of the fragment."""


class RowsAhead:
    """The rest of a pass over a data set in an object store.

    Fragments whose rows can be fetched without one another come in steps, as the windows need them; others as a whole. Steps
    stand at the same rows whatever the order is, so that a cache of what was fetched knows them again.
    """

    def __init__(
        self, source: Source, columns: Sequence[str], order: EpochOrder, *, lanes: Sequence[int], first: int
    ) -> None:
        """`lanes` are those that are read here; `first` is the first window that will be asked for."""
        assert order.windows is not None
        self._fragments, self._order = source.fragments(), order
        looks = ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="forebay-layouts")
        weakref.finalize(self, looks.shutdown, wait=False, cancel_futures=True).atexit = False
        look = partial(_step, source, columns)
        for read in order.windows.reads(first, lanes):  # side by side with the one that is waited for below
            looks.submit(look, self._fragments[int(order.windows.fragments[read.place])])
        self._step = look(self._fragments[int(order.windows.fragments[0])])
        # what is kept of objects is known by its rows: there steps stand at the same rows whatever comes first
        kept = source.store.remote is not None and source.store.remote.cache is not None
        self._early = frozenset(() if kept else (one[:2] for one in order.windows.reads(first, lanes)))
        fragments, places, step = self._fragments, order.windows.fragments, self._step
        # nothing that the threads work with holds this object, so that they end when it is dropped
        self._ahead: ReadAhead[_Part, list[pa.RecordBatch]] = ReadAhead(
            partial(_read, source, columns, order.windows),
            _looked_at(
                _parts(self._fragments, order, self._step, lanes=lanes, first=first, early=self._early),
                lambda part: looks.submit(look, fragments[int(places[part.place])]) if step else None,
            ),
            size=partial(_size, self._fragments, order.windows),
            limit=partial(_limit, source),
            first=_first(source, _window_bytes(self._fragments, order, lanes)),
        )
        self._not_due: dict[tuple[int, int], deque[_Part]] = {}

    def batches(self, read: Read) -> tuple[int, Iterator[pa.RecordBatch]]:
        """The rows of a read's fragment: (first row, record batches from there on), from where the read begins or before."""
        parts = _of_fragment(self._order, self._fragments, read, self._step, early=read[:2] in self._early)
        self._not_due[read[:2]] = deque(parts)
        start = parts[0].rows[0] if parts[0].rows else 0
        return start, (batch for part in parts for batch in self._ahead.take(part))

    def due(self, reads: Sequence[Read]) -> None:
        """A window's turn has come: its reads, for all of which `batches` was asked, are waited for from now on."""
        self._not_due = {read[:2]: self._not_due[read[:2]] for read in reads}
        parts = []
        for read in reads:
            left, stop = self._not_due[read[:2]], self._order.stored(read)[1]
            while left and (left[0].rows is None or left[0].rows[0] < stop):
                parts.append(left.popleft())
        self._ahead.due(parts)


def _step(source: Any, columns: Sequence[str], fragment: Fragment) -> int:
    """How many rows are worth a read of their own, as this fragment is laid out; 0: fragments are read as a whole."""
    ranges = getattr(source, "row_ranges", None)  # a source over a cache has none
    return (
        0 if ranges is None else ranges.rows_a_step(source.store, fragment, ReadRequest(only(source.schema, columns)))
    )


def _parts(
    fragments: Sequence[Fragment],
    order: EpochOrder,
    step: int,
    *,
    lanes: Sequence[int],
    first: int,
    early: frozenset[tuple[int, int]],
) -> Iterator[_Part]:
    """All that is read from window `first` on, in the order of its first use."""
    windows = order.windows
    assert windows is not None
    given: dict[tuple[int, int], list[_Part]] = {}  # what is left of the fragments that the window before needed
    for window in range(first, windows.windows):
        reads, before = windows.reads(window, lanes), given
        given = {}
        for one in reads:
            key = one[:2]
            given[key] = before[key] if key in before else _of_fragment(order, fragments, one, step, early=key in early)
        for read in reads:
            left, stop = given[read[:2]], order.stored(read)[1]
            while left and (left[0].rows is None or left[0].rows[0] < stop):
                yield left.pop(0)


def _looked_at(parts: Iterator[_Part], look: Callable[[_Part], object]) -> Iterator[_Part]:
    """The parts; the layout of each fragment is looked up while parts before it are fetched."""
    waiting: deque[_Part] = deque()
    for part in parts:
        if not any(part.place == one.place for one in waiting):
            look(part)
        waiting.append(part)
        if len(waiting) > _LOOKED_AHEAD:
            yield waiting.popleft()
    yield from waiting


def _of_fragment(
    order: EpochOrder, fragments: Sequence[Fragment], read: Read, step: int, *, early: bool
) -> list[_Part]:
    """The parts of a read's fragment, from the one in which the read begins. An early one is waited for by the first batch:
    what its window needs comes by itself."""
    assert order.windows is not None
    rows = fragments[int(order.windows.fragments[read.place])].rows or 0
    if not step:
        return [_Part(read.lane, read.place, None)]
    edges = [*range(0, rows - step // 4, step), rows]  # a short rest goes with the step before
    edges = edges if len(edges) > 1 else [0, rows]
    first, stop = order.stored(read)
    pairs = [pair for pair in zip(edges[:-1], edges[1:], strict=True) if pair[1] > first]
    needed = -(-stop // ROWS_ALIGNED) * ROWS_ALIGNED
    if early and pairs and pairs[0][0] < needed < pairs[0][1] - step // 4:
        pairs[:1] = [(pairs[0][0], needed), (needed, pairs[0][1])]
    return [_Part(read.lane, read.place, pair) for pair in pairs]


def _read(source: Source, columns: Sequence[str], windows: WindowOrder, part: _Part) -> list[pa.RecordBatch]:
    fragment = source.fragments()[int(windows.fragments[part.place])]
    if part.rows is None or source.row_ranges is None:
        return list(source.read(fragment, columns=columns))
    request = ReadRequest(only(source.schema, columns))
    return list(source.row_ranges.read_rows(source.store, fragment, request, part.rows))


def _size(fragments: Sequence[Fragment], windows: WindowOrder, part: _Part) -> int:
    fragment = fragments[int(windows.fragments[part.place])]
    if part.rows is None:
        return fragment.nbytes
    return fragment.nbytes * (part.rows[1] - part.rows[0]) // max(fragment.rows or 0, 1)


def _limit(source: Source) -> int:
    reads = source.store.remote
    return reads.fetcher.keeps_busy() if reads is not None else AHEAD_BYTES


def _first(source: Source, window: int) -> int:
    """Bytes to begin with: a window, or what a store far away gives while the first answer is on its way, if that is more."""
    reads = source.store.remote
    return max(min(window, AHEAD_BYTES), reads.fetcher.supposed_under_way() if reads is not None else 0)


def _window_bytes(fragments: Sequence[Fragment], order: EpochOrder, lanes: Sequence[int]) -> int:
    """What a window takes in the files, about, of the lanes that are read here."""
    windows = order.windows
    assert windows is not None
    some = [fragments[int(at)] for at in windows.fragments[:_SAMPLED]]
    nbytes, rows = sum(one.nbytes for one in some), sum(one.rows or 0 for one in some)
    if not windows.window or not rows:
        return nbytes // max(len(some), 1)
    return nbytes * windows.window * len(lanes) // (rows * windows.lanes)
