"""ClipOutliers and DropOutliers: bounds given, or learned from quantiles, the z-score or the interquartile range."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain, bounds, clip
from forebay.transforms.column_names import NUMERIC, numeric, set_columns, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.moments import Moments
from forebay.transforms.per_column import PerColumn
from forebay.transforms.quantile_sketch import QuantileSketch
from forebay.transforms.transform import Apply, Keep, Kind, Rows, State

_PAIR = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClipOutliers:
    """Move values outside the bounds to the nearest bound. Exactly one rule is given; null and NaN stay as they are.

    Infinite values are clipped too, but make learned z-score bounds useless; quantiles stand them.
    """

    columns: tuple[str, ...]
    bounds: _PAIR | None = field(default=None, kw_only=True)
    """(low, high), the same for all columns."""
    quantiles: _PAIR | None = field(default=None, kw_only=True)
    """(low, high) in [0, 1]: bounds at these quantiles of the data (exact up to 65,536 values, then a sketch)."""
    zscore: float | None = field(default=None, kw_only=True)
    """Bounds at mean ± zscore times the population standard deviation."""
    iqr: float | None = field(default=None, kw_only=True)
    """Bounds at the quartiles ∓ iqr times their distance (Tukey's fences; usually 1.5)."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        _check_rule(self)

    @property
    def fitted(self) -> bool:
        return self.bounds is None

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        return schema

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        return _accumulator(self)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        made = {}
        for name in self.columns:
            one = schema.field(name).type
            low, high = _bounds(self, name, one, state)
            made[name] = Chain((clip(low, high, one),), one)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


@dataclass(frozen=True, slots=True)
class DropOutliers:
    """Drop rows in which any of the columns lies outside its bounds.

    Columns of numbers, unchanged in the rows that stay. One of `bounds`, `quantiles`, `zscore` and `iqr`. Null and NaN
    are no outliers; `DropNulls` drops them.
    """

    columns: tuple[str, ...]
    bounds: _PAIR | None = field(default=None, kw_only=True)
    """(low, high), both kept."""
    quantiles: _PAIR | None = field(default=None, kw_only=True)
    """As in `ClipOutliers`."""
    zscore: float | None = field(default=None, kw_only=True)
    """As in `ClipOutliers`."""
    iqr: float | None = field(default=None, kw_only=True)
    """As in `ClipOutliers`."""

    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        _check_rule(self)

    @property
    def fitted(self) -> bool:
        return self.bounds is None

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        return schema

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        return _accumulator(self)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Keep:
        limits = {name: _bounds(self, name, schema.field(name).type, state) for name in self.columns}

        def keep(batch: pa.RecordBatch, rows: Rows) -> NDArray[np.bool_]:
            kept = np.ones(batch.num_rows, np.bool_)
            for name, (low, high) in limits.items():
                column = batch.column(name)
                outside = pc.or_(pc.less(column, low), pc.greater(column, high))
                kept &= ~np.asarray(pc.fill_null(outside, False).to_numpy(zero_copy_only=False), np.bool_)
            return kept

        return keep


def _check_rule(spec: ClipOutliers | DropOutliers) -> None:
    who = type(spec).__name__
    rules = {name: getattr(spec, name) for name in ("bounds", "quantiles", "zscore", "iqr")}
    given = {name: value for name, value in rules.items() if value is not None}
    if len(given) != 1:
        raise SpecError(
            f"{who}: {', '.join(given) or 'no rule'} given; expected exactly one of bounds=(low, high), "
            "quantiles=(0.001, 0.999), zscore=4.0, iqr=1.5"
        )
    (name, value), *_ = given.items()
    if name in ("bounds", "quantiles"):
        pair = tuple(value)
        most = 1.0 if name == "quantiles" else np.inf
        least = 0.0 if name == "quantiles" else -np.inf
        if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
            within = " within [0, 1]" if name == "quantiles" else ""
            raise SpecError(f"{who}: {name} is {value!r}; expected (low, high) with low <= high{within}")
        object.__setattr__(spec, name, pair)
    elif not value > 0:
        raise SpecError(f"{who}: {name} is {value!r}; expected a number above 0")


def _accumulator(spec: ClipOutliers | DropOutliers) -> PerColumn:
    kind: Any = Moments if spec.zscore is not None else QuantileSketch
    return PerColumn({name: kind() for name in spec.columns}, lambda found: _learned(spec, found))


def _learned(spec: ClipOutliers | DropOutliers, found: Mapping[str, Any]) -> State:
    pairs: list[tuple[float, float]] = []
    for one in found.values():
        if spec.zscore is not None:
            away = spec.zscore * float(np.sqrt(one.variance))
            pairs.append((one.mean - away, one.mean + away))
        elif spec.quantiles is not None:
            pairs.append(tuple(one.quantiles(np.array(spec.quantiles)).tolist()))
        else:
            low, high = one.quantiles(np.array([0.25, 0.75])).tolist()
            away = (spec.iqr or 0.0) * (high - low)
            pairs.append((low - away, high + away))
    errors = [one.rank_error for one in found.values() if isinstance(one, QuantileSketch)]
    return {"low": [low for low, _ in pairs], "high": [high for _, high in pairs], "rank_error": errors}


def _bounds(
    spec: ClipOutliers | DropOutliers, name: str, type: pa.DataType, state: State | None
) -> tuple[float, float]:
    """The bounds for a column; for integers the outermost integers within them."""
    if spec.bounds is not None:
        low, high = spec.bounds
    else:
        assert state is not None
        at = spec.columns.index(name)
        low, high = state["low"][at], state["high"][at]
    low, high = (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)  # nothing was learned
    if not pa.types.is_integer(type):
        return low, high
    least, most = bounds(type)
    return int(np.ceil(max(low, least))), int(np.floor(min(high, most)) if high < most else most)
