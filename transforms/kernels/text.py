"""Text columns (Arrow: offsets into one buffer of UTF-8 bytes)."""

import numpy as np
from numba import njit, types

_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_M = np.uint64(0x9E3779B97F4A7C15)
_K = np.uint64(0xBF58476D1CE4E5B9)
_L = np.uint64(0x94D049BB133111EB)


@njit([types.void(_OFFSETS, _BYTES, types.int64[::1])], cache=True, nogil=True)
def hash_into(offset_N1, byte_B, hash_N):
    """A 64-bit hash of each text: eight bytes a step, mixed as in splitmix64, the length last."""
    for i in range(hash_N.size):
        start, stop = offset_N1[i], offset_N1[i + 1]
        h = _M
        at = start
        while at < stop:
            word = np.uint64(0)
            for k in range(min(8, stop - at)):
                word |= np.uint64(byte_B[at + k]) << np.uint64(8 * k)
            h = (h ^ word) * _K
            h ^= h >> np.uint64(29)
            at += 8
        h = (h ^ np.uint64(stop - start)) * _L
        h ^= h >> np.uint64(32)
        hash_N[i] = np.int64(h)
