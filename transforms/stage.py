"""A stage: what the engine runs. One bound transform, or a run of neighbours of one family, fused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.transform import Rows


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and type of one row of an output column, so that a slot can be laid out before the first batch."""

    shape: tuple[int, ...]
    """Shape of one row: () for a scalar column, (3, 224, 224) for an image."""
    dtype: np.dtype[Any]


class Stage(Protocol):
    """Bound and ready; thread-safe; rebuilt by name from the plan in another process, never pickled."""

    @property
    def label(self) -> str:
        """Names of the transforms in it, for `explain`, errors and meters: "FillNull+Log1p+Standardize"."""

    @property
    def reads(self) -> tuple[str, ...]: ...

    @property
    def schema(self) -> pa.Schema:
        """Schema after it."""

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        """All rows of `batch` through all transforms of the stage. Raises BadRows."""


@runtime_checkable
class SlotStage(Protocol):
    """A stage that can also write some or all of its output columns straight into a training batch."""

    def tensors(self) -> Mapping[str, TensorSpec]:
        """The columns that `run_into` writes. Columns not named here pass through untouched."""

    def run_into(
        self,
        batch: pa.RecordBatch,
        rows: Rows,
        take: NDArray[np.int64] | None,
        out: Mapping[str, NDArray[Any]],
    ) -> None:
        """Write row `take[i]` of `batch` (row i when take is None) to `out[name][i]` for every name in `tensors()`.

        `out[name]` has shape (N, *spec.shape); it may be strided in the first axis only. `rows.ids[i]` belongs to row i
        of the output. `batch` may be a memory-mapped shard of any length. Values equal those of `run` to the last bit.
        Raises BadRows, with positions in the output.
        """


@runtime_checkable
class PartStage(Protocol):
    """A slot stage that can take neighbouring rows of a record batch without a slice of it: what it found out about the batch
    serves for all parts."""

    def run_part_into(self, batch: pa.RecordBatch, first: int, rows: Rows, out: Mapping[str, NDArray[Any]]) -> None:
        """As `run_into` for rows `first` and on of `batch`, as many as `rows` has ids."""


@dataclass(frozen=True, slots=True)
class ColumnRows:
    """Where N rows of a column lie in memory. Whoever gives it keeps that memory alive, and has checked that the rows are
    there and not null."""

    addresses: NDArray[np.int64]
    """(N,) address of each row's values; of the varying column's, in a struct."""
    lengths: NDArray[np.int64] | None = None
    """(N,) bytes of each row's values; None where all rows have the same number."""
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """The other columns of a struct, (N,) each."""
    told: Callable[[int], None] | None = None
    """To be told how many bytes were read that are not needed again soon: they may lie in a mapped file."""


Gathering = Callable[[Mapping[str, NDArray[Any]], int, int, int], None]
"""`gathering(out, first, stop, to)` writes rows `first` to `stop` of those that it was made for to rows `to` and on of `out`,
which is as for `run_into`, of any length. Any threads may write parts of the rows at the same time."""


@runtime_checkable
class GatherStage(Protocol):
    """A slot stage that can take each row from where it lies in memory, so that no copy of the rows is made first."""

    @property
    def by_address(self) -> bool:
        """Whether it can for the columns that it was bound to."""

    def gathering(self, found: Mapping[str, ColumnRows], rows: Rows) -> Gathering:
        """What writes the rows at given addresses: all that is to be found out about them is found out here, once.

        Args:
            found: where the rows of each column of `reads` lie.
            rows: their ids.

        Raises:
            BadRows: with positions in `rows`.
        """


@runtime_checkable
class InPlaceStage(Protocol):
    """A slot stage that has a `gathering`, as a `GatherStage` has, but one that reads from the rows itself, so that it is not to
    be had long before they are written: files are decoded where they lie. One thread may write its rows."""

    @property
    def in_place(self) -> bool:
        """Whether it can for the columns that it was bound to."""

    def gathering(self, found: Mapping[str, ColumnRows], rows: Rows) -> Gathering: ...
