"""Element-wise chains over many columns in one call: a column is walked in blocks that stay in the first-level cache.

For each block of `BLOCK` rows and each column: load (in order, or gathered by row index), run the column's instructions
one after another on the block, store once into the destination. A table of addresses says where the columns are, so one
call serves a whole batch of any number of columns and types, and a destination may be strided (a stacked tensor).

Scaling is done in double precision and rounded to the column's type after each instruction, and a called function works
on values of the column's type, so a fused chain equals the same transforms run one by one, to the last bit. Integers
below 32 bits are worked on as int32, uint32 as int64.
"""

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 1024
TILE = 8 * BLOCK  # rows of a column before the next column's turn: long enough to prefetch, short enough for the cache
SCRATCH = 17 * BLOCK + 16
"""Bytes of working memory that a call needs: two blocks of values, one of validity."""
I8, U8, I16, U16, I32, U32, I64, F32, F64 = range(9)
"""How a column is stored."""
FILL_NULL, CLIP, AFFINE, CHECK, TO_F32, TO_F64, TO_I32, TO_I64, CALL = range(9)
"""Instructions. `f` and `i` are their parameters as float64 (floating columns) and int64 (integer columns).

FILL_NULL: value. CLIP, CHECK: bounds; CHECK finds rows outside, and NaN, bad. AFFINE: (x - f0) * f1 + f2.
TO_I32, TO_I64: i0 and i1 bound floating values (NaN gives 0), then they are rounded toward zero. CALL: i0
is the address of a function (address of values, item size, how many, code, address and length of a table of parameters)
-> how many are bad, and i1 to i3 are the last three.
"""
SRC, SRC_TYPE, VALID, VALID_BIT, DST, DST_TYPE, DST_STEP, FIRST, LAST, NULLS = range(10)
"""Fields of the table: address and type of the source, address and first bit of its validity (address 0: all valid),
address, type and step (in elements) of the destination, first and one past the last instruction, fate of nulls."""
KEEP_NULLS, NULLS_TO_NAN = range(2)
"""NULLS_TO_NAN writes NaN; in an integer column it finds the row bad."""
FAR = 1 << 60  # length of views of foreign memory, whose true length the caller knows


