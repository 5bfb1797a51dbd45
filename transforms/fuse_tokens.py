"""Stages of the family "tokens"."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from forebay.transforms.pieces_stage import in_pieces
from forebay.transforms.row_stage import RowStage
from forebay.transforms.stage import Stage
from forebay.transforms.tokens import ShiftStage, ShiftTokens
from forebay.transforms.transform import State, Transform


def fuse(
    transforms: Sequence[Transform], schema: pa.Schema, states: Sequence[State | None], ops: Sequence[int]
) -> Stage:
    """One stage for neighbours of the family "tokens".

    Each changes the length or the type of its rows, so there is no pass over memory to share; what this adds is that
    the last one, where it is `ShiftTokens`, writes into the training batch.
    """
    pieces: list[Stage] = []
    for one, state, op in zip(transforms, states, ops, strict=True):
        before = pieces[-1].schema if pieces else schema
        if isinstance(one, ShiftTokens):
            pieces.append(ShiftStage(one, before))
        else:
            bound: Any = one.bind(before, state, op)
            pieces.append(RowStage(type(one).__name__, one.reads(before), one.output_schema(before), bound))
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], ShiftStage) else in_pieces(pieces, schema)
