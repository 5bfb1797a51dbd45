"""Plain Arrow columns as NumPy sees them, by way of their buffers; and what else would import much for little.

`pyarrow.Array.to_numpy` and `pyarrow.array` import pandas where it is installed, on their first call: a third of a second and
27 MB, which a loader of numbers has no use for (`python -m forebay.bench.footprint`).
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(column: pa.Array) -> NDArray[Any]:
    """(N,) values of a column of booleans, integers, floats, dates or times, as the numbers that they are stored as.

    A view where it can be one. Where a value is null a floating column has NaN, any other what happens to lie there.
    """
    n, data = len(column), column.buffers()[1]
    if pa.types.is_boolean(column.type):
        return _bits(data, column.offset, n)
    dtype = np.dtype(f"i{column.type.bit_width // 8}")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        dtype = np.dtype(column.type.to_pandas_dtype())
    if data is None or not n:
        return np.zeros(n, dtype)
    found = np.frombuffer(data, dtype, n, column.offset * dtype.itemsize)
    if column.null_count and dtype.kind == "f":
        found = found.copy()
        found[~valid(column)] = np.nan
    return found


def valid(column: pa.Array) -> NDArray[np.bool_]:
    """(N,) True where a value is not null."""
    if not column.null_count:
        return np.ones(len(column), np.bool_)
    bitmap = column.buffers()[0]
    return np.zeros(len(column), np.bool_) if bitmap is None else _bits(bitmap, column.offset, len(column))


def list_lengths(column: pa.Array) -> NDArray[np.int64]:
    """(N,) how many values each list of a column has; a null one has none. `value_lengths` imports pyarrow.compute."""
    if pa.types.is_fixed_size_list(column.type):
        return np.where(valid(column), column.type.list_size, 0).astype(np.int64)
    return np.where(valid(column), np.diff(_list_ends(column)), 0).astype(np.int64)


def list_values(column: pa.Array) -> pa.Array:
    """The values of all lists of a column behind one another, without what lies under null ones, as `flatten` gives them."""
    if column.null_count:
        return column.flatten()
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        return column.values.slice(column.offset * size, len(column) * size)
    ends = _list_ends(column)
    return column.values.slice(int(ends[0]), int(ends[-1] - ends[0]))


def distinct(values: NDArray[np.int64]) -> list[int]:
    """The different ones among some values, ascending. `np.unique` imports `numpy.ma`, which takes longer than a batch."""
    ascending = np.sort(values)
    return ascending[np.diff(ascending, prepend=ascending[:1] - 1) != 0].tolist()


def _list_ends(column: pa.Array) -> NDArray[Any]:
    """(N + 1,) where each list of a column of lists begins, and where the last one ends."""
    n, ends = len(column), column.buffers()[1]
    if ends is None or not n:
        return np.zeros(n + 1, np.int64)
    dtype = np.dtype(np.int64 if pa.types.is_large_list(column.type) else np.int32)
    return np.frombuffer(ends, dtype, n + 1, column.offset * dtype.itemsize)


def _bits(bitmap: Any, first: int, n: int) -> NDArray[np.bool_]:
    if bitmap is None or not n:
        return np.zeros(n, np.bool_)
    low = first // 8
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8, -(-(first + n) // 8) - low, low), bitorder="little")
    return bits[first - low * 8 :][:n].view(np.bool_)
