"""HashCategory: text or whole numbers become ids by hashing: no vocabulary, no fit, at the price of collisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain, convert, fill_null, integer
from forebay.transforms.column_names import numeric, retyped, set_columns, textual, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.text_column import text_bytes
from forebay.transforms.transform import Apply, Kind, State

integers = kernels("integers")
_text = kernels("text")

_WHOLE = "text (string, large_string) or a whole number (int8 to int64, uint8 to uint32)"


@dataclass(frozen=True, slots=True)
class HashCategory:
    """Ids in [0, buckets), as int64: 0 for null, 1 and up for values. The same value has the same id everywhere.

    Two of n values share an id with a chance of about n / buckets. The hash is part of `version`: it does not change.
    """

    columns: tuple[str, ...]
    buckets: int
    """Number of ids, with that of null: 2 to 2^31."""
    seed: int = field(default=0, kw_only=True)
    """Another seed, other collisions."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if not 2 <= self.buckets <= 1 << 31:
            raise SpecError(f"HashCategory: buckets is {self.buckets!r}; expected 2 to 2^31")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        def accepts(one: pa.DataType) -> bool:
            return textual(one) or (numeric(one) and pa.types.is_integer(one))

        typed(self, schema, self.columns, accepts, expected=_WHOLE)
        return retyped(schema, self.columns, lambda one: pa.int64(), filled=True)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        made, long = {}, pa.int64()
        spread = integer(integers.HASH, [self.buckets - 1, self.seed & ((1 << 62) - 1), 1])
        for name in self.columns:
            before = schema.field(name).type
            if textual(before):
                made[name] = Chain((spread, *fill_null(0, long)), long, fills=True, source=_hashes, start=long)
            else:
                made[name] = Chain((*convert(before, long), spread, *fill_null(0, long)), long, fills=True)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


def _hashes(column: pa.Array) -> pa.Array:
    """A 64-bit hash of each text; null stays null."""
    out = np.empty(len(column), np.int64)
    _text.hash_into(*text_bytes(column), out)
    nulls = np.asarray(column.is_null().to_numpy(zero_copy_only=False)) if column.null_count else None
    return pa.array(out, mask=nulls)
