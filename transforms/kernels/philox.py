"""Philox4x32-10, a counter-based generator: each draw is a pure function of (key, counter).

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the constants and the known
answers in the tests are those of the authors' Random123 library.

Counter of a draw: (low half of the sample id, high half, epoch, index of the block of four words). Letters: N samples,
W words of 32 bits a sample.
"""

import math

import numpy as np
from numba import njit, types

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_IDS = types.Array(types.uint64, 1, "C", readonly=True)


@njit(inline="always")
def _four(c0, c1, c2, c3, k0, k1):
    """Four words for one counter; all are uint64 that hold 32 bits, so that the products need no widening."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        n0 = (p1 >> _32) ^ c1 ^ k0
        n2 = (p0 >> _32) ^ c3 ^ k1
        c1 = p1 & _LOW
        c3 = p0 & _LOW
        c0 = n0
        c2 = n2
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit([types.void(_IDS, types.uint64, types.uint64, types.uint32[:, ::1])], cache=True, nogil=True)
def words_into(ids_N, key, epoch, out_NW):
    """W raw words for each of N samples; W is a multiple of 4."""
    k0 = key & _LOW
    k1 = key >> _32
    for i in range(out_NW.shape[0]):
        low = ids_N[i] & _LOW
        high = ids_N[i] >> _32
        for block in range(out_NW.shape[1] // 4):
            a, b, c, d = _four(low, high, epoch & _LOW, np.uint64(block), k0, k1)
            out_NW[i, 4 * block] = np.uint32(a)
            out_NW[i, 4 * block + 1] = np.uint32(b)
            out_NW[i, 4 * block + 2] = np.uint32(c)
            out_NW[i, 4 * block + 3] = np.uint32(d)


@njit([types.void(_IDS, types.uint64, types.uint64, types.float64[:, ::1])], cache=True, nogil=True)
def uniforms_into(ids_N, key, epoch, out_NW):
    """W doubles in [0, 1) for each sample, 53 random bits each, two from a block."""
    k0 = key & _LOW
    k1 = key >> _32
    width = out_NW.shape[1]
    scale = 1.0 / 9007199254740992.0
    for i in range(out_NW.shape[0]):
        low = ids_N[i] & _LOW
        high = ids_N[i] >> _32
        for block in range((width + 1) // 2):
            a, b, c, d = _four(low, high, epoch & _LOW, np.uint64(block), k0, k1)
            at = 2 * block
            out_NW[i, at] = np.float64(((a >> np.uint64(5)) << np.uint64(26)) | (b >> np.uint64(6))) * scale
            if at + 1 < width:
                out_NW[i, at + 1] = np.float64(((c >> np.uint64(5)) << np.uint64(26)) | (d >> np.uint64(6))) * scale


@njit([types.void(_IDS, types.uint64, types.uint64, types.float32[:, ::1])], cache=True, nogil=True)
def normals_into(ids_N, key, epoch, out_NW):
    """W standard normals for each sample, four from a block, by Box and Muller's formula in double precision."""
    k0 = key & _LOW
    k1 = key >> _32
    width = out_NW.shape[1]
    unit = 1.0 / 4294967296.0
    turn = 2.0 * math.pi * unit
    for i in range(out_NW.shape[0]):
        low = ids_N[i] & _LOW
        high = ids_N[i] >> _32
        for block in range((width + 3) // 4):
            a, b, c, d = _four(low, high, epoch & _LOW, np.uint64(block), k0, k1)
            at = 4 * block
            # (a + 1) / 2^32 lies in (0, 1], so the logarithm is finite; the largest normal is sqrt(64 ln 2), about 6.7
            radius = math.sqrt(-2.0 * math.log((np.float64(a) + 1.0) * unit))
            angle = np.float64(b) * turn
            out_NW[i, at] = radius * math.cos(angle)
            if at + 1 < width:
                out_NW[i, at + 1] = radius * math.sin(angle)
            if at + 2 < width:
                radius = math.sqrt(-2.0 * math.log((np.float64(c) + 1.0) * unit))
                angle = np.float64(d) * turn
                out_NW[i, at + 2] = radius * math.cos(angle)
                if at + 3 < width:
                    out_NW[i, at + 3] = radius * math.sin(angle)


@njit(
    [types.void(_IDS, types.uint64, types.uint64, types.uint64, types.int64[:, ::1])],
    cache=True,
    nogil=True,
)
def integers_into(ids_N, key, epoch, high, out_NW):
    """W integers in [0, high) for each sample, four from a block; `high` is at most 2^32.

    A word is scaled by a multiplication, so a value's probability is off by less than high / 2^32 of itself.
    """
    k0 = key & _LOW
    k1 = key >> _32
    width = out_NW.shape[1]
    for i in range(out_NW.shape[0]):
        low_id = ids_N[i] & _LOW
        high_id = ids_N[i] >> _32
        for block in range((width + 3) // 4):
            a, b, c, d = _four(low_id, high_id, epoch & _LOW, np.uint64(block), k0, k1)
            at = 4 * block
            out_NW[i, at] = np.int64((a * high) >> _32)
            if at + 1 < width:
                out_NW[i, at + 1] = np.int64((b * high) >> _32)
            if at + 2 < width:
                out_NW[i, at + 2] = np.int64((c * high) >> _32)
            if at + 3 < width:
                out_NW[i, at + 3] = np.int64((d * high) >> _32)
