"""Work: rows of one pass that a chunk needs; and stretches of it, of which all that can be known is found out at once."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.formats.errors import DataError
from forebay.loaders.columns_out import copy_into
from forebay.loaders.piece import RowStore
from forebay.loaders.stage_writer import Gathered, StageWriter
from forebay.transforms.transform import Rows


@dataclass(frozen=True, slots=True)
class Work:
    """Rows of a chunk that come from one pass over one data set."""

    writer: StageWriter
    store: RowStore
    scheduled: Any
    seed: int
    epoch: int
    """What random transforms draw for."""
    positions: NDArray[np.int64]
    """(n,) positions of the pass."""
    places: NDArray[np.int64] | None
    """(n,) their rows in the chunk; None: all of it, in order."""


@dataclass(slots=True)
class Stretch:
    """Rows of one or more chunks that follow one another. Where they lie, what is drawn for them and what becomes of each is
    found out once for all, by the thread that asks first; any threads then write any of them. That takes as many calls of
    Python for a thousand rows as for ten, and the interpreter is the one thing that threads cannot share."""

    work: Work
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked: bool = False
    _gathered: Gathered | None = None
    _rest: dict[str, NDArray[Any]] = field(default_factory=dict)
    """The columns that no stage writes."""

    def ready(self) -> bool:
        """Find out all that can be known before a row is written. False where that is nothing."""
        with self._lock:
            if not self._looked:
                try:
                    self._look()
                except DataError:
                    self._gathered = None  # a bad row is told of in its own chunk, when that is written
                self._looked = True
        return self._gathered is not None

    def write(self, out: Mapping[str, NDArray[Any]], first: int, stop: int, to: int) -> None:
        """Write rows `first` to `stop` of the stretch, which is ready, to rows `to` and on of `out`."""
        assert self._gathered is not None
        self._gathered.write(out, first, stop, to)
        for name, values in self._rest.items():
            out[name][to : to + stop - first] = values[first:stop]

    def _look(self) -> None:
        work = self.work
        if not work.writer.gathers:
            return
        piece = next(iter(work.store.pieces(work.positions, work.scheduled)), None)
        if piece is None or len(piece.ids) < len(work.positions) or not isinstance(piece.places, slice):
            return
        found = work.writer.gathering(piece, Rows(piece.ids, work.seed, work.epoch))
        if found is not None and found.rest is not None:
            specs = work.writer.specs
            self._rest = {
                name: np.empty((len(piece.ids), *specs[name].shape), specs[name].dtype)
                for name in found.rest.schema.names
            }
            copy_into(found.rest, self._rest)
        self._gathered = found
