"""Bucketize: numbers become the index of the interval they lie in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain, convert, curve
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.transform import Apply, Kind, State

curves = kernels("curves")


@dataclass(frozen=True, slots=True)
class Bucketize:
    """How many edges are <= the value, as int64: 0 below the first edge, len(edges) from the last one on.

    That is `numpy.digitize(x, edges)`. NaN goes where infinity goes, as there. Null stays null.
    """

    columns: tuple[str, ...]
    edges: tuple[float, ...]
    """Ascending."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        edges = np.asarray(self.edges, np.float64)
        if edges.ndim != 1 or len(edges) == 0 or not (np.diff(edges) > 0).all() or np.isnan(edges).any():
            raise SpecError(f"Bucketize: edges is {self.edges!r}; expected one or more numbers, ascending")
        object.__setattr__(self, "edges", tuple(edges.tolist()))

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        return retyped(schema, self.columns, lambda one: pa.int64())

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        made, double = {}, pa.float64()
        for name in self.columns:
            before = schema.field(name).type
            steps = [*convert(before, double), curve(curves.BUCKETIZE, self.edges), *convert(double, pa.int64())]
            made[name] = Chain(tuple(steps), pa.int64())
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)
