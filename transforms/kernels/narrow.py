"""Integer columns of 8, 16 and 32 unsigned bits: widened to int32 (uint32 to int64) and back, gathered or in order.

The column kernel calls these by their address, block by block (see `curves`). Types are numbered as there.
"""

import numpy as np
from numba import carray, cfunc, njit, types

I8, U8, I16, U16, I32, U32 = range(6)


@njit
def _widen(source, start, take, gather, out):
    if gather:
        for i in range(out.size):
            out[i] = source[np.uint64(take[i])]
    else:
        for i in range(out.size):
            out[i] = source[start + i]


@njit
def _narrow(source, start, step, out):
    for i in range(source.size):
        out[(start + i) * step] = source[i]


_SIGNATURE = types.int64(
    types.CPointer(types.int64), types.int64, types.int64, types.CPointer(types.int64), types.int64,
    types.CPointer(types.int64), types.int64,
)  # fmt: skip


@cfunc(_SIGNATURE, cache=True)
def load_into(source, kind, start, take, n, out, unused):
    """n values of type `kind` from row `start` on, or from the rows `take` unless that is a null pointer."""
    far = 1 << 57
    plain, rows = carray(source, far), carray(take, far)
    gather = rows.ctypes.data != 0
    if kind == U32:
        _widen(plain.view(np.uint32), start, rows, gather, carray(out, n))
        return 0
    wide = carray(out, n).view(np.int32)[:n]
    if kind == I8:
        _widen(plain.view(np.int8), start, rows, gather, wide)
    elif kind == U8:
        _widen(plain.view(np.uint8), start, rows, gather, wide)
    elif kind == I16:
        _widen(plain.view(np.int16), start, rows, gather, wide)
    else:
        _widen(plain.view(np.uint16), start, rows, gather, wide)
    return 0


@cfunc(
    types.int64(
        types.CPointer(types.int64),
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        types.CPointer(types.int64),
        types.int64,
    ),
    cache=True,
)
def store_into(out, kind, start, step, n, source, unused):
    """n values to every `step`-th place of `out`, from place `start` on; what does not fit is cut to the low bits."""
    plain = carray(out, 1 << 57)
    if kind == U32:
        _narrow(carray(source, n), start, step, plain.view(np.uint32))
    elif kind in (I16, U16):
        _narrow(carray(source, n).view(np.int32)[:n], start, step, plain.view(np.int16))
    else:
        _narrow(carray(source, n).view(np.int32)[:n], start, step, plain.view(np.int8))
    return 0
