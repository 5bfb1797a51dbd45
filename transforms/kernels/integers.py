"""Arithmetic on integer columns. The column kernel calls `integer_into` by address, block by block (see `curves`)."""

import math

import numpy as np
from numba import carray, cfunc, njit, types

MODULO, ABS, REPLACE, HASH, LOOKUP = range(5)
"""Codes. Their parameters, an array of int64: divisor > 0; none; old, new; buckets, seed, first; ascending values,
then their codes, then the code of any other value."""


@njit(error_model="numpy")
def _modulo(x, y, d):
    """Floored modulo, as Python's and numpy's, in [0, d).

    The quotient is found in double precision where that is within one of the true one: a vector unit divides no
    integers, so this is several times faster than the % operator.
    """
    high, inverse = np.int64(0), 1.0 / d
    for i in range(x.size):
        v = np.int64(x[i])
        high |= v ^ (v >> 63)
        r = v - np.int64(math.floor(np.float64(v) * inverse)) * d
        r = r + d if r < 0 else r
        y[i] = r - d if r >= d else r
    if high >= 1 << 51:
        for i in range(x.size):
            y[i] = np.int64(x[i]) % d


@njit
def _hash(x, y, buckets, seed, first):
    """splitmix64's finalizer (Steele, Lea, Flood, OOPSLA 2014); its upper half scaled to `buckets`, from `first` on."""
    for i in range(x.size):
        h = np.uint64(np.int64(x[i])) + seed
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        h = h ^ (h >> np.uint64(31))
        y[i] = first + np.int64(((h >> np.uint64(32)) * buckets) >> np.uint64(32))


@njit
def _lookup(x, y, table):
    count = (table.size - 1) // 2
    for i in range(x.size):
        v = np.int64(x[i])
        low, high = 0, count
        while low < high:
            middle = (low + high) >> 1
            if table[middle] < v:
                low = middle + 1
            else:
                high = middle
        y[i] = table[count + low] if low < count and table[low] == v else table[2 * count]


@njit(error_model="numpy")
def _integer(x, y, code, p):
    if code == MODULO:
        _modulo(x, y, p[0])
    elif code == ABS:
        for i in range(x.size):
            y[i] = abs(x[i])
    elif code == REPLACE:
        old, new = p[0], p[1]
        for i in range(x.size):
            y[i] = new if x[i] == old else x[i]
    elif code == HASH:
        _hash(x, y, np.uint64(p[0]), np.uint64(p[1]), p[2])
    elif code == LOOKUP:
        _lookup(x, y, p)


@cfunc(
    types.int64(
        types.CPointer(types.int64),
        types.CPointer(types.int64),
        types.int64,
        types.int64,
        types.int64,
        types.CPointer(types.int64),
        types.int64,
    ),
    cache=True,
)
def integer_into(values, results, width, n, code, table, size):
    """n values of `width` bytes (4: int32, 8: int64) through operation `code`, into memory of its own."""
    parameters = carray(table, size)
    if width == 8:
        _integer(carray(values, n), carray(results, n), code, parameters)
    else:
        x, y = carray(values, 2 * n).view(np.int32)[:n], carray(results, 2 * n).view(np.int32)[:n]
        _integer(x, y, code, parameters)
    return 0
