"""A fingerprint of 128 bits for each text of a column (Arrow: offsets into one buffer of bytes): MurmurHash3, x64, seed 0.

Source: Austin Appleby, MurmurHash3.cpp, `MurmurHash3_x64_128` (public domain). Letters: N rows, B bytes.
"""

import numpy as np
from numba import njit, types

_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_F1 = np.uint64(0xFF51AFD7ED558CCD)
_F2 = np.uint64(0xC4CEB9FE1A85EC53)
_A1 = np.uint64(0x52DCE729)
_A2 = np.uint64(0x38495AB5)
_5 = np.uint64(5)


@njit(inline="always")
def _left(x, by):
    return (x << np.uint64(by)) | (x >> np.uint64(64 - by))


@njit(inline="always")
def _last(x):
    x = (x ^ (x >> np.uint64(33))) * _F1
    x = (x ^ (x >> np.uint64(33))) * _F2
    return x ^ (x >> np.uint64(33))


@njit(inline="always")
def _word(byte_8):
    """Eight bytes as one number, the first the lowest; the compiler makes one load of it."""
    word = np.uint64(0)
    for k in range(8):
        word |= np.uint64(byte_8[k]) << np.uint64(8 * k)
    return word


@njit([types.void(_OFFSETS, _BYTES, types.uint64[::1], types.uint64[::1])], cache=True, nogil=True)
def fingerprint_into(offset_N1, byte_B, high_N, low_N):
    """The two halves, h1 and h2, of each text's fingerprint."""
    for i in range(high_N.size):
        at, stop = offset_N1[i], offset_N1[i + 1]
        size = stop - at
        one, two = np.uint64(0), np.uint64(0)
        while at + 16 <= stop:
            one = _left(one ^ (_left(_word(byte_B[at : at + 8]) * _C1, 31) * _C2), 27) + two
            one = one * _5 + _A1
            two = _left(two ^ (_left(_word(byte_B[at + 8 : at + 16]) * _C2, 33) * _C1), 31) + one
            two = two * _5 + _A2
            at += 16
        first, second = np.uint64(0), np.uint64(0)
        for k in range(stop - at):
            byte = np.uint64(byte_B[at + k])
            if k < 8:
                first |= byte << np.uint64(8 * k)
            else:
                second |= byte << np.uint64(8 * (k - 8))
        two ^= _left(second * _C2, 33) * _C1
        one ^= _left(first * _C1, 31) * _C2
        one ^= np.uint64(size)
        two ^= np.uint64(size)
        one += two
        two += one
        one, two = _last(one), _last(two)
        one += two
        high_N[i], low_N[i] = one, two + one
