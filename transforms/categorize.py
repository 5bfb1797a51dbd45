"""Categorize: text or whole numbers become ids by a learned vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain
from forebay.transforms.column_names import retyped, set_columns, textual, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.per_column import PerColumn
from forebay.transforms.transform import Apply, Kind, State
from forebay.transforms.value_counts import ValueCounts

UNKNOWN = 0
"""Id of a value that the vocabulary lacks."""
NULL = 1
"""Id of null."""
FIRST = 2
"""Id of the most frequent value; the others follow by falling count, equal counts by ascending value."""


@dataclass(frozen=True, slots=True)
class Categorize:
    """Replace each value by its id (int64): 0 unknown, 1 null, 2 the most frequent value learned, and so on.

    Ids depend on the counts alone, so any split of the data gives the same vocabulary.
    """

    columns: tuple[str, ...]
    min_count: int = field(default=1, kw_only=True)
    """Values seen less often than this are unknown."""
    max_size: int | None = field(default=None, kw_only=True)
    """Most values in a vocabulary, the most frequent ones; None: all."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)
        if self.min_count < 1:
            raise SpecError(f"Categorize: min_count is {self.min_count}; expected at least 1")
        if self.max_size is not None and self.max_size < 1:
            raise SpecError(f"Categorize: max_size is {self.max_size}; expected at least 1, or none at all")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, _categorical, expected="text, a whole number, a boolean or a date")
        return retyped(schema, self.columns, lambda _: pa.int64(), filled=True)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        return PerColumn({name: ValueCounts(schema.field(name).type) for name in self.columns}, self._learned)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        assert state is not None
        made = {}
        for name in self.columns:
            vocabulary = state[f"vocabulary {name}"].cast(schema.field(name).type)
            made[name] = Chain((), pa.int64(), fills=True, source=_Lookup(vocabulary), start=pa.int64())
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)

    def _learned(self, statistics: Mapping[str, Any]) -> State:
        state = {}
        for name, one in statistics.items():
            values, counts = one.finish()
            size = int(np.count_nonzero(counts.to_numpy(zero_copy_only=False) >= self.min_count))
            state[f"vocabulary {name}"] = values[: size if self.max_size is None else min(size, self.max_size)]
        return state


@dataclass(frozen=True, slots=True, eq=False)
class _Lookup:
    vocabulary: pa.Array

    def __call__(self, column: pa.Array) -> pa.Array:
        found = pc.index_in(column, value_set=self.vocabulary)
        ids = pc.fill_null(pc.add(pc.cast(found, pa.int64()), FIRST), UNKNOWN)
        return ids if column.null_count == 0 else pc.if_else(column.is_null(), NULL, ids)


def _categorical(type: pa.DataType) -> bool:
    return textual(type) or pa.types.is_integer(type) or pa.types.is_boolean(type) or pa.types.is_date(type)
