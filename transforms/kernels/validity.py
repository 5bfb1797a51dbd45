"""Validity bitmaps (Arrow: one bit a row, least significant first, 1 for a value, 0 for null) unpacked to bytes.

The column kernel calls `unpack_into` by its address, block by block (see `curves`).
"""

import numpy as np
from numba import carray, cfunc, njit, types

_BITS, _TAKE, _MASK = types.CPointer(types.uint8), types.CPointer(types.int64), types.CPointer(types.uint64)


@njit
def _gathered(bits, first, take, n, mask):
    nulls = 0
    for i in range(n):
        at = np.uint64(take[i] + first)
        valid = (bits[at >> np.uint64(3)] >> np.uint8(at & np.uint64(7))) & np.uint8(1)
        mask[i] = valid
        nulls += 1 - valid
    return nulls


@njit
def _spread(byte):
    # the product puts the byte into each of eight bytes, the mask leaves bit k in the k-th
    return (np.uint64(byte) * np.uint64(0x0101010101010101)) & np.uint64(0x8040201008040201)


@njit
def _in_order(bits, first, n, wide):
    shift, last = first & 7, (n - 1) >> 3
    whole, every = bits[first >> 3 :], np.uint8(0xFF)
    if shift == 0:
        for j in range(last):
            wide[j] = _spread(whole[j])
            every &= whole[j]
    else:
        for j in range(last):
            byte = np.uint8((np.uint16(whole[j]) | np.uint16(whole[j + 1]) << np.uint16(8)) >> np.uint16(shift))
            wide[j] = _spread(byte)
            every &= byte
    # the last byte alone: the one after it may lie outside of the bitmap, and of its bits only some are asked for
    byte = np.uint8(whole[last] >> np.uint8(shift))
    if shift != 0 and shift + ((n - 1) & 7) > 7:
        byte = np.uint8(byte | np.uint8(whole[last + 1] << np.uint8(8 - shift)))
    wide[last] = _spread(byte)
    unused = np.uint8(0xFF << (((n - 1) & 7) + 1) & 0xFF)
    return np.int64((every & (byte | unused)) != 0xFF)


@cfunc(types.int64(_BITS, types.int64, _TAKE, types.int64, _MASK, types.int64, types.int64), cache=True)
def unpack_into(bits, first, take, n, mask, unused, unused_):
    """Fill n bytes of `mask` (which has room for n + 16) with 0 for null and anything else for a value.

    Row i is bit `first + i`, or `first + take[i]` unless `take` is a null pointer. n is at least 1. Returns 0
    if none is null.
    """
    far = 1 << 60
    wide = carray(mask, (n + 16) >> 3)
    if carray(take, far).ctypes.data == 0:
        return _in_order(carray(bits, far), first, n, wide)
    return _gathered(carray(bits, far), first, carray(take, far), n, wide.view(np.uint8))
