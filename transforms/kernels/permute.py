"""A keyed permutation of range(n), evaluated at any positions, and the order of windows made of it. For the engine's order.

Letters: N positions, R rounds. Numbers are unsigned 64-bit throughout: one signed operand would make numba
turn the whole expression into floating point.
"""

import numpy as np
from numba import njit, types

_POSITIONS = types.Array(types.int64, 1, "C", readonly=True)
_KEYS = types.Array(types.uint64, 1, "C", readonly=True)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_NONE, _ONE, _WORD = np.uint64(0), np.uint64(1), np.uint64(63)
_STEP = np.uint64(0x9E3779B97F4A7C15)


@njit
def _mixed(x):
    """The finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> _S30)) * _A
    x = (x ^ (x >> _S27)) * _B
    return x ^ (x >> _S31)


@njit
def _bits_of(n):
    """Bits that hold all numbers below n."""
    bits = np.uint64(0)
    while bits < _WORD and (_ONE << bits) < n:
        bits += _ONE
    return bits


@njit
def _permuted(value, n, bits, key_R, tweak):
    """Where the network sends `value`, walked on along its cycle until it lands below n.

    A Feistel network over `bits` bits: halves of bits // 2 and the rest, which change places in each round (so an even
    number of rounds). At most two values are tried on average.
    """
    left_bits = bits >> _ONE
    right_bits = bits - left_bits
    while True:
        left, right = value >> right_bits, value & ((_ONE << right_bits) - _ONE)
        for r in range(key_R.size):
            narrow = left_bits if r & 1 == 0 else right_bits
            left, right = right, left ^ (_mixed((right + tweak) ^ key_R[r]) & ((_ONE << narrow) - _ONE))
        value = (left << right_bits) | right
        if value < n:
            return value


@njit(
    [types.void(_POSITIONS, types.uint64, _KEYS, types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def permute_into(position_N, n, key_R, out_N):
    """Where a keyed permutation of range(n) sends each position."""
    bits = _bits_of(n)
    for i in range(position_N.size):
        out_N[i] = np.int64(_permuted(np.uint64(position_N[i]), n, bits, key_R, _NONE))


@njit(
    [types.void(_POSITIONS, types.int64, types.int64, types.int64, types.int64, types.uint64, _KEYS, types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def windows_into(position_N, rows, body, lanes, window, key, key_R, out_N):
    """Which row comes at each position, where `lanes` parts of range(body) are read side by side, a window at a time.

    Position p belongs to lane p % lanes. A window is `window` positions (a multiple of `lanes`): as many neighbouring rows
    of each lane, permuted among themselves. What is behind the lanes, up to `rows`, comes last: as it is where that is
    less than a row for each lane, else permuted.
    """
    per = body // lanes
    rest = np.uint64(rows - body)
    rest_bits = _bits_of(rest)
    known, bits = np.int64(-1), np.uint64(0)
    for i in range(position_N.size):
        position = position_N[i]
        if position >= body:
            out_N[i] = position
            if rows - body >= lanes:
                out_N[i] = body + np.int64(_permuted(np.uint64(position - body), rest, rest_bits, key_R, _STEP))
            continue
        number = position // window
        start = number * window
        size = min(window, body - start) // lanes
        lane = (position - start) % lanes
        at = (position - start) // lanes
        if size != known:
            known, bits = size, _bits_of(np.uint64(size))
        tweak = _mixed(key + np.uint64(number * lanes + lane) * _STEP)
        at = np.int64(_permuted(np.uint64(at), np.uint64(size), bits, key_R, tweak))
        out_N[i] = lane * per + number * (window // lanes) + at
