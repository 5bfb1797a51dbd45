"""MaskTokens: BERT's masked language modelling."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.compiled import kernels
from forebay.transforms.randomness import uniforms
from forebay.transforms.tensor_column import tensors
from forebay.transforms.token_rows import row_length, row_values
from forebay.transforms.transform import Apply, Kind, Rows, State

_tokens = kernels("tokens")


@dataclass(frozen=True, slots=True)
class MaskTokens:
    """Choose 15 % of the tokens; of those 80 % become the mask, 10 % a random token, 10 % stay (Devlin et al., 2019).

    The column of rows of L tokens becomes two int64 tensors of shape (L,): the tokens, and labels that hold the token
    where it was chosen and -100 elsewhere. The masks are new in each epoch and the same for any number of workers.
    """

    column: str
    mask: int
    """Id of the mask token."""
    vocabulary: int = field(kw_only=True)
    """Random tokens are ids below this."""
    special: tuple[int, ...] = field(default=(), kw_only=True)
    """Ids that are never chosen: padding, start, end."""
    probability: float = field(default=0.15, kw_only=True)
    """Of a token to be chosen."""
    shares: tuple[float, float] = field(default=(0.8, 0.1), kw_only=True)
    """Of the chosen: shares that become the mask and a random token; the rest stays."""
    inputs: str = field(default="input_ids", kw_only=True)
    """Name of the tokens."""
    labels: str = field(default="labels", kw_only=True)
    """Name of the labels."""
    ignore: int = field(default=-100, kw_only=True)
    """Label of tokens that were not chosen; torch's losses pass over -100."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "special", tuple(self.special))
        object.__setattr__(self, "shares", tuple(self.shares))
        if not 0.0 < self.probability <= 1.0:
            raise SpecError(f"MaskTokens: probability is {self.probability!r}; expected a number in (0, 1]")
        if len(self.shares) != 2 or min(self.shares) < 0 or sum(self.shares) > 1 + 1e-9:
            raise SpecError(f"MaskTokens: shares is {self.shares!r}; expected (mask, random), together at most 1")
        if self.vocabulary < 1:
            raise SpecError(f"MaskTokens: vocabulary is {self.vocabulary!r}; expected the number of token ids")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        tensor = pa.fixed_shape_tensor(pa.int64(), (row_length(self, schema, self.column),))
        fields = [one for one in schema if one.name != self.column]
        taken = {one.name for one in fields} & {self.inputs, self.labels}
        if taken:
            raise SchemaError(f"MaskTokens: there is a column {min(taken)!r} already; give other names")
        made = [pa.field(name, tensor, nullable=False) for name in (self.inputs, self.labels)]
        return pa.schema([*fields, *made], metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        after, length = self.output_schema(schema), row_length(self, schema, self.column)
        shares = np.array([self.probability, *self.shares])
        ids = np.array([self.mask, self.vocabulary, self.ignore], np.int64)
        special = np.array(self.special, np.int64)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            values, first = row_values(batch.column(self.column))
            token_NL = values[first : first + batch.num_rows * length].reshape(-1, length).astype(np.int64)
            label_NL = np.empty_like(token_NL)
            _tokens.mask_into(token_NL, uniforms(rows, op, 2 * length), shares, ids, special, label_NL)
            made = {self.inputs: tensors(token_NL), self.labels: tensors(label_NL)}
            columns = [made[name] if name in made else batch.column(name) for name in after.names]
            return pa.RecordBatch.from_arrays(columns, schema=after)

        return apply
