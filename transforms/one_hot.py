"""OneHot: a category becomes a vector with a single 1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms.column_names import textual, typed
from forebay.transforms.per_column import PerColumn
from forebay.transforms.tensor_column import tensors
from forebay.transforms.transform import Apply, Kind, Rows, State
from forebay.transforms.value_counts import ValueCounts


@dataclass(frozen=True, slots=True)
class OneHot:
    """Replace the column by a float32 tensor column of shape (size,): 1 at the place of the value, 0 elsewhere.

    The categories are learned and stand in ascending order, as in scikit-learn's OneHotEncoder; places behind the last
    stay 0. The size is given, not learned, because a plan knows the shape of a batch before any data is read. Null is
    all zeros.
    """

    column: str
    size: int
    """Width of the vector; data with more categories is refused when fitting."""
    unknown: str = field(default="zeros", kw_only=True)
    """"zeros": a value that was not learned is all zeros. "raise": its row is bad."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.unknown not in ("zeros", "raise"):
            raise SpecError(f"OneHot: unknown is {self.unknown!r}; expected 'zeros' or 'raise'")
        if self.size < 1:
            raise SpecError(f"OneHot: size is {self.size!r}; expected 1 or more")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, [self.column], _categorical, expected="text, a whole number or a boolean")
        at = schema.get_field_index(self.column)
        return schema.set(at, pa.field(self.column, pa.fixed_shape_tensor(pa.float32(), (self.size,)), nullable=False))

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        def learned(found: Mapping[str, Any]) -> State:
            values = found[self.column].finish()[0]
            if len(values) > self.size:
                raise SchemaError(
                    f"OneHot: column {self.column!r} has {len(values)} categories, more than size={self.size}; raise it, or "
                    "use Categorize and an embedding"
                )
            return {"categories": values.take(pc.array_sort_indices(values))}

        return PerColumn({self.column: ValueCounts(schema.field(self.column).type)}, learned)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        assert state is not None
        after = self.output_schema(schema)
        categories = state["categories"].cast(schema.field(self.column).type)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            column = batch.column(self.column)
            place = pc.index_in(column, value_set=categories)
            if self.unknown == "raise" and place.null_count > column.null_count:
                strange = pc.and_(place.is_null(), column.is_valid()).to_numpy(zero_copy_only=False)
                raise BadRows(np.flatnonzero(strange).tolist(), "value was not learned", column=self.column)
            one = np.zeros((batch.num_rows, self.size), np.float32)
            known = np.flatnonzero(np.asarray(place.is_valid().to_numpy(zero_copy_only=False)))
            one[known, place.drop_null().to_numpy()] = 1.0
            tensor = tensors(one)
            made = [tensor if name == self.column else batch.column(name) for name in after.names]
            return pa.RecordBatch.from_arrays(made, schema=after)

        return apply


def _categorical(type: pa.DataType) -> bool:
    return textual(type) or pa.types.is_integer(type) or pa.types.is_boolean(type)
