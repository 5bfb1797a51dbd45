"""A piece: rows of one pass that lie together in memory, and where they go in a chunk."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.run_stages import ROW_BITS

if TYPE_CHECKING:
    from forebay.engine.gather import (
        Gatherer,  # and numba with it, which a process that only runs Python can do without
    )


@dataclass(frozen=True, slots=True)
class Scattered:
    """Rows of several record batches, not copied yet."""

    gatherer: "Gatherer"
    slots: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring rows of a record batch."""

    whole: pa.RecordBatch
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a chunk."""

    found: pa.RecordBatch | Part | Scattered
    """(n rows) source columns, in the order wanted."""
    ids: NDArray[np.uint64]
    """(n,) their sample ids."""
    places: slice | NDArray[np.int64]
    """Their rows in the chunk."""

    def batch(self) -> pa.RecordBatch:
        """The rows as one record batch."""
        found = self.found
        if isinstance(found, Scattered):
            return found.gatherer.take(found.slots, found.rows)
        return found.whole.slice(found.first, found.count) if isinstance(found, Part) else found


class RowStore(Protocol):
    """Gives the rows of one pass over a data set.

    `schedule` is called in the order of the pass, in one thread; `pieces` in any thread, for all positions of a
    schedule or a part of them.
    """

    def schedule(self, positions: NDArray[np.int64], floor: int, pool: Executor | None) -> Any:
        """Begin to read the rows at `positions` (N,); nothing before position `floor` will be asked for again."""

    def pieces(self, positions: NDArray[np.int64], scheduled: Any) -> Iterator[Piece]:
        """The rows, with places counted in `positions`."""


def row_ids(fragments: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n,) sample ids."""
    ids: NDArray[np.uint64] = ((fragments << ROW_BITS) | rows).view(np.uint64)
    return ids


def consecutive(values: NDArray[np.int64]) -> bool:
    """Whether each value is one more than the one before."""
    if not len(values) or int(values[-1] - values[0]) != len(values) - 1:
        return False
    return bool((np.diff(values) == 1).all())  # batches by length take rows in any order, whatever their ends are


def runs_of(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(first, one past the last) of each run of equal neighbours."""
    if not len(values):
        return []
    cuts = np.flatnonzero(np.diff(values)) + 1
    edges = [0, *cuts.tolist(), len(values)]
    return list(zip(edges[:-1], edges[1:], strict=True))
