"""Rows gathered from many record batches at once, wherever they lie in memory, into new Arrow buffers.

Letters: N rows, S record batches, C columns, K of them chosen. A column of a record batch is described by four numbers:
where its first row lies, its validity bitmap and the bitmap's first bit, and its offsets (binary, text and lists only).
An address of 0 means that there is none.
"""

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

DATA, VALID, VALID_BIT, OFFSETS = range(4)
"""Fields of the table of addresses."""
BITS = 0
"""Width of a boolean column: its values are bits, and `VALID_BIT` is their first bit, too."""

_INDEX = types.Array(types.int64, 1, "C", readonly=True)
_TABLE = types.Array(types.int64, 3, "C", readonly=True)
_FIELDS = types.Array(types.int64, 2, "C", readonly=True)


@intrinsic
def _pointer(typingctx, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@njit
def _copy_values(kind, table_S4, slot_N, row_N, out):
    into = carray(_pointer(out), row_N.size, kind)
    for i in range(row_N.size):
        into[i] = carray(_pointer(table_S4[slot_N[i], DATA] + row_N[i] * into.itemsize), 1, kind)[0]


@njit
def _copy_bytes(source, out, size):
    words = size >> 3
    x, y = carray(_pointer(source), words, np.uint64), carray(_pointer(out), words, np.uint64)
    for j in range(words):
        y[j] = x[j]
    for j in range(words << 3, size):
        carray(_pointer(out + j), 1, np.uint8)[0] = carray(_pointer(source + j), 1, np.uint8)[0]


@njit
def _bits(table_S4, field, slot_N, row_N, out):
    """Gather bits; returns how many are 0. A batch without a bitmap (address 0) has ones."""
    bitmap = carray(_pointer(out), (row_N.size + 7) >> 3, np.uint8)
    ones, byte = (
        0,
        0,
    )  # a byte is put together in a register: to read back what was just written costs five cycles a bit
    for i in range(row_N.size):
        base = table_S4[slot_N[i], field]
        bit = 1
        if base != 0:
            at = table_S4[slot_N[i], VALID_BIT] + row_N[i]
            bit = (np.int64(carray(_pointer(base + (at >> 3)), 1, np.uint8)[0]) >> (at & 7)) & 1
        byte |= bit << (i & 7)
        ones += bit
        if i & 7 == 7:
            bitmap[i >> 3] = byte
            byte = 0
    if row_N.size & 7:
        bitmap[row_N.size >> 3] = byte
    return row_N.size - ones


@njit(
    [types.void(_TABLE, _INDEX, _INDEX, _INDEX, _INDEX, _FIELDS, types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def rows_into(table_CS4, chosen_K, width_K, slot_N, row_N, out_K2, null_K):
    """Copy row `row_N[i]` of batch `slot_N[i]` to row i, for the columns `chosen_K`, of fixed widths.

    `out_K2` holds the addresses of the new values (0: only the validity is wanted) and of the new validity bitmap (0:
    nothing is null); `null_K` gets the nulls found.
    """
    for k in range(chosen_K.size):
        table, width, out = table_CS4[chosen_K[k]], width_K[k], out_K2[k, 0]
        if out != 0:
            if width == 8:
                _copy_values(np.int64, table, slot_N, row_N, out)
            elif width == 4:
                _copy_values(np.int32, table, slot_N, row_N, out)
            elif width == 2:
                _copy_values(np.int16, table, slot_N, row_N, out)
            elif width == 1:
                _copy_values(np.int8, table, slot_N, row_N, out)
            elif width == BITS:
                _bits(table, DATA, slot_N, row_N, out)
            else:
                for i in range(row_N.size):
                    _copy_bytes(table[slot_N[i], DATA] + row_N[i] * width, out + i * width, width)
        null_K[k] = _bits(table, VALID, slot_N, row_N, out_K2[k, 1]) if out_K2[k, 1] != 0 else 0


@njit
def _offset(address, wide, at):
    if wide:
        return carray(_pointer(address + at * 8), 1, np.int64)[0]
    return np.int64(carray(_pointer(address + at * 4), 1, np.int32)[0])


@njit(
    [types.void(_FIELDS, types.boolean, _INDEX, _INDEX, types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def lengths_into(table_S4, wide, slot_N, row_N, offset_N1):
    """Offsets of the gathered rows of a column of varying width, in its own units; `wide` where they have 64 bits."""
    offset_N1[0] = 0
    for i in range(row_N.size):
        base, row = table_S4[slot_N[i], OFFSETS], row_N[i]
        offset_N1[i + 1] = offset_N1[i] + _offset(base, wide, row + 1) - _offset(base, wide, row)


@njit(
    [types.void(_FIELDS, types.boolean, types.int64, _INDEX, _INDEX, _INDEX, types.int64)],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def values_into(table_S4, wide, width, slot_N, row_N, offset_N1, out):
    """Copy the values of the gathered rows of a column of varying width, `width` bytes each, one row behind the other."""
    for i in range(row_N.size):
        first = _offset(table_S4[slot_N[i], OFFSETS], wide, row_N[i])
        source = table_S4[slot_N[i], DATA] + first * width
        _copy_bytes(source, out + offset_N1[i] * width, (offset_N1[i + 1] - offset_N1[i]) * width)


@njit(
    [types.void(_FIELDS, types.boolean, types.int64, _INDEX, _INDEX, types.int64[::1], types.int64[::1])],
    cache=True,
    nogil=True,
    error_model="numpy",
)
def spans_into(table_S4, wide, width, slot_N, row_N, address_N, length_N):
    """Where the values of rows of a column of varying width lie, and how many bytes they have."""
    for i in range(row_N.size):
        base, row = table_S4[slot_N[i], OFFSETS], row_N[i]
        first = _offset(base, wide, row)
        address_N[i] = table_S4[slot_N[i], DATA] + first * width
        length_N[i] = (_offset(base, wide, row + 1) - first) * width
