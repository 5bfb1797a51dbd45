"""ValidateRange: rows with values outside a range are bad."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import Chain, bounds, check
from forebay.transforms.column_names import NUMERIC, numeric, set_columns, typed
from forebay.transforms.fuse_single import bind_alone
from forebay.transforms.transform import Apply, Kind, State


@dataclass(frozen=True, slots=True)
class ValidateRange:
    """Hold rows to low <= value <= high; others, and NaN, are bad rows: raised, set aside or skipped, as the run says.

    Null passes; `DropNulls` or `FillNull` sees to it. Values are not changed.
    """

    columns: tuple[str, ...]
    low: float | None = field(default=None, kw_only=True)
    """Least value allowed; None: any."""
    high: float | None = field(default=None, kw_only=True)
    """Greatest value allowed; None: any."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        low, high = self._ends()
        if not low <= high or (self.low is None and self.high is None):
            raise SpecError(
                f"ValidateRange: low is {self.low!r} and high is {self.high!r}; expected at least one, and low <= high"
            )

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        return schema

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        low, high = self._ends()
        reason = f"value is not in [{'any' if self.low is None else low}, {'any' if self.high is None else high}]"
        made = {}
        for name in self.columns:
            one, least, most = schema.field(name).type, low, high
            if pa.types.is_integer(one):
                floor, ceiling = bounds(one)
                least = int(np.ceil(low)) if low > floor else floor
                most = int(np.floor(high)) if high < ceiling else ceiling
                if least > ceiling or most < floor:  # nothing passes: an empty range
                    least, most = ceiling, floor
            made[name] = Chain((check(least, most, one, reason=reason),), one)
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_alone(self, schema, state, op)

    def _ends(self) -> tuple[float, float]:
        return (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
