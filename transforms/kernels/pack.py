"""Packing: which piece of a document goes into which row, and the rows themselves.

Letters: P pieces, V tokens, R rows of L tokens, C = L + 1 amounts of room, W words of 64 bits.
"""

import numpy as np
from numba import njit, types

_KINDS = (types.uint8, types.uint16, types.int16, types.int32, types.uint32, types.int64)
_INTS = types.Array(types.int64, 1, "C", readonly=True)


@njit
def _least(bit_W, amount):
    """The least amount of room from `amount` on that some row has, or -1."""
    word, bits = amount >> 6, bit_W[amount >> 6] >> np.uint64(amount & 63)
    if bits != 0:
        while bits & np.uint64(1) == 0:
            bits >>= np.uint64(1)
            amount += 1
        return amount
    for later in range(word + 1, bit_W.size):
        bits = bit_W[later]
        if bits != 0:
            amount = later << 6
            while bits & np.uint64(1) == 0:
                bits >>= np.uint64(1)
                amount += 1
            return amount
    return -1


@njit(
    [types.void(_INTS, types.int64[::1], types.int64[::1], types.uint64[::1], types.int64[::1])], cache=True, nogil=True
)
def best_fit_into(length_P, head_C, next_P, bit_W, row_P):
    """Put each piece into the row with the least room that it fits into, or into a new one.

    Args:
        length_P: lengths, at most L; greatest first for best-fit decreasing.
        head_C: filled with -1: for each amount of room, a row that has it.
        next_P: another such row, and so on.
        bit_W: zeros: a bit for each amount of room that some row has.
        row_P: the row of each piece, from 0.
    """
    rows, size = 0, head_C.size - 1
    for p in range(length_P.size):
        room = _least(bit_W, length_P[p])
        row = head_C[room] if room >= 0 else rows
        if room < 0:
            room, rows = size, rows + 1
        else:
            head_C[room] = next_P[row]
            if head_C[room] < 0:
                bit_W[room >> 6] &= ~(np.uint64(1) << np.uint64(room & 63))
        row_P[p] = row
        room -= length_P[p]
        if room > 0:
            next_P[row] = head_C[room]
            head_C[room] = row
            bit_W[room >> 6] |= np.uint64(1) << np.uint64(room & 63)


@njit(
    [
        types.void(
            types.Array(kind, 1, "C", readonly=True), types.int64[:, ::1], kind[:, ::1], types.int32[:, ::1],
            types.int32[:, ::1],
        )
        for kind in _KINDS
    ],
    cache=True,
    nogil=True,
)  # fmt: skip
def rows_into(token_V, piece_P5, token_RL, segment_RL, position_RL):
    """Copy pieces to their places; what no piece covers keeps what is there.

    piece_P5: first token, how many, row, first place in it, number of the segment.
    """
    for p in range(piece_P5.shape[0]):
        start, size, row, first, segment = (
            piece_P5[p, 0],
            piece_P5[p, 1],
            piece_P5[p, 2],
            piece_P5[p, 3],
            piece_P5[p, 4],
        )
        for j in range(size):
            token_RL[row, first + j] = token_V[start + j]
            segment_RL[row, first + j] = segment
            position_RL[row, first + j] = j
