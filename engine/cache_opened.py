"""The units of a cached source, all of them mapped, of whose wide rows not all were looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from forebay.engine.cache_fill import fill
from forebay.engine.cache_guard import RowGuard
from forebay.engine.cache_store import Cache
from forebay.formats.source import Source


@dataclass(slots=True)
class OpenedUnits:
    """A record batch for each fragment, and what is to be asked before its rows are read."""

    cache: Cache
    keys: Sequence[str]
    unit: Callable[[int], pa.RecordBatch]
    """A fragment's record batch, all of which was looked at, computed where it is not there."""
    batches: list[pa.RecordBatch] = field(default_factory=list)
    guards: dict[int, RowGuard] = field(default_factory=dict)
    """Fragment -> its guard, where not all was looked at."""

    @classmethod
    def of(
        cls, cache: Cache, keys: Sequence[str], unit: Callable[[int], pa.RecordBatch], source: Source
    ) -> "OpenedUnits":
        """All units, those that are missing computed in all threads. `source`: what was cached."""
        made, fragments = cls(cache, keys, unit), source.fragments()
        made.batches = fill(
            made._open,
            len(keys),
            busy=lambda at: cache.busy(keys[at]),
            local=source.store.local,
            nbytes=lambda at: fragments[at].nbytes,
        )
        return made

    def rebuilt(self, ordinal: int) -> pa.RecordBatch:
        """A fragment of which the guard found a row that is wrong."""
        self.batches[ordinal] = batch = self.unit(ordinal)
        self.guards.pop(ordinal, None)
        return batch

    def _open(self, ordinal: int) -> pa.RecordBatch:
        found = self.cache.get_guarded(self.keys[ordinal])
        if found is None or len(found[0]) != 1:
            return self.unit(ordinal)
        (batch,), guard = found
        if guard is not None:
            self.guards[ordinal] = guard
        return batch
