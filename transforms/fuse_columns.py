"""Fusion of the family "columns": neighbouring element-wise transforms become one pass over memory.

A run of element-wise transforms becomes one `ColumnsStage`: each column's instructions one after another, all columns in
one kernel call. Where a transform of the family cannot be expressed in instructions (a conversion from text, say), the run
is cut there and the pieces follow one another in a `PiecesStage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.column_chain import NUMPY, STORED, Chain, ElementWise, convert
from forebay.transforms.columns_stage import ColumnsStage, Lane
from forebay.transforms.stack import Stack
from forebay.transforms.stage import SlotStage, Stage, TensorSpec
from forebay.transforms.transform import Apply, Rows, State, Transform


def fuse(
    transforms: Sequence[Transform], schema: pa.Schema, states: Sequence[State | None], ops: Sequence[int]
) -> Stage:
    """One stage for neighbours of the family "columns".

    Args:
        transforms: in order, at least one.
        schema: schema before the first.
        states: what the fitted ones learned.
        ops: their positions in the graph.
    """
    pieces: list[Stage] = []
    run = _Run(schema)
    for one, state, op in zip(transforms, states, ops, strict=True):
        if not run.accepts(one, state):
            if run.labels:
                pieces.append(run.stage())
            run = _Run(run.schema)
        if run.accepts(one, state):
            run.add(one, state)
        else:
            after = one.output_schema(run.schema)
            bound: Any = one.bind(run.schema, state, op)
            pieces.append(_Alone(type(one).__name__, one.reads(run.schema), after, bound))
            run = _Run(after)
    if run.labels:
        pieces.append(run.stage())
    return pieces[0] if len(pieces) == 1 else PiecesStage(tuple(pieces), schema)


class _Run:
    """Element-wise transforms being collected."""

    def __init__(self, schema: pa.Schema) -> None:
        self.before = self.schema = schema
        self.labels: list[str] = []
        self.lanes: dict[str, list[Lane]] = {}
        """Column that is written -> its lanes: one, or those of a stacked tensor."""

    def accepts(self, one: Transform, state: State | None) -> bool:
        if isinstance(one, Stack):
            return all(len(self.lanes.get(name, ())) < 2 for name in one.columns)
        if not isinstance(one, ElementWise):
            return False
        try:
            chains = one.chains(self.schema, state)
        except NotImplementedError:  # the transform cannot do this type in instructions
            return False
        sourced = [name for name, chain in chains.items() if chain.source]
        return not any(name in self.lanes for name in sourced) and all(
            self._lane(name, chain) is not None for name, chain in chains.items()
        )

    def _lane(self, name: str, chain: Chain | None = None) -> Lane | None:
        if name in self.lanes:
            return self.lanes[name][0] if len(self.lanes[name]) == 1 else None
        field = self.before.field(name) if name in self.before.names else None
        if field is None or (field.type not in STORED and not (chain and chain.source)):
            return None
        if chain and chain.source and chain.start:
            return Lane(name, (), chain.start, start=chain.start, source=chain.source)
        return Lane(name, (), field.type, start=field.type)

    def add(self, one: Transform, state: State | None) -> None:
        after = one.output_schema(self.schema)
        if isinstance(one, Stack):
            target = after.field(one.into).type.value_type
            lanes = [self._lane(name) for name in one.columns]
            assert all(lane is not None for lane in lanes)  # Stack's own schema check has seen their types
            self.lanes[one.into] = [lane.then(convert(lane.type, target), target) for lane in lanes if lane]
        else:
            assert isinstance(one, ElementWise)
            for name, chain in one.chains(self.schema, state).items():
                lane = self._lane(name, chain)
                assert lane is not None
                self.lanes[name] = [lane.then(chain.instructions, chain.type, fills=chain.fills)]
        self.labels.append(type(one).__name__)
        self.schema = after

    def stage(self) -> ColumnsStage:
        written = {name: tuple(lanes) for name, lanes in self.lanes.items() if name in self.schema.names}
        return ColumnsStage("+".join(self.labels), self.before, self.schema, written)


@dataclass(frozen=True, slots=True)
class _Alone:
    """A transform of the family that does not fuse."""

    label: str
    reads: tuple[str, ...]
    schema: pa.Schema
    apply: Apply

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        return self.apply(batch, rows)


@dataclass(frozen=True, slots=True)
class PiecesStage:
    """Pieces one after another; the last writes into the slot."""

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
        object.__setattr__(self, "label", "+".join(one.label for one in self.pieces))
        object.__setattr__(self, "reads", tuple(reads))
        object.__setattr__(self, "schema", self.pieces[-1].schema)

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        for one in self.pieces:
            batch = one.run(batch, rows)
        return batch

    def tensors(self) -> Mapping[str, TensorSpec]:
        last = self.pieces[-1]
        touched = {name for one in self.pieces for name in one.reads}
        own = dict(last.tensors()) if isinstance(last, SlotStage) else {}
        for one in self.schema:
            changed = one.name in touched or one.name not in self.before.names
            if one.name not in own and changed and one.type in STORED:
                own[one.name] = TensorSpec((), NUMPY[one.type])
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
        copied = [name for name in out if name not in direct]
        if copied:  # columns that an earlier piece made, or one that does not fuse
            lanes = {}
            for name in copied:
                type = batch.schema.field(name).type
                lanes[name] = (Lane(name, (), type, start=type),)
            narrow = pa.schema([batch.schema.field(name) for name in copied])
            copy = ColumnsStage(self.label, narrow, narrow, lanes)
            copy.run_into(batch.select(copied), rows, None, {name: out[name] for name in copied})
