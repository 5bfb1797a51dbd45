"""Fusion of the family "columns": neighbouring element-wise transforms become one pass over memory.

A run of element-wise transforms becomes one `ColumnsStage`: each column's instructions one after another, all columns
in one kernel call. Where a transform of the family cannot be expressed in instructions (a conversion from text, say),
the run is cut there and the pieces follow one another in a stage of pieces.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from forebay.transforms.column_chain import STORED, Chain, ElementWise, convert
from forebay.transforms.columns_stage import ColumnsStage, Lane
from forebay.transforms.kernel import Kernel
from forebay.transforms.pieces_stage import in_pieces
from forebay.transforms.row_stage import RowStage
from forebay.transforms.stack import Stack
from forebay.transforms.stage import Stage
from forebay.transforms.transform import State, Transform


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
        elif isinstance(one, Kernel):
            pieces.append(one.stage(run.schema))
            run = _Run(pieces[-1].schema)
        else:
            after = one.output_schema(run.schema)
            bound: Any = one.bind(run.schema, state, op)
            pieces.append(RowStage(type(one).__name__, one.reads(run.schema), after, bound))
            run = _Run(after)
    if run.labels:
        pieces.append(run.stage())
    return pieces[0] if len(pieces) == 1 else in_pieces(pieces, schema)


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
