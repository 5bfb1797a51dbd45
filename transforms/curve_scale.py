"""Scaling by a curve: Log1p, PowerTransform, QuantileTransform. Floating columns keep their type, integers become
float32.

Null stays null, NaN stays NaN; neither counts when learning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain, Instruction, affine, convert, curve, floating, power_curve
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.per_column import PerColumn
from forebay.transforms.quantile_sketch import QuantileSketch
from forebay.transforms.transform import Apply, Kind, State
from forebay.transforms.yeo_johnson import best_lambda, yeo_johnson

curves = kernels("curves")

_NEAR = 3.0
"""A mean of so many deviations at most: beyond that, subtracting it would show the rounding of a float32."""


@dataclass(frozen=True, slots=True)
class Log1p:
    """log(1 + x), as `numpy.log1p`.

    Floating columns keep their type, integers become float32. Below -1 the result is NaN, at -1 it is -inf; clip first
    where that can happen.
    """

    columns: tuple[str, ...]

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 2
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _curved_schema(self, schema)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        made = {}
        for name in self.columns:
            one = schema.field(name).type
            # the kernel knows a float32 column and computes no more digits than that holds
            made[name] = _chain(one, curve(curves.LOG1P)) if one != pa.float32() else Chain((curve(curves.LOG1P),), one)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


@dataclass(frozen=True, slots=True)
class PowerTransform:
    """Yeo and Johnson's transform with the lambda that makes the column most like a normal one, then standardized.

    As scikit-learn's PowerTransformer. Lambda, mean and deviation are learned from all values up to 65,536 of them,
    beyond that from a quantile sketch. A constant column keeps lambda 1 and becomes 0.
    """

    columns: tuple[str, ...]
    standardize: bool = field(default=True, kw_only=True)
    """Whether to scale the result to mean 0 and standard deviation 1."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 2
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _curved_schema(self, schema)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        return PerColumn({name: QuantileSketch() for name in self.columns}, _powers)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        assert state is not None
        made = {}
        for at, name in enumerate(self.columns):
            kind, power = schema.field(name).type, state["lambda"][at]
            mean, std = (state["mean"][at], state["std"][at]) if self.standardize else (0.0, 1.0)
            after = [affine(mean, 1.0 / std)] if self.standardize else []
            if kind == pa.float32() and max(abs(power), abs(2.0 - power)) <= 10.0 and abs(mean) <= _NEAR * std:
                made[name] = Chain((power_curve(power), *after), kind)
                continue
            single = float(floating(kind) == pa.float32())
            made[name] = _chain(kind, curve(curves.YEO_JOHNSON, [power, single]), *after)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


@dataclass(frozen=True, slots=True)
class QuantileTransform:
    """Map a value to its rank among the data: uniform in [0, 1], or the standard normal's quantile of it.

    As scikit-learn's QuantileTransformer. A value beyond what was learned gets the least or greatest result.
    """

    columns: tuple[str, ...]
    output: Literal["uniform", "normal"] = field(default="uniform", kw_only=True)
    """Distribution of the result."""
    quantiles: int = field(default=1000, kw_only=True)
    """Points of the learned distribution (fewer if there are fewer rows); the map is linear in between."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    LIMIT: ClassVar[float] = 5.199337582605575
    """Greatest normal result: the quantile of 1 - 1e-7, scikit-learn's bound."""

    def __post_init__(self) -> None:
        set_columns(self)
        if self.output not in ("uniform", "normal"):
            raise SpecError(f"QuantileTransform: output is {self.output!r}; expected 'uniform' or 'normal'")
        if self.quantiles < 2:
            raise SpecError(f"QuantileTransform: quantiles is {self.quantiles!r}; expected 2 or more")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _curved_schema(self, schema)

    def accumulator(self, schema: pa.Schema) -> PerColumn:
        def learned(found: Mapping[str, Any]) -> State:
            knots = []
            for one in found.values():
                points = max(2, min(self.quantiles, one.count))
                knots.append(one.quantiles(np.linspace(0.0, 1.0, points)).tolist() if one.count else [0.0, 0.0])
            return {"knots": knots, "rank_error": [one.rank_error for one in found.values()]}

        return PerColumn({name: QuantileSketch() for name in self.columns}, learned)

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        assert state is not None
        made = {}
        for at, name in enumerate(self.columns):
            knots = np.maximum.accumulate(np.asarray(state["knots"][at], np.float64))
            ranks = np.linspace(0.0, 1.0, len(knots))
            steps = [curve(curves.INTERPOLATE, np.concatenate([knots, ranks]))]
            if self.output == "normal":
                steps.append(curve(curves.NORMAL, [-self.LIMIT, self.LIMIT]))
            made[name] = _chain(schema.field(name).type, *steps)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)


def _curved_schema(spec: Any, schema: pa.Schema) -> pa.Schema:
    typed(spec, schema, spec.columns, numeric, expected=NUMERIC)
    return retyped(schema, spec.columns, floating)


def _chain(type: pa.DataType, *steps: Instruction) -> Chain:
    after = floating(type)
    # the steps of one transform run in double precision and are rounded once, at its end
    return Chain((*convert(type, pa.float64()), *steps, *convert(pa.float64(), after)), after)


def _powers(found: Mapping[str, Any]) -> State:
    learned: dict[str, list[float]] = {"lambda": [], "mean": [], "std": [], "rank_error": []}
    for one in found.values():
        x, weight = one.weighted()
        power = best_lambda(x, weight)
        y = yeo_johnson(x, power)
        mean = float(np.average(y, weights=weight)) if len(y) else 0.0
        variance = float(np.average(np.square(y - mean), weights=weight)) if len(y) else 0.0
        learned["lambda"].append(power)
        learned["mean"].append(mean)
        learned["std"].append(float(np.sqrt(variance)) or 1.0)
        learned["rank_error"].append(one.rank_error)
    return learned
