"""A keyed permutation of range(n), evaluated at any positions, and windows cut from counts. The engine's order uses both.

Letters: N positions, R rounds, F fragments. Numbers are unsigned 64-bit throughout: one signed operand would make numba
turn the whole expression into floating point.
"""

import numpy as np
from numba import njit, types

_POSITIONS = types.Array(types.int64, 1, "C", readonly=True)
_KEYS = types.Array(types.uint64, 1, "C", readonly=True)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_ONE = np.uint64(1)


@njit(
    [types.void(_POSITIONS, types.uint64, types.uint64, _KEYS, types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def permute_into(position_N, n, half, key_R, out_N):
    """Where a Feistel network over 2 * half bits, walked on along its cycle until it lands below n, sends each position.

    The round function is the finalizer of splitmix64 (Steele, Lea and Flood, 2014) of the half and the round's key.
    """
    mask = (_ONE << half) - _ONE
    for i in range(position_N.size):
        value = np.uint64(position_N[i])
        while True:
            left, right = value >> half, value & mask
            for r in range(key_R.size):
                x = right ^ key_R[r]
                x = (x ^ (x >> _S30)) * _A
                x = (x ^ (x >> _S27)) * _B
                x = x ^ (x >> _S31)
                left, right = right, left ^ (x & mask)
            value = (left << half) | right
            if value < n:
                break
        out_N[i] = np.int64(value)


@njit(
    [types.void(_POSITIONS, types.int64, types.int64[::1], types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def windows_into(count_F, least, first_F1, made_1):
    """Cut fragments into windows of neighbours with at least `least` rows (the last may have fewer).

    `first_F1` gets the place of each window's first fragment and, behind the last, F; `made_1` the number of windows.
    """
    held, made = np.int64(0), 0
    first_F1[0] = 0
    for at in range(count_F.size):
        held += count_F[at]
        if held >= least or at == count_F.size - 1:
            made += 1
            first_F1[made] = at + 1
            held = np.int64(0)
    made_1[0] = made
