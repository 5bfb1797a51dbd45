"""DropTokens: leave out tokens at random."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.compiled import kernels
from forebay.transforms.randomness import uniforms
from forebay.transforms.token_rows import ragged, ragged_values
from forebay.transforms.transform import Apply, Kind, Rows, State

_tokens = kernels("tokens")


@dataclass(frozen=True, slots=True)
class DropTokens:
    """Each token goes with the given probability; a row that had tokens keeps at least one.

    Lists of integers, in their own type. Null becomes an empty row.
    """

    column: str
    """Lists of tokens."""
    probability: float

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0.0 < self.probability < 1.0:
            raise SpecError(f"DropTokens: probability is {self.probability!r}; expected a number in (0, 1)")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        listed = pa.list_(ragged(self, schema, self.column))
        return schema.set(schema.get_field_index(self.column), pa.field(self.column, listed, nullable=False))

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        after = self.output_schema(schema)
        kind = after.field(self.column).type.value_type

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            token_V, offset_N1 = ragged_values(batch.column(self.column))
            longest = int(np.diff(offset_N1).max(initial=0))
            drawn = uniforms(rows, op, longest).reshape(-1)
            keep_V = np.zeros(len(token_V), np.bool_)
            _tokens.keep_into(
                offset_N1, np.arange(batch.num_rows, dtype=np.int64) * longest, drawn, self.probability, keep_V
            )
            before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep_V)])
            offsets = pa.array(before[offset_N1], pa.int32())
            made = pa.ListArray.from_arrays(offsets, pa.array(token_V[keep_V], kind))
            columns = [made if name == self.column else batch.column(name) for name in after.names]
            return pa.RecordBatch.from_arrays(columns, schema=after)

        return apply
