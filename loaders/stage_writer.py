"""From pieces to arrays: a plan's stages run over a piece, and the result is written where the batch wants it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.plan import Plan
from forebay.engine.run_stages import Tally, run_stages, split_id
from forebay.engine.stage import FilterStage
from forebay.formats.errors import BadRows, DataError
from forebay.loaders.columns_out import copy_into, tensor_spec
from forebay.loaders.piece import Part, Piece, Scattered
from forebay.transforms.stage import Gathering, GatherStage, InPlaceStage, PartStage, SlotStage, Stage, TensorSpec
from forebay.transforms.transform import Rows

RunStages = Callable[[Sequence[Stage], pa.RecordBatch, Rows, Callable[[int], str]], pa.RecordBatch]
"""Runs stages over a batch, in this thread or elsewhere."""


class StageWriter:
    """A plan, as the feed uses it. Thread-safe.

    Attributes:
        specs: columns of a fixed shape, which are written straight into slots.
        loose: columns whose rows vary in length (text, bytes, lists); they come as a record batch.
        first: stages before the one that writes to slots.
        gathers: whether there is but one stage, which takes rows from where they lie.
    """

    def __init__(self, plan: Plan, path_of: Callable[[int], str], *, run: RunStages | None = None) -> None:
        self._path_of, self._run = path_of, run or run_here
        self.specs: dict[str, TensorSpec] = {}
        self.loose: list[str] = []
        for one in plan.schema:
            spec = tensor_spec(one)
            if spec is None:
                self.loose.append(one.name)
            else:
                self.specs[one.name] = spec
        # the selection has applied the filters already, so that positions are known; here they would find nothing more
        stages = tuple(one for one in plan.stages if not isinstance(one, FilterStage))
        while stages and stages[-1].label == "Select" and _all_wanted(stages[:-1], plan.schema):
            stages = stages[:-1]  # columns are picked by name below; nothing has to be built for that
        self._last: Any = stages[-1] if stages and isinstance(stages[-1], SlotStage) else None
        self.first = stages[:-1] if self._last else stages
        self._written = frozenset(self._last.tensors()) & frozenset(self.specs) if self._last else frozenset()
        self._rest = frozenset(one.name for one in plan.schema) - self._written
        """Columns that the last stage leaves as they are."""
        self._parts = not self.first and isinstance(self._last, PartStage)
        self.gathers = not self.first and isinstance(self._last, GatherStage) and self._last.by_address
        self._in_place = not self.first and isinstance(self._last, InPlaceStage) and self._last.in_place

    def write(self, piece: Piece, rows: Rows, out: Mapping[str, NDArray[Any]]) -> pa.RecordBatch | None:
        """Run the stages over a piece.

        Args:
            piece: source columns.
            rows: its ids, with seed and epoch.
            out: column -> (n, *shape) for each of `specs`.

        Returns:
            The loose columns; None where there are none.

        Raises:
            DataError: a bad row: its file, fragment, row and column, and why.
        """
        gathered = self.gathering(piece, rows)
        if gathered is not None:
            gathered.write(out, 0, len(rows.ids), 0)
            return self._left(gathered.rest, out) if gathered.rest is not None else None
        if isinstance(piece.found, Scattered) and not self.first and self._last is None:
            return self._taken_straight(piece.found, out)
        batch = piece.batch()
        if self.first:
            batch = self._run(self.first, batch, rows, self._path_of)
        if self._last is not None:
            written = {name: out[name] for name in self._last.tensors()}
            with self._telling(rows):
                if isinstance(piece.found, Part) and self._parts:
                    self._last.run_part_into(piece.found.whole, piece.found.first, rows, written)
                else:
                    self._last.run_into(batch, rows, None, written)
        return self._left(batch, out)

    def gathering(self, piece: Piece, rows: Rows) -> "Gathered | None":
        """What writes a piece's rows from where they lie, in any parts where the stage `gathers`; None where they have to be read
        as a whole.

        Raises:
            DataError: as `write`.
        """
        found = piece.found
        if not ((self.gathers or self._in_place) and isinstance(found, Scattered)):
            return None
        where = {name: found.gatherer.located(name, found.slots, found.rows) for name in self._last.reads}
        if not all(one is not None for one in where.values()):
            return None
        with self._telling(rows):
            made = self._last.gathering(where, rows)
        rest = found.gatherer.take(found.slots, found.rows, self._rest) if self._rest else None
        return Gathered(self, found, rows, made, rest)

    def _taken_straight(self, found: Scattered, out: Mapping[str, NDArray[Any]]) -> pa.RecordBatch | None:
        """Without stages: from where rows lie to the slot, in one copy."""
        from forebay.engine.gather import (
            copy_rows,  # and numba with it, which a process that only runs Python can do without
        )

        done = copy_rows(found.gatherer, out, slots=found.slots, rows=found.rows)
        left = {name: into for name, into in out.items() if name not in done}
        if not left and not self.loose:
            return None
        batch = found.gatherer.take(found.slots, found.rows, {*left, *self.loose})
        copy_into(batch, left)
        return batch.select(self.loose) if self.loose else None

    def _left(self, batch: pa.RecordBatch, out: Mapping[str, NDArray[Any]]) -> pa.RecordBatch | None:
        """Write what the last stage does not write; returns the loose columns."""
        rest = {name: out[name] for name in self.specs if name not in self._written}
        if rest:
            copy_into(batch, rest)
        return batch.select(self.loose) if self.loose else None

    @contextmanager
    def _telling(self, rows: Rows) -> Iterator[None]:
        """Say where a bad row is."""
        try:
            yield
        except BadRows as error:
            raise self.located(error, rows) from error

    def located(self, error: BadRows, rows: Rows) -> DataError:
        fragment, row = split_id(int(rows.ids[error.rows[0]]))
        column = f", column {error.column!r}" if error.column else ""
        return DataError(
            f"{self._path_of(fragment)}: fragment {fragment}, row {row}{column}: {error.reason}; prepare the data with `forebay "
            "prep`, which sets such rows aside, or filter them out"
        )


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of which all is known but what they look like."""

    writer: StageWriter
    found: Scattered
    """Holds what is read by address."""
    rows: Rows
    made: Gathering
    rest: pa.RecordBatch | None
    """The columns that the last stage leaves as they are."""

    def write(self, out: Mapping[str, NDArray[Any]], first: int, stop: int, to: int) -> None:
        """Write rows `first` to `stop` to rows `to` and on of `out`, which is as for `StageWriter.write`, but for the rest."""
        try:
            self.made(out, first, stop, to)
            if self.writer.gathers:
                self.found.gatherer.taken(stop - first)
        except BadRows as error:
            raise self.writer.located(error, self.rows) from error


def run_here(
    stages: Sequence[Stage], batch: pa.RecordBatch, rows: Rows, path_of: Callable[[int], str]
) -> pa.RecordBatch:
    """Run stages in this thread."""
    made, _ = run_stages(stages, batch, rows, on_bad="raise", tally=Tally(), file=path_of)
    return made


def scattered(
    places: slice | NDArray[np.int64], arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], bool]:
    """(arrays to write rows to that go to `places` of `arrays`, whether they must be copied there after)."""
    if isinstance(places, slice):
        return {name: one[places] for name, one in arrays.items()}, False
    return {name: np.empty((len(places), *one.shape[1:]), one.dtype) for name, one in arrays.items()}, True


def _all_wanted(stages: tuple[Stage, ...], schema: pa.Schema) -> bool:
    """Whether every column that the last of `stages` writes to a slot is in the result."""
    last = stages[-1] if stages else None
    return isinstance(last, SlotStage) and set(last.tensors()) <= set(schema.names)
