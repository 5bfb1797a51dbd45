"""Rows of varying length laid out for a batch: padded to one length, or one behind another with their positions.

Letters: B rows of a batch, L padded length, V values, T values of a packed batch, N rows.
"""

import numpy as np
from numba import njit, types

_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_WORDS = (types.uint8, types.uint16, types.uint32, types.uint64)


@njit(
    [
        types.void(
            types.Array(kind, 1, "C", readonly=True),
            _OFFSETS,
            types.Array(kind, 1, "C", readonly=True),
            types.boolean,
            kind[:, ::1],
        )
        for kind in _WORDS
    ],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def pad_into(value_V, offset_B1, fill_1, left, out_BL):
    """Each row's values and then `fill`; with `left` the fill comes first. Rows longer than L lose their end.

    Values are moved as bits, so one signature serves every type of its width.
    """
    length = out_BL.shape[1]
    for i in range(out_BL.shape[0]):
        start = offset_B1[i]
        size = min(offset_B1[i + 1] - start, length)
        first = length - size if left else 0
        for j in range(first):
            out_BL[i, j] = fill_1[0]
        for j in range(size):
            out_BL[i, first + j] = value_V[start + j]
        for j in range(first + size, length):
            out_BL[i, j] = fill_1[0]


@njit(
    [types.void(_OFFSETS, _OFFSETS, types.int64, types.int64[::1], types.int64[::1], types.int32[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def pack_into(label_V, offset_B1, ignore, label_T, position_T, sequence_T):
    """Labels (`ignore` at each row's first token), positions that restart with each row, and the row's number."""
    at = 0
    for i in range(offset_B1.size - 1):
        for j in range(offset_B1[i + 1] - offset_B1[i]):
            label_T[at] = ignore if j == 0 else label_V[offset_B1[i] + j]
            position_T[at] = j
            sequence_T[at] = i
            at += 1


@njit(
    [types.void(_OFFSETS, types.int64, types.boolean, types.int64, types.int64[::1], types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def budget_into(length_N, budget, padded, most, end_N, made_1):
    """Cut rows, sorted by length, into batches within a budget of tokens; a row above the budget stands alone.

    A batch costs its rows times its greatest length where it is padded, else the sum of its lengths, and has at most
    `most` rows. `end_N` gets one past the last row of each batch, `made_1` the number of batches.
    """
    made, rows, cost, longest = 0, 0, np.int64(0), np.int64(0)
    for at in range(length_N.size):
        longest_then = max(longest, length_N[at])
        then = longest_then * (rows + 1) if padded else cost + length_N[at]
        if rows > 0 and (then > budget or rows == most):
            end_N[made] = at
            made += 1
            rows, longest_then = 0, length_N[at]
            then = length_N[at]
        rows, cost, longest = rows + 1, then, longest_then
    if rows > 0:
        end_N[made] = length_N.size
        made += 1
    made_1[0] = made
