"""Token sequences: rows of a flat buffer of ids, gathered by row index and widened to int64.

Letters: N rows, L tokens of a row, V values of the flat buffer. Destinations are addresses with a step from row to row,
since they may be strided in the first axis; within a row they are dense, so that the loops vectorize.
"""

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_TAKE = types.Array(types.int64, 1, "C", readonly=True)
_KINDS = [
    types.Array(kind, 1, "C", readonly=True)
    for kind in (types.uint16, types.int32, types.uint32, types.int64, types.int16, types.uint8)
]


@intrinsic
def _pointer(typingctx, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@njit(
    [
        types.void(kind, types.int64, types.int64, _TAKE, types.boolean, types.int64, types.int64[:, ::1])
        for kind in _KINDS
    ],
    cache=True,
    nogil=True,
)
def shift_into(value_V, first, length, take_N, gather, n, out_22):
    """Inputs are tokens 0 to L - 2 of each row of L, labels are tokens 1 to L - 1.

    The first row begins at value `first`. `out_22` holds (address, bytes from row to row) of the inputs, then of the
    labels.
    """
    width = length - 1
    inputs, input_step, labels, label_step = out_22[0, 0], out_22[0, 1], out_22[1, 0], out_22[1, 1]
    values = carray(_pointer(value_V.ctypes.data), value_V.size, value_V.dtype)
    for i in range(n):
        row = take_N[i] if gather else i
        at = first + row * length
        source = values[at : at + length]
        x = carray(_pointer(inputs + i * input_step), width, np.int64)
        y = carray(_pointer(labels + i * label_step), width, np.int64)
        for j in range(width):
            x[j] = source[j]
        for j in range(width):
            y[j] = source[j + 1]


@njit
def _shift(kind, address_N, length, out_22):
    inputs, input_step, labels, label_step = out_22[0, 0], out_22[0, 1], out_22[1, 0], out_22[1, 1]
    for i in range(address_N.size):
        source = carray(_pointer(address_N[i]), length, kind)
        x = carray(_pointer(inputs + i * input_step), length - 1, np.int64)
        y = carray(_pointer(labels + i * label_step), length - 1, np.int64)
        for j in range(length - 1):
            x[j] = source[j]
        for j in range(length - 1):
            y[j] = source[j + 1]


@njit(
    [types.void(types.int64, types.int64, types.Array(types.int64, 1, "C", readonly=True), types.int64, types.int64[:, ::1])],
    cache=True,
    nogil=True,
)  # fmt: skip
def shift_rows_into(width, signed, address_N, length, out_22):
    """`shift_into` of rows that lie anywhere: each at its address, of tokens of `width` bytes, signed or not."""
    if width == 2 and signed == 0:
        _shift(np.uint16, address_N, length, out_22)
    elif width == 2:
        _shift(np.int16, address_N, length, out_22)
    elif width == 4 and signed == 0:
        _shift(np.uint32, address_N, length, out_22)
    elif width == 4:
        _shift(np.int32, address_N, length, out_22)
    elif width == 1:
        _shift(np.uint8, address_N, length, out_22)
    else:
        _shift(np.int64, address_N, length, out_22)


@njit(
    [
        types.void(
            types.int64[:, :], types.float64[:, ::1], types.float64[::1], types.int64[::1], types.int64[::1],
            types.int64[:, :],
        )
    ],
    cache=True,
    nogil=True,
)  # fmt: skip
def mask_into(token_NL, uniform_NU, share_3, id_3, special_S, label_NL):
    """BERT's masking, in place; labels hold the token where it was chosen and `id_3[2]` elsewhere.

    Args:
        token_NL: tokens; chosen ones change.
        uniform_NU: U = 2 L uniforms: 2 j chooses token j, 2 j + 1 decides what becomes of it.
        share_3: probability to choose; of the chosen, share that becomes the mask; share that becomes a random token.
        id_3: id of the mask; size of the vocabulary; label of tokens that were not chosen.
        special_S: ids that are never chosen.
    """
    choose, masked, random = share_3[0], share_3[1], share_3[2]
    mask, size, ignore = id_3[0], id_3[1], id_3[2]
    for i in range(token_NL.shape[0]):
        for j in range(token_NL.shape[1]):
            token = token_NL[i, j]
            chosen = uniform_NU[i, 2 * j] < choose
            for s in range(special_S.size):
                chosen = chosen and special_S[s] != token
            label_NL[i, j] = token if chosen else ignore
            if chosen:
                u = uniform_NU[i, 2 * j + 1]
                if u < masked:
                    token_NL[i, j] = mask
                elif u < masked + random:
                    token_NL[i, j] = min(np.int64((u - masked) / random * size), size - 1)


@njit(
    [types.void(types.int64[::1], types.int64[::1], types.float64[::1], types.float64, types.boolean[::1])],
    cache=True,
    nogil=True,
)
def keep_into(offset_N1, draw_N, uniform_U, drop, keep_V):
    """Which tokens of ragged rows stay: each goes with probability `drop`, but a row keeps at least its first survivor.

    Row i holds tokens offset[i] to offset[i + 1] and its draws begin at uniform draw[i]; if all of its tokens would
    go, the one with the greatest draw stays.
    """
    for i in range(draw_N.size):
        best, kept = offset_N1[i], False
        for j in range(offset_N1[i], offset_N1[i + 1]):
            u = uniform_U[draw_N[i] + j - offset_N1[i]]
            keep_V[j] = u >= drop
            kept = kept or u >= drop
            if u > uniform_U[draw_N[i] + best - offset_N1[i]]:
                best = j
        if not kept and offset_N1[i] < offset_N1[i + 1]:
            keep_V[best] = True


@njit
def _cuts(total, parts, uniform, at, cut):
    """Mark cut[k] = 1 where a new part begins, so that `total` items fall into `parts` non-empty parts, all ways alike.

    Selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S) of parts - 1 of the total - 1 gaps.
    """
    need, left = parts - 1, total - 1
    cut[0] = 0
    for k in range(1, total):
        chosen = uniform[at + k] * left < need
        cut[k] = 1 if chosen else 0
        need -= 1 if chosen else 0
        left -= 1


@njit(
    [
        types.void(
            types.int64[::1], types.int64[::1], types.float64[:, ::1], types.int64[:, ::1], types.int64[::1],
            types.int64[::1], types.int64[:, ::1], types.int64[:, ::1], types.int64[:, ::1],
        )
    ],
    cache=True,
    nogil=True,
)  # fmt: skip
def corrupt_into(token_V, offset_N1, uniform_NU, count_N2, sentinel_2, cut_L, input_NA, target_NB, length_N2):
    """T5's span corruption: spans of noise become sentinels in the inputs; targets are sentinels with their spans.

    Row i has count[i, 0] noise tokens in count[i, 1] spans; kept and noise spans alternate, kept first, and their
    lengths are random with every way to divide alike. sentinel_2: first sentinel's id, step to the next. cut_L: room
    for 2 L. length_N2: lengths of the inputs and targets made. Without spans the inputs are the row, the targets
    empty.
    """
    for i in range(count_N2.shape[0]):
        start, size = offset_N1[i], offset_N1[i + 1] - offset_N1[i]
        noise, spans = count_N2[i, 0], count_N2[i, 1]
        a, b = 0, 0
        if spans == 0:
            for j in range(size):
                input_NA[i, j] = token_V[start + j]
            length_N2[i, 0], length_N2[i, 1] = size, 0
            continue
        kept_cut, noise_cut = cut_L[:size], cut_L[size : 2 * size]
        _cuts(size - noise, spans, uniform_NU[i], 0, kept_cut)
        _cuts(noise, spans, uniform_NU[i], size - noise, noise_cut)
        at, kept, lost = start, 0, 0
        for span in range(spans):
            begun = False
            while kept < size - noise and (not begun or kept_cut[kept] == 0):
                input_NA[i, a] = token_V[at]
                a, at, kept, begun = a + 1, at + 1, kept + 1, True
            sentinel = sentinel_2[0] + span * sentinel_2[1]
            input_NA[i, a], target_NB[i, b] = sentinel, sentinel
            a, b, begun = a + 1, b + 1, False
            while lost < noise and (not begun or noise_cut[lost] == 0):
                target_NB[i, b] = token_V[at]
                b, at, lost, begun = b + 1, at + 1, lost + 1, True
        length_N2[i, 0], length_N2[i, 1] = a, b