@intrinsic
def _pointer(typingctx, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def _call(typingctx, function, a, b, c, d, e, f):
    def codegen(context, builder, signature, args):
        kinds = [context.get_value_type(one) for one in signature.args[1:]]
        pointer = cgutils.ir.FunctionType(cgutils.ir.IntType(64), kinds).as_pointer()
        return builder.call(builder.inttoptr(args[0], pointer), args[1:])

    return types.int64(*([types.int64] * 7)), codegen


@njit
def _copy(x, y):
    for i in range(x.size):
        y[i] = x[i]


@njit
def _copy_in(address, size, kind, rows, start, x):
    # views begin at the block and have its length: with an offset in the index LLVM does not vectorize the loop
    if rows.size:
        source = carray(_pointer(address), FAR, kind)
        for i in range(x.size):
            x[i] = source[np.uint64(rows[i])]
    else:
        _copy(carray(_pointer(address + start * size), x.size, kind), x)


@njit
def _load(address, kind, rows, start, x, load_narrow):
    if kind == F32:
        _copy_in(address, 4, np.float32, rows, start, x[2])
    elif kind == I64:
        _copy_in(address, 8, np.int64, rows, start, x[1])
    elif kind == F64:
        _copy_in(address, 8, np.float64, rows, start, x[3])
    elif kind == I32:
        _copy_in(address, 4, np.int32, rows, start, x[0])
    else:
        index = rows.ctypes.data if rows.size else 0
        into = x[1].ctypes.data if kind == U32 else x[0].ctypes.data
        _call(load_narrow, address, kind, start, index, x[0].size, into)


@njit
def _copy_out(x, address, size, kind, start, step):
    out = carray(_pointer(address + start * step * size), x.size * step, kind)
    if step == 1:
        _copy(x, out)
    else:
        for i in range(x.size):
            out[i * step] = x[i]


@njit
def _store(address, kind, start, step, x, store_narrow):
    if kind == F32:
        _copy_out(x[2], address, 4, np.float32, start, step)
    elif kind == I64:
        _copy_out(x[1], address, 8, np.int64, start, step)
    elif kind == F64:
        _copy_out(x[3], address, 8, np.float64, start, step)
    elif kind == I32:
        _copy_out(x[0], address, 4, np.int32, start, step)
    else:
        source = x[1].ctypes.data if kind == U32 else x[0].ctypes.data
        _call(store_narrow, address, kind, start, step, x[0].size, source)


@njit
def _clip(x, low, high):
    for i in range(x.size):
        v = x[i]
        v = low if v < low else v
        x[i] = high if v > high else v


@njit
def _fill_null(x, value, mask):
    for i in range(x.size):
        x[i] = x[i] if mask[i] != 0 else value


@njit
def _check(x, low, high, mask, masked, bad, start):
    found = 0
    for i in range(x.size):
        if not (low <= x[i] <= high) and not (masked and mask[i] == 0):
            found += 1
            if bad.size:
                bad[start + i] = 1
    return found


@njit
def _to_int(x, y, low, high):
    # 2^63 - 1 is no double; the largest one below it stands in
    least, most = np.float64(low), np.float64(high) if high < 1 << 53 else np.float64(high - 1023)
    for i in range(x.size):
        v = np.float64(x[i])
        y[i] = np.int64(min(max(v, least), most)) if v == v else 0


@njit
def _float_step(x, code, f, i_, mask, masked, bad, start):
    if code == FILL_NULL:
        _fill_null(x, f[0], mask)
    elif code == CLIP:
        _clip(x, x.dtype.type(f[0]), x.dtype.type(f[1]))
    elif code == AFFINE:
        a, b, c = f[0], f[1], f[2]
        for i in range(x.size):
            x[i] = (np.float64(x[i]) - a) * b + c
    elif code == CHECK:
        return _check(x, f[0], f[1], mask, masked, bad, start)
    else:
        return _call(i_[0], x.ctypes.data, x.itemsize, x.size, i_[1], i_[2], i_[3])
    return 0


@njit
def _int_step(x, code, i_, mask, masked, bad, start):
    if code == CHECK:
        return _check(x, i_[0], i_[1], mask, masked, bad, start)
    if code == CALL:
        return _call(i_[0], x.ctypes.data, x.itemsize, x.size, i_[1], i_[2], i_[3])
    if code == FILL_NULL:
        _fill_null(x, i_[0], mask)
    else:
        _clip(x, x.dtype.type(i_[0]), x.dtype.type(i_[1]))
    return 0


@njit
def _int_to(x, code, y):
    if code == TO_I32:
        _copy(x, y[0])
    elif code == TO_I64:
        _copy(x, y[1])
    elif code == TO_F32:
        _copy(x, y[2])
    else:
        _copy(x, y[3])


@njit
def _float_to(x, code, i_, y):
    if code == TO_I32:
        _to_int(x, y[0], i_[0], i_[1])
    elif code == TO_I64:
        _to_int(x, y[1], i_[0], i_[1])
    else:
        _int_to(x, code, y)


@njit
def _views(area, side, m):
    """One of the two blocks of values, as each of the four types."""
    p = _pointer(area + side * 8 * BLOCK)
    return carray(p, m, np.int32), carray(p, m, np.int64), carray(p, m, np.float32), carray(p, m, np.float64)


@njit
def _change(x, kind, code, i_, y):
    """Convert x to one of the four types y; returns the new type."""
    if kind == F32:
        _float_to(x[2], code, i_, y)
    elif kind == F64:
        _float_to(x[3], code, i_, y)
    elif kind == I64:
        _int_to(x[1], code, y)
    else:
        _int_to(x[0], code, y)
    return F32 if code == TO_F32 else F64 if code == TO_F64 else I32 if code == TO_I32 else I64


@njit
def _step(x, kind, code, f, i_, mask, masked, bad, start):
    if kind == F32:
        return _float_step(x[2], code, f, i_, mask, masked, bad, start)
    if kind == F64:
        return _float_step(x[3], code, f, i_, mask, masked, bad, start)
    if kind == I64:
        return _int_step(x[1], code, i_, mask, masked, bad, start)
    return _int_step(x[0], code, i_, mask, masked, bad, start)


@njit
def _nulls_left(x, kind, mask, bad, start):
    if kind == F32:
        _fill_null(x[2], np.nan, mask)
    elif kind == F64:
        _fill_null(x[3], np.nan, mask)
    elif bad.size:
        for i in range(x[0].size):
            bad[start + i] |= mask[i] == 0
    return 0 if kind >= F32 else -1


@njit
def _block(row, code_P, f_PK, i_PK, take, gather, start, m, area, bad, calls):
    """One block of one column. Returns 0, or which instruction found bad rows first (from 1), or -1 for nulls left."""
    side, failed = 0, 0
    mask = carray(_pointer(area + 16 * BLOCK), m, np.uint8)
    rows = take[start : start + m] if gather else take[:0]
    masked = row[VALID] != 0
    if masked:
        index, bit = (rows.ctypes.data, 0) if gather else (0, start)
        masked = _call(calls[0], row[VALID], row[VALID_BIT] + bit, index, m, mask.ctypes.data, 0) != 0
    _load(row[SRC], row[SRC_TYPE], rows, start, _views(area, 0, m), calls[1])
    kind = row[SRC_TYPE] if row[SRC_TYPE] >= I64 else I64 if row[SRC_TYPE] == U32 else I32
    for at in range(row[FIRST], row[LAST]):
        code = code_P[at]
        if code == FILL_NULL and not masked:
            continue
        x = _views(area, side, m)
        if TO_F32 <= code <= TO_I64:
            side = 1 - side
            kind = _change(x, kind, code, i_PK[at], _views(area, side, m))
        elif _step(x, kind, code, f_PK[at], i_PK[at], mask, masked, bad, start) and failed == 0:
            failed = at - row[FIRST] + 1
        masked = masked and code != FILL_NULL
    x = _views(area, side, m)
    left = _nulls_left(x, kind, mask, bad, start) if masked and row[NULLS] == NULLS_TO_NAN else 0
    _store(row[DST], row[DST_TYPE], start, row[DST_STEP], x, calls[2])
    return failed if failed else left


_SIGNATURE = types.void(
    types.int64[:, ::1], types.int64[::1], types.float64[:, ::1], types.int64[:, ::1],
    types.Array(types.int64, 1, "C", readonly=True), types.boolean, types.int64, types.int64[::1], types.uint8[::1],
    types.uint8[::1], types.int64[::1],
)  # fmt: skip


@njit([_SIGNATURE], cache=True, nogil=True, error_model="numpy")
def run_columns_into(table_CF, code_P, f_PK, i_PK, take_N, gather, n, calls_3, scratch, bad_N, status_C):
    """Run the chains of C columns over n rows; F fields of a column, P instructions of K parameters.

    Row i of a destination comes from row `take_N[i]` of its source if `gather`, else from row i. `scratch`: SCRATCH
    bytes, aligned to 8. `status_C` (zeros) tells which instruction, from 1, found bad rows, -1 for nulls left in integers;
    `bad_N` is marked there, unless empty. `calls_3`: addresses of `unpack_into`, `load_into`, `store_into`.
    """
    # views of plain addresses: those of the arguments would count references at each turn of the loops
    table = carray(_pointer(table_CF.ctypes.data), table_CF.shape, np.int64)
    f = carray(_pointer(f_PK.ctypes.data), f_PK.shape, np.float64)
    i_ = carray(_pointer(i_PK.ctypes.data), i_PK.shape, np.int64)
    take = carray(_pointer(take_N.ctypes.data), take_N.size, np.int64)
    bad = carray(_pointer(bad_N.ctypes.data), bad_N.size, np.uint8)
    area = scratch.ctypes.data
    for tile in range(0, n, TILE):
        for c in range(table.shape[0]):
            for start in range(tile, min(tile + TILE, n), BLOCK):
                m = min(BLOCK, n - start)
                failed = _block(table[c], code_P, f, i_, take, gather, start, m, area, bad, calls_3)
                if failed != 0 and status_C[c] == 0:
                    status_C[c] = failed
