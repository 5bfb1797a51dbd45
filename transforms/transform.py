"""What a transform is: a frozen spec that says what it does, and binds to a schema to do it.

Every transform is a frozen dataclass (`kw_only` past the first field, slots) that satisfies `Transform` and inherits from
nothing. Its class name is its name in recipes, its fields are its keys there. The protocols below it add one ability each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Kind = Literal["row", "filter", "batch", "dataset", "join"]
"""row: every row in gives one row out, by itself. filter: rows may go. batch: rows of one training batch are mixed (loader
only). dataset: needs all rows at once (deduplication), so it runs as a step of its own before the rest. join: rows of a work
unit become other rows (packing), in writing only, last."""

State = Mapping[str, Any]
"""What a fitted transform learned: JSON values and pyarrow Arrays (never pickles). See `forebay.transforms.fit`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a stage may know of the rows in hand, beside their values."""

    ids: NDArray[np.uint64]
    """(N,) sample ids: `fragment ordinal << 32 | row in fragment`. The same row has the same id on every run, in every
    batch, on any rank."""
    seed: int = 0
    """Seed of the run."""
    epoch: int = 0
    """Pass over the data; 0 offline."""


Apply = Callable[[pa.RecordBatch, Rows], pa.RecordBatch]
Keep = Callable[[pa.RecordBatch, Rows], NDArray[np.bool_]]


@runtime_checkable
class Transform(Protocol):
    """The least a transform has."""

    kind: ClassVar[Kind]
    version: ClassVar[int]
    """Raised when the same spec gives other values than before: caches and resumed outputs see it."""
    random: ClassVar[bool]
    """Draws from `forebay.transforms.randomness` by (rows.seed, rows.epoch, rows.ids, op); nothing else may be random."""
    fitted: ClassVar[bool]
    """Learns a State from the data first; then the class satisfies `Fitted` too."""

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        """Columns it needs."""

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """Schema after it. Refuses a schema it cannot work on (SchemaError: column, type found, types expected)."""

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply | Keep:
        """The function that does the work. `op` is the transform's index in the graph, the last part of the random key.

        kind "row": (batch of `schema`, rows) -> batch of `output_schema(schema)`, same rows.
        kind "filter": (batch, rows) -> (N,) bool, True for rows that stay.
        Raises BadRows for rows it cannot process. Thread-safe: no state changes after bind.
        """


@runtime_checkable
class Accumulator(Protocol):
    """Statistics of part of the data. One is made for each fragment; they are merged in source order, so the result does
    not depend on how the fragments were spread over threads or machines, to the last bit."""

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None: ...

    def merge(self, later: "Accumulator") -> None:
        """Take in the statistics of rows that come after these."""

    def finish(self) -> State: ...


@runtime_checkable
class Fitted(Protocol):
    """A transform that learns from the data. The schema it is given holds the columns that `reads` names."""

    def accumulator(self, schema: pa.Schema) -> Accumulator: ...


class Joiner(Protocol):
    """A transform of kind "join" at work on one unit, whose batches it is given in order."""

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The rows that are ready."""

    def finish(self) -> Iterator[pa.RecordBatch]:
        """The rows that are left; then it is done."""

    def counts(self) -> dict[str, int]:
        """What went in and came out; "documents" and "rows" at the least."""


@runtime_checkable
class Joins(Protocol):
    """A transform of kind "join"."""

    def joiner(self, schema: pa.Schema) -> Joiner: ...


@runtime_checkable
class Fusable(Protocol):
    """A transform that can share one pass over memory with neighbours of its family (see `forebay.transforms.stage`)."""

    family: ClassVar[str]
    """Neighbours of one family become one stage: "columns" (element-wise work on single columns), "image", "tokens"."""
