"""The accumulator of most fitted transforms: one statistic for each column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from forebay.transforms.transform import Accumulator, Rows, State


class Statistic(Protocol):
    """Statistics of one column."""

    def update(self, column: pa.Array) -> None: ...

    def merge(self, later: Any) -> None: ...


@dataclass(slots=True)
class PerColumn:
    """An `Accumulator`: a statistic for each column, and what the transform makes of them in the end."""

    statistics: Mapping[str, Statistic]
    learned: Callable[[Mapping[str, Any]], State]

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None:
        for name, statistic in self.statistics.items():
            statistic.update(batch.column(name))

    def merge(self, later: Accumulator) -> None:
        assert isinstance(later, PerColumn)
        for name, statistic in self.statistics.items():
            statistic.merge(later.statistics[name])

    def finish(self) -> State:
        return self.learned(self.statistics)
