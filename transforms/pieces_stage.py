"""Stages one after another: what fusion makes of a run in which something does not fuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import BadRows
from forebay.formats.plain_numbers import numbers, valid
from forebay.transforms.stage import SlotStage, Stage, TensorSpec
from forebay.transforms.transform import Rows


def in_pieces(pieces: Sequence[Stage], before: pa.Schema) -> Stage:
    """One stage of several. It can write into a training batch unless it makes columns that have no fixed shape: those are
    taken from the record batch that a stage returns."""
    run = PiecesRun(tuple(pieces), before)
    made = [_value(one.type) for one in run.schema if run.touches(one.name)]
    fixed = all(pa.types.is_primitive(one) for one in made)
    if fixed:
        from forebay.transforms.column_chain import STORED  # loads its kernels, which lists and text do without

        fixed = all(one in STORED for one in made)
    return PiecesStage(run) if fixed else run


@dataclass(slots=True)
class PiecesRun:
    """Pieces one after another, on record batches."""

    pieces: tuple[Stage, ...]
    before: pa.Schema
    label: str = field(init=False)
    reads: tuple[str, ...] = field(init=False)
    schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        made: set[str] = set()
        reads: dict[str, None] = {}
        for one in self.pieces:
            reads.update((name, None) for name in one.reads if name not in made)
            made |= set(one.schema.names) - set(self.before.names)
        self.label = "+".join(one.label for one in self.pieces)
        self.reads = tuple(reads)
        self.schema = self.pieces[-1].schema

    def touches(self, name: str) -> bool:
        """Whether a column may differ from what it was before."""
        return name not in self.before.names or any(name in one.reads for one in self.pieces)

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        for one in self.pieces:
            batch = one.run(batch, rows)
        return batch


class PiecesStage:
    """Pieces one after another; the last writes into the slot."""

    def __init__(self, whole: PiecesRun) -> None:
        self._whole = whole
        self.pieces, self.label, self.reads, self.schema = whole.pieces, whole.label, whole.reads, whole.schema

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        return self._whole.run(batch, rows)

    def tensors(self) -> Mapping[str, TensorSpec]:
        from forebay.transforms.column_chain import NUMPY

        last = self.pieces[-1]
        own = dict(last.tensors()) if isinstance(last, SlotStage) else {}
        for one in self.schema:
            if one.name not in own and self._whole.touches(one.name):
                tensor = isinstance(one.type, pa.FixedShapeTensorType)
                own[one.name] = TensorSpec(tuple(one.type.shape) if tensor else (), NUMPY[_value(one.type)])
        return own

    def run_into(
        self,
        batch: pa.RecordBatch,
        rows: Rows,
        take: NDArray[np.int64] | None,
        out: Mapping[str, NDArray[Any]],
    ) -> None:
        batch = batch if take is None else batch.take(pa.array(take))
        for one in self.pieces[:-1]:
            batch = one.run(batch, rows)
        last = self.pieces[-1]
        direct = set(last.tensors()) if isinstance(last, SlotStage) else set()
        if isinstance(last, SlotStage):
            last.run_into(batch, rows, None, {name: into for name, into in out.items() if name in direct})
        else:
            batch = last.run(batch, rows)
        for name in out:
            if name not in direct:  # a column that an earlier piece made
                write_column(batch.column(name), out[name], name, self.label)


def write_column(column: pa.Array, into: NDArray[Any], name: str, label: str) -> None:
    """A finished column of numbers or tensors into its place; null becomes NaN.

    Raises:
        BadRows: null in an integer column.
    """
    if isinstance(column, pa.FixedShapeTensorArray):
        into[...] = column.to_numpy_ndarray()
        return
    if column.null_count and not pa.types.is_floating(column.type):
        rows = np.flatnonzero(~valid(column))
        reason = f"null, and {column.type} has no value for it (fill it with FillNull, or drop the row with DropNulls)"
        raise BadRows(rows.tolist(), f"{label}: {reason}", column=name)
    into[...] = numbers(column)


def _value(type: pa.DataType) -> pa.DataType:
    return type.value_type if isinstance(type, pa.FixedShapeTensorType) else type


def check_take(take: NDArray[np.int64] | None, rows: int) -> None:
    """Refuse row indices outside the batch: kernels read by address, so a wrong one would read foreign memory."""
    if take is not None and len(take) and (take.min() < 0 or take.max() >= rows):
        raise IndexError(f"take names rows {take.min()} to {take.max()}; the batch has rows 0 to {rows - 1}")
