"""Linear scaling: Standardize, MinMaxScale, RobustScale. The definitions are those of scikit-learn's scalers.

Arithmetic is in double precision, rounded once to the column's type. A floating column keeps its type; an integer
column becomes float32. Null stays null, NaN stays NaN; neither counts when learning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain, affine, clip, floating
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.moments import Moments
from forebay.transforms.per_column import PerColumn
from forebay.transforms.quantile_sketch import QuantileSketch
from forebay.transforms.transform import Apply, Kind, State


@dataclass(frozen=True, slots=True)
class Standardize:
    """(x - mean) / standard deviation of the population, as scikit-learn's `StandardScaler`.

    Floating columns keep their type, integers become float32. A constant column becomes 0, not NaN.
    """

    columns: tuple[str, ...]

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _scaled_schema(self, schema)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        return PerColumn({name: Moments() for name in self.columns}, _mean_and_deviation)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        assert state is not None
        return {
            name: _chain(schema.field(name).type, state["mean"][at], 1.0 / state["std"][at])
            for at, name in enumerate(self.columns)
        }

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


@dataclass(frozen=True, slots=True)
class MinMaxScale:
    """Map the least value learned to `low` and the greatest to `high`, as scikit-learn's `MinMaxScaler`.

    Floating columns keep their type, integers become float32. A constant column becomes `low`.
    """

    columns: tuple[str, ...]
    low: float = field(default=0.0, kw_only=True)
    """Image of the least value."""
    high: float = field(default=1.0, kw_only=True)
    """Image of the greatest value."""
    clip: bool = field(default=False, kw_only=True)
    """Whether values beyond what was learned are held at `low` and `high`."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)
        if not self.low < self.high:
            raise SpecError(f"MinMaxScale: low is {self.low!r} and high is {self.high!r}; expected low < high")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _scaled_schema(self, schema)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        return PerColumn({name: Moments() for name in self.columns}, _range)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        assert state is not None
        made = {}
        for at, name in enumerate(self.columns):
            least, greatest = state["min"][at], state["max"][at]
            one = schema.field(name).type
            times = (self.high - self.low) / _not_zero(greatest - least)
            chain = _chain(one, least, times, self.low)
            held = (clip(self.low, self.high, chain.type),) if self.clip else ()
            made[name] = Chain((*chain.instructions, *held), chain.type)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


@dataclass(frozen=True, slots=True)
class RobustScale:
    """(x - median) / distance of two quantiles, as scikit-learn's `RobustScaler`.

    Floating columns keep their type, integers become float32. A column whose quantiles coincide is only centred.
    """

    columns: tuple[str, ...]
    quantiles: tuple[float, float] = field(default=(0.25, 0.75), kw_only=True)
    """The two quantiles, in [0, 1]; exact up to 65,536 values, then from a sketch whose error the state names."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)
        pair = tuple(self.quantiles)
        if len(pair) != 2 or not 0.0 <= pair[0] < pair[1] <= 1.0:
            raise SpecError(f"RobustScale: quantiles is {self.quantiles!r}; expected (low, high) within [0, 1]")
        object.__setattr__(self, "quantiles", pair)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _scaled_schema(self, schema)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        asked = np.array([self.quantiles[0], 0.5, self.quantiles[1]])

        def learned(found: Mapping[str, Any]) -> State:
            three = [_finite(one.quantiles(asked).tolist()) for one in found.values()]
            return {
                "center": [middle for _, middle, _ in three],
                "scale": [high - low for low, _, high in three],
                "rank_error": [one.rank_error for one in found.values()],
            }

        return PerColumn({name: QuantileSketch() for name in self.columns}, learned)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        assert state is not None
        return {
            name: _chain(schema.field(name).type, state["center"][at], 1.0 / _not_zero(state["scale"][at]))
            for at, name in enumerate(self.columns)
        }

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


def _scaled_schema(spec: Any, schema: pa.Schema) -> pa.Schema:
    typed(spec, schema, spec.columns, numeric, expected=NUMERIC)
    return retyped(schema, spec.columns, floating)


def _chain(type: pa.DataType, minus: float, times: float, plus: float = 0.0) -> Chain:
    after = floating(type)
    # an integer is scaled as a double and rounded once, to float32
    return Chain((affine(minus, times, plus),), after)


def _mean_and_deviation(found: Mapping[str, Any]) -> State:
    deviations = []
    for one in found.values():
        # as scikit-learn: a variance within the error of the sums is that of a constant column
        error = np.finfo(np.float64).eps
        constant = one.variance <= one.count * error * one.variance + (one.count * one.mean * error) ** 2
        deviations.append(1.0 if constant else float(np.sqrt(one.variance)))
    return {
        "mean": [one.mean for one in found.values()],
        "std": deviations,
        "count": [one.count for one in found.values()],
    }


def _range(found: Mapping[str, Any]) -> State:
    pairs = [(one.least, one.greatest) if one.count else (0.0, 0.0) for one in found.values()]
    return {"min": [low for low, _ in pairs], "max": [high for _, high in pairs]}


def _finite(three: list[float]) -> list[float]:
    return [0.0 if np.isnan(one) else one for one in three]


def _not_zero(scale: float) -> float:
    # scikit-learn's rule for ranges: below ten units in the last place of 1 the column counts as constant
    return 1.0 if abs(scale) < 10 * np.finfo(np.float64).eps else scale
