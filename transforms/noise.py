"""Augmentation of tables: GaussianNoise, MaskFeatures, SwapNoise.

All draws belong to the sample (see `randomness`): the same row gets the same noise in any batch, on any number of
workers, and another one in the next epoch. Null stays null.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.column_names import numeric, set_columns, typed
from forebay.transforms.randomness import normals, uniforms
from forebay.transforms.transform import Accumulator, Apply, Kind, Rows, State


@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """Add normal noise to floating columns, which keep their type. Null stays null, NaN stays NaN."""

    columns: tuple[str, ...]
    std: float
    """Standard deviation of the noise, in the columns' unit."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if not self.std > 0:
            raise SpecError(f"GaussianNoise: std is {self.std!r}; expected a number above 0")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, _float, expected="float32 or float64")
        return schema

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        def change(column: pa.Array, at: int, drawn: NDArray[Any]) -> pa.Array:
            values = column.to_numpy(zero_copy_only=False)
            null = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
            return pa.array((values + self.std * drawn[:, at].astype(np.float64)).astype(values.dtype), mask=null)

        return _noisy(self, schema, change, lambda rows: normals(rows, op, len(self.columns)))


@dataclass(frozen=True, slots=True)
class MaskFeatures:
    """Replace values by a fixed one, each with the given probability ("feature dropout").

    Columns of numbers, which keep their type. Null stays null.
    """

    columns: tuple[str, ...]
    probability: float
    """In (0, 1]."""
    value: float = field(default=0.0, kw_only=True)
    """What a masked value becomes."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        _check_probability(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected="a number")
        for name in self.columns:
            one = schema.field(name).type
            if pa.types.is_integer(one) and not float(self.value).is_integer():
                raise SchemaError(f"MaskFeatures: value {self.value!r} does not fit column {name!r}, which is {one}")
        return schema

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        def change(column: pa.Array, at: int, drawn: NDArray[Any]) -> pa.Array:
            hit = pa.array(drawn[:, at] < self.probability)
            return pc.if_else(pc.and_(hit, column.is_valid()), pa.scalar(self.value).cast(column.type), column)

        return _noisy(self, schema, change, lambda rows: uniforms(rows, op, len(self.columns)))


@dataclass(frozen=True, slots=True)
class SwapNoise:
    """Replace values by those of other rows of the same column, each with the given probability.

    The other row is drawn from an even sample of the data that is learned when fitting, not from the batch, so the
    noise does not depend on which rows share one.
    """

    columns: tuple[str, ...]
    probability: float
    """In (0, 1]."""
    sample: int = field(default=4096, kw_only=True)
    """Most rows kept to draw from."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)
        _check_probability(self)
        if self.sample < 2:
            raise SpecError(f"SwapNoise: sample is {self.sample!r}; expected 2 or more")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, lambda one: not pa.types.is_nested(one), expected="a plain type")
        return schema

    def accumulator(self, schema: pa.Schema) -> "RowSample":
        return RowSample(self.columns, self.sample)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        assert state is not None
        pools = [state[f"sample {name}"].cast(schema.field(name).type) for name in self.columns]

        def change(column: pa.Array, at: int, drawn: NDArray[Any]) -> pa.Array:
            hit = drawn[:, 2 * at] < self.probability
            if len(pools[at]) == 0 or not hit.any():
                return column
            other = np.minimum((drawn[hit, 2 * at + 1] * len(pools[at])).astype(np.int64), len(pools[at]) - 1)
            return pc.replace_with_mask(column, pa.array(hit), pools[at].take(pa.array(other)))

        return _noisy(self, schema, change, lambda rows: uniforms(rows, op, 2 * len(self.columns)))


@dataclass(slots=True)
class RowSample:
    """An even sample of rows, the same for any split of the data: those with the least hashes of their ids."""

    columns: tuple[str, ...]
    size: int
    order: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    rows: pa.Table | None = None

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None:
        drawn = uniforms(Rows(rows.ids), -1, 1)[:, 0]
        self._take_in(drawn, pa.Table.from_batches([batch.select(list(self.columns))]))

    def merge(self, later: Accumulator) -> None:
        assert isinstance(later, RowSample)
        if later.rows is not None:
            self._take_in(later.order, later.rows)

    def finish(self) -> State:
        if self.rows is None:
            return {f"sample {name}": pa.nulls(0) for name in self.columns}
        return {f"sample {name}": self.rows.column(name).combine_chunks() for name in self.columns}

    def _take_in(self, order: NDArray[np.float64], rows: pa.Table) -> None:
        both = np.concatenate([self.order, order])
        table = rows if self.rows is None else pa.concat_tables([self.rows, rows])
        least = np.argsort(both, kind="stable")[: self.size]
        self.order, self.rows = both[least], table.take(pa.array(least)).combine_chunks()


def _noisy(
    spec: Any,
    schema: pa.Schema,
    change: Callable[[pa.Array, int, NDArray[Any]], pa.Array],
    draw: Callable[[Rows], NDArray[Any]],
) -> Apply:
    def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        drawn = draw(rows)
        made = {name: batch.column(name) for name in schema.names}
        for at, name in enumerate(spec.columns):
            made[name] = change(made[name], at, drawn)
        return pa.RecordBatch.from_arrays(list(made.values()), schema=schema)

    return apply


def _check_probability(spec: Any) -> None:
    if not 0.0 < spec.probability <= 1.0:
        raise SpecError(f"{type(spec).__name__}: probability is {spec.probability!r}; expected a number in (0, 1]")


def _float(type: pa.DataType) -> bool:
    return pa.types.is_float32(type) or pa.types.is_float64(type)
