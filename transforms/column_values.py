"""A column's values as numpy sees them."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.plain_numbers import numbers, valid


def values(column: pa.Array) -> NDArray[np.float64]:
    """The finite values, as doubles: without nulls, NaN and infinities, which no statistic survives. Integers beyond 2^53 are
    rounded."""
    if column.null_count:
        column = column.drop_null()
    x: NDArray[Any] = numbers(column)
    if x.dtype.kind == "f":
        finite = np.isfinite(x)
        if not finite.all():
            x = x[finite]
    return x.astype(np.float64, copy=False)


def present(column: pa.Array) -> NDArray[np.bool_]:
    """(N,) True where there is a value: not null, not NaN."""
    found = valid(column)
    if pa.types.is_floating(column.type):
        found &= ~np.isnan(numbers(column))
    return found
