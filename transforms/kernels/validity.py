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
def _in_order(bits, first, n, mask, wide):
    shift = first & 7
    every = np.uint64(0xFF)
    for j in range((n + shift + 7) >> 3):
        byte = np.uint64(bits[(first >> 3) + j])
        # the product puts the byte into each of eight bytes, the mask leaves bit k in the k-th
        wide[j] = (byte * np.uint64(0x0101010101010101)) & np.uint64(0x8040201008040201)
        every &= byte
    if every == np.uint64(0xFF):
        return 0
    nulls = 0
    for i in range(n):
        mask[i] = mask[i + shift]
        nulls += mask[i] == 0
    return nulls


@cfunc(types.int64(_BITS, types.int64, _TAKE, types.int64, _MASK, types.int64), cache=True)
def unpack_into(bits, first, take, n, mask, unused):
    """Fill n bytes of `mask` (which has room for n + 16) with 0 for null and anything else for a value.

    Row i is bit `first + i`, or `first + take[i]` unless `take` is a null pointer. Returns how many are null; if none
    is, what is in `mask` means nothing.
    """
    far = 1 << 60
    wide = carray(mask, (n + 16) >> 3)
    if carray(take, far).ctypes.data == 0:
        return _in_order(carray(bits, far), first, n, wide.view(np.uint8), wide)
    return _gathered(carray(bits, far), first, carray(take, far), n, wide.view(np.uint8))
