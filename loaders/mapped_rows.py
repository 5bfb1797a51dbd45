"""Rows of memory-mapped Arrow files, taken where they lie. Files are mapped when a row of theirs is first wanted."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.epoch_order import EpochOrder
from forebay.engine.gather import Gatherer
from forebay.engine.plan import Plan
from forebay.formats.errors import DataError
from forebay.formats.plain_numbers import distinct
from forebay.formats.schemas import conform
from forebay.formats.source import Source
from forebay.loaders.mapped_pages import MappedPages
from forebay.loaders.piece import Part, Piece, Scattered, consecutive, row_ids, runs_of

if TYPE_CHECKING:
    from forebay.engine.cache_guard import RowGuard

FILES_HELD = 16_384
"""Files mapped at the same time: Linux allows a process 65,530 mappings (vm.max_map_count)."""


class MappedFiles:
    """The record batches of a source's files. Thread-safe; shared by all passes over the source."""

    def __init__(self, source: Source, plan: Plan, *, files_held: int = FILES_HELD) -> None:
        self._source, self._plan, self._limit = source, plan, files_held
        self._lock = threading.Lock()
        self._opened = _Opened(plan.source_schema, len(source.fragments()))

    def of(self, fragments: NDArray[np.int64]) -> "_Opened":
        """Mapped files that hold `fragments` (N,), among others. Hold on to it while rows are taken: when too many files
        are mapped a new one is begun, and the old ones are unmapped when nobody holds them."""
        opened = self._opened
        if opened.holds(fragments):
            return opened
        with self._lock:
            opened = self._opened
            missing = distinct(fragments[opened.slots[fragments] < 0])
            if opened.files and opened.files + len(missing) > self._limit:
                self._opened = opened = _Opened(self._plan.source_schema, len(opened.slots))
                missing = distinct(fragments)
            for ordinal in missing:
                if opened.slots[ordinal] < 0:
                    self._open(opened, ordinal)
        return opened

    def look_at(self, opened: "_Opened", fragments: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Look at the bytes of rows (N,) of `fragments` (N,) that nobody has looked at yet, where these come from a cache; a
        fragment that has wrong ones is taken from its source anew."""
        guards = opened.guards
        if not guards:
            return
        for fragment, row in zip(fragments.tolist(), rows.tolist(), strict=True):
            guard = guards.get(fragment)
            if guard is not None and not guard.right(row):
                self._replace(opened, fragment)
        for fragment in set(fragments.tolist()):
            guard = guards.get(fragment)
            if guard is not None and guard.done:
                guards.pop(fragment, None)

    def _replace(self, opened: "_Opened", ordinal: int) -> None:
        with self._lock:
            if opened.guards.get(ordinal) is None:  # another thread found it, too
                return
            # the old one stays in the gatherer, since rows of it that are right may be on their way
            self._add(opened, ordinal, cast(Any, self._source).rebuilt(ordinal))
            del opened.guards[ordinal]

    def _add(self, opened: "_Opened", ordinal: int, batch: pa.RecordBatch) -> None:
        schema = self._plan.source_schema
        names = [name for name in schema.names if name in batch.schema.names]
        path = self._source.fragments()[ordinal].path
        opened.slots[ordinal] = opened.gatherer.add(conform(batch.select(names), schema, path=path))
        opened.pages.add(batch)

    def _open(self, opened: "_Opened", ordinal: int) -> None:
        """Map the file that holds a fragment."""
        everything, guard_of = self._source.fragments(), getattr(self._source, "guard", None)
        path, first = everything[ordinal].path, ordinal
        while first and everything[first - 1].path == path:
            first -= 1
        for number, batch in enumerate(self._source.open_batches(path), first):
            if (
                number >= len(everything)
                or everything[number].path != path
                or everything[number].rows != batch.num_rows
            ):
                raise DataError(
                    f"{path}: record batch {number - first} has {batch.num_rows} rows, which is not what was found when the data "
                    "set was opened; the file has changed since, or is not the one that the manifest names"
                )
            guard = guard_of(number) if guard_of else None
            if guard is not None and not guard.done:
                opened.guards[number] = guard
            self._add(opened, number, batch)
        opened.files += 1


class _Opened:
    """Mapped record batches, and which fragment is which."""

    def __init__(self, schema: pa.Schema, fragments: int) -> None:
        self.pages = MappedPages()
        self.gatherer = Gatherer(schema, copied=self.pages.copied, taken=self.pages.taken)
        self.slots = np.full(fragments, -1, np.int64)
        """(F,) number of a fragment's record batch in the gatherer; -1 where it is not mapped."""
        self.guards: dict[int, RowGuard] = {}
        """Fragment -> what says of its rows whether they are right, where not all were looked at."""
        self.files = 0

    def holds(self, fragments: NDArray[np.int64]) -> bool:
        """Whether all of these are mapped."""
        return bool((self.slots[fragments] >= 0).all())


class MappedRows:
    """A `RowStore` over mapped files, for any order."""

    def __init__(self, files: MappedFiles, order: EpochOrder) -> None:
        self._files, self._order = files, order

    def schedule(self, positions: NDArray[np.int64], floor: int, pool: Executor | None) -> Any:
        return None

    def pieces(self, positions: NDArray[np.int64], scheduled: Any) -> Iterator[Piece]:
        fragments, rows = self._order.locate(positions)
        ids = row_ids(fragments, rows)
        opened = self._files.of(fragments)
        self._files.look_at(opened, fragments, rows)
        if self._order.shuffle == "none" and not self._order.selection.kept:
            for first, stop in runs_of(fragments):
                batch = opened.gatherer.batches[opened.slots[fragments[first]]]
                here = slice(first, stop)
                if consecutive(rows[here]):  # neighbours: nothing needs to be copied
                    yield Piece(Part(batch, int(rows[first]), stop - first), ids[here], here)
                else:
                    yield Piece(Scattered(opened.gatherer, opened.slots[fragments[here]], rows[here]), ids[here], here)
            return
        yield Piece(Scattered(opened.gatherer, opened.slots[fragments], rows), ids, slice(0, len(rows)))
