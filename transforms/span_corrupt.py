"""SpanCorrupt: T5's denoising objective."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.compiled import kernels
from forebay.transforms.randomness import uniforms
from forebay.transforms.token_rows import ragged, ragged_values
from forebay.transforms.transform import Apply, Kind, Rows, State

_tokens = kernels("tokens")


@dataclass(frozen=True, slots=True)
class SpanCorrupt:
    """Replace random spans by sentinels; the targets are the sentinels, each with the span it replaced (Raffel et al.,
    2020).

    Lists of tokens become two columns of lists of int64. Of a row of l tokens round(density l) are noise, in
    round(noise / mean_span) spans, never fewer than one nor more than there are kept tokens; kept and noise spans
    alternate, kept first, as in T5's random_spans_noise_mask. Rows of fewer than two tokens are left whole, with empty
    targets.
    """

    column: str
    sentinel: int
    """Id of the first sentinel."""
    step: int = field(default=-1, kw_only=True)
    """From one sentinel's id to the next: T5 counts down."""
    density: float = field(default=0.15, kw_only=True)
    """Share of tokens that are noise."""
    mean_span: float = field(default=3.0, kw_only=True)
    """Mean length of a noise span, in tokens."""
    inputs: str = field(default="input_ids", kw_only=True)
    """Name of the corrupted rows."""
    targets: str = field(default="labels", kw_only=True)
    """Name of the targets."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0.0 < self.density < 1.0:
            raise SpecError(f"SpanCorrupt: density is {self.density!r}; expected a number in (0, 1)")
        if not self.mean_span >= 1.0:
            raise SpecError(f"SpanCorrupt: mean_span is {self.mean_span!r}; expected 1 or more tokens")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        ragged(self, schema, self.column)
        fields = [one for one in schema if one.name != self.column]
        taken = {one.name for one in fields} & {self.inputs, self.targets}
        if taken or self.inputs == self.targets:
            raise SchemaError(
                f"SpanCorrupt: there is a column {min(taken or {self.inputs})!r} already; give other names"
            )
        made = [pa.field(name, pa.list_(pa.int64()), nullable=False) for name in (self.inputs, self.targets)]
        return pa.schema([*fields, *made], metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        after = self.output_schema(schema)
        sentinel = np.array([self.sentinel, self.step], np.int64)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            token_V, offset_N1 = ragged_values(batch.column(self.column))
            size_N = np.diff(offset_N1)
            longest, n = int(size_N.max(initial=0)), batch.num_rows
            count_N2 = self._counts(size_N)
            input_NA = np.zeros((n, longest + 1), np.int64)
            target_NB = np.zeros((n, longest + 1), np.int64)
            length_N2, cut = np.zeros((n, 2), np.int64), np.zeros(2 * longest, np.int64)
            drawn = uniforms(rows, op, max(longest, 1))
            _tokens.corrupt_into(token_V, offset_N1, drawn, count_N2, sentinel, cut, input_NA, target_NB, length_N2)
            made = {
                self.inputs: _lists(input_NA, length_N2[:, 0]),
                self.targets: _lists(target_NB, length_N2[:, 1]),
            }
            columns = [made[name] if name in made else batch.column(name) for name in after.names]
            return pa.RecordBatch.from_arrays(columns, schema=after)

        return apply

    def _counts(self, size_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, 2): noise tokens and spans of rows of these lengths."""
        noise = np.clip(np.round(size_N * self.density), 1, np.maximum(size_N - 1, 1))
        spans = np.maximum(np.round(noise / self.mean_span), 1)
        spans = np.minimum(spans, np.minimum(noise, size_N - noise))
        counts = np.column_stack([noise, spans]).astype(np.int64)
        counts[size_N < 2] = 0
        return np.ascontiguousarray(counts)


def _lists(value_NW: NDArray[np.int64], length_N: NDArray[np.int64]) -> pa.ListArray:
    kept = value_NW[np.arange(value_NW.shape[1]) < length_N[:, None]]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(length_N)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(kept))
