"""Element-wise chains over many columns in one call: a column is walked in blocks that stay in the first-level cache.

For each block of `BLOCK` rows and each column: load (in order, or gathered by row index), run the column's instructions
one after another on the block, store once into the destination. A table of addresses says where the columns are, so one
call serves a whole batch of any number of columns and types, and a destination may be strided (a stacked tensor).
Each instruction reads one block and writes another, since a loop over one array as input and output is not vectorized where
LLVM cannot prove that they are the same; so the first one reads the source itself and the last one writes the destination
itself, where these are dense and in order. A chain of one is then one loop, as fast as a copy (bench.kernels).

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
FILL_NULL, FILL_ALL, CLIP, AFFINE, CHECK, TO_F32, TO_F64, TO_I32, TO_I64, CALL = range(10)
"""Instructions. `f` and `i` are their parameters as float64 (floating columns) and int64 (integer columns).

FILL_NULL: value. FILL_ALL: value, for NaN too. CLIP, CHECK: bounds; CHECK finds rows outside, and NaN, bad. AFFINE:
(x - f0) * f1 + f2, of an integer column as float32. TO_I32, TO_I64: i0 and i1 bound floating values (NaN gives 0), then they are
rounded toward zero. CALL: i0 is the address of a function (address of values and of results, item size, how many, code, address
and length of a table of parameters) -> how many are bad, and i1 to i3 are the last three.
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
def _call(typingctx, function, a, b, c, d, e, f, g):
    def codegen(context, builder, signature, args):
        kinds = [context.get_value_type(one) for one in signature.args[1:]]
        pointer = cgutils.ir.FunctionType(cgutils.ir.IntType(64), kinds).as_pointer()
        return builder.call(builder.inttoptr(args[0], pointer), args[1:])

    return types.int64(*([types.int64] * 8)), codegen


@njit
def _copy(x, y):
    for i in range(x.size):
        y[i] = x[i]


@njit
def _view(address, m, kind):
    return carray(_pointer(address), m, kind)


@njit
def _gather(source, take, x):
    for i in range(x.size):
        x[i] = source[np.uint64(take[i])]


@njit
def _load(address, kind, take, start, m, into, load_narrow):
    """A block to scratch memory: gathered from the rows at `take`, or (address 0) narrow values in order."""
    rows = _view(take, m, np.int64)
    if kind == F32:
        _gather(_view(address, FAR, np.float32), rows, _view(into, m, np.float32))
    elif kind == I64:
        _gather(_view(address, FAR, np.int64), rows, _view(into, m, np.int64))
    elif kind == F64:
        _gather(_view(address, FAR, np.float64), rows, _view(into, m, np.float64))
    elif kind == I32:
        _gather(_view(address, FAR, np.int32), rows, _view(into, m, np.int32))
    else:
        _call(load_narrow, address, kind, start, take, m, into, 0)


@njit
def _spread(x, out, step):
    if step == 1:
        _copy(x, out)
    else:
        for i in range(x.size):
            out[i * step] = x[i]


@njit
def _store(address, kind, start, step, x, m, store_narrow):
    # views begin at the block and have its length: with an offset in the index LLVM does not vectorize the loop
    into, far = address + start * step * _size(kind), m * step
    if kind == F32:
        _spread(_view(x, m, np.float32), _view(into, far, np.float32), step)
    elif kind == I64:
        _spread(_view(x, m, np.int64), _view(into, far, np.int64), step)
    elif kind == F64:
        _spread(_view(x, m, np.float64), _view(into, far, np.float64), step)
    elif kind == I32:
        _spread(_view(x, m, np.int32), _view(into, far, np.int32), step)
    else:
        _call(store_narrow, address, kind, start, step, m, x, 0)


@njit
def _size(kind):
    return 8 if kind in (I64, F64) else 4


@njit
def _clip(x, y, low, high):
    for i in range(x.size):
        v = x[i]
        v = low if v < low else v
        y[i] = high if v > high else v


@njit
def _fill_null(x, y, value, mask):
    for i in range(x.size):
        y[i] = x[i] if mask[i] != 0 else value


@njit
def _fill_all(x, y, value, mask, masked):
    if masked:
        for i in range(x.size):
            y[i] = x[i] if mask[i] != 0 and x[i] == x[i] else value
    else:
        for i in range(x.size):
            y[i] = x[i] if x[i] == x[i] else value


@njit
def _scale(x, y, minus, times, plus):
    for i in range(x.size):
        y[i] = (np.float64(x[i]) - minus) * times + plus


@njit
def _check(x, low, high, mask, masked, bad):
    found = 0
    for i in range(x.size):
        if not (low <= x[i] <= high) and not (masked and mask[i] == 0):
            found += 1
            if bad.size:
                bad[i] = 1
    return found


@njit
def _to_int(x, y, low, high):
    # 2^63 - 1 is no double; the largest one below it stands in
    least, most = np.float64(low), np.float64(high) if high < 1 << 53 else np.float64(high - 1023)
    for i in range(x.size):
        v = np.float64(x[i])
        y[i] = np.int64(min(max(v, least), most)) if v == v else 0


@njit
def _int_to(x, code, y, m):
    if code == TO_I32:
        _copy(x, _view(y, m, np.int32))
    elif code == TO_I64:
        _copy(x, _view(y, m, np.int64))
    elif code == TO_F32:
        _copy(x, _view(y, m, np.float32))
    else:
        _copy(x, _view(y, m, np.float64))


@njit
def _float_to(x, code, low, high, y, m):
    if code == TO_I32:
        _to_int(x, _view(y, m, np.int32), low, high)
    elif code == TO_I64:
        _to_int(x, _view(y, m, np.int64), low, high)
    else:
        _int_to(x, code, y, m)


@njit
def _change(x, m, kind, code, low, high, y):
    """Convert m values at x to another type, at y; returns the new type."""
    if kind == F32:
        _float_to(_view(x, m, np.float32), code, low, high, y, m)
    elif kind == F64:
        _float_to(_view(x, m, np.float64), code, low, high, y, m)
    elif kind == I64:
        _int_to(_view(x, m, np.int64), code, y, m)
    else:
        _int_to(_view(x, m, np.int32), code, y, m)
    return F32 if code == TO_F32 else F64 if code == TO_F64 else I32 if code == TO_I32 else I64


@njit
def _step(x, y, code, f, i_, mask, masked, bad):
    """One instruction on a block of one type; f and i_ are its parameters, in that type's domain."""
    if code == FILL_NULL:
        _fill_null(x, y, x.dtype.type(f[0]), mask)
    elif code == FILL_ALL:
        _fill_all(x, y, x.dtype.type(f[0]), mask, masked)
    elif code == CLIP:
        _clip(x, y, x.dtype.type(f[0]), x.dtype.type(f[1]))
    elif code == CHECK:
        return _check(x, f[0], f[1], mask, masked, bad)
    else:
        return _call(i_[0], x.ctypes.data, y.ctypes.data, x.itemsize, x.size, i_[1], i_[2], i_[3])
    return 0


@njit
def _run(x, y, m, kind, code, f, i_, mask, masked, bad):
    """One instruction on m values of a type at x, to y. Addresses, not arrays, are handed on: an array is eight words."""
    valid = _view(mask, m, np.uint8)
    marks = _view(bad, m if bad else 0, np.uint8)
    if code == AFFINE:
        if kind == F32:
            _scale(_view(x, m, np.float32), _view(y, m, np.float32), f[0], f[1], f[2])
        elif kind == F64:
            _scale(_view(x, m, np.float64), _view(y, m, np.float64), f[0], f[1], f[2])
        elif kind == I64:
            _scale(_view(x, m, np.int64), _view(y, m, np.float32), f[0], f[1], f[2])
        else:
            _scale(_view(x, m, np.int32), _view(y, m, np.float32), f[0], f[1], f[2])
        return 0
    if kind == F32:
        return _step(_view(x, m, np.float32), _view(y, m, np.float32), code, f, i_, valid, masked, marks)
    if kind == F64:
        return _step(_view(x, m, np.float64), _view(y, m, np.float64), code, f, i_, valid, masked, marks)
    if kind == I64:
        return _step(_view(x, m, np.int64), _view(y, m, np.int64), code, i_, i_, valid, masked, marks)
    return _step(_view(x, m, np.int32), _view(y, m, np.int32), code, i_, i_, valid, masked, marks)


@njit
def _nulls_to_nan(x, y, m, kind, mask, bad):
    valid = _view(mask, m, np.uint8)
    if kind == F32:
        _fill_null(_view(x, m, np.float32), _view(y, m, np.float32), np.float32(np.nan), valid)
    elif kind == F64:
        _fill_null(_view(x, m, np.float64), _view(y, m, np.float64), np.nan, valid)
    elif bad:
        marks = _view(bad, m, np.uint8)
        for i in range(m):
            marks[i] |= valid[i] == 0
    return 0 if kind >= F32 else -1


@njit
def _last(row, code_P, masked):
    """The instruction that writes last; one past the end where nulls are turned into NaN after all of them."""
    last = row[LAST]
    for at in range(row[FIRST], row[LAST]):
        writes = code_P[at] != CHECK and (masked or code_P[at] != FILL_NULL)
        last = at if writes else last
        masked = masked and code_P[at] not in (FILL_NULL, FILL_ALL)
    return row[LAST] if masked and row[NULLS] == NULLS_TO_NAN else last


@njit
def _block(row, code_P, f_PK, i_PK, take, start, m, area, bad, calls):
    """One block of one column. Returns 0, or which instruction found bad rows first (from 1), or -1 for nulls left.

    `take`: address of the block's row indices, 0 if in order; `bad`: of its marks, 0 if none are wanted.
    """
    failed, left, kind, masked, mask = 0, 0, row[SRC_TYPE], row[VALID] != 0, area + 16 * BLOCK
    if masked:
        first = row[VALID_BIT] + (0 if take else start)
        masked = _call(calls[0], row[VALID], first, take, m, mask, 0, 0) != 0
    here = row[SRC] + start * _size(kind)
    if take or (kind < I64 and kind != I32):
        here = area
        _load(row[SRC], kind, take, start, m, here, calls[1])
        kind = kind if kind >= I64 else I64 if kind == U32 else I32
    dense = row[DST_STEP] == 1 and (row[DST_TYPE] >= I64 or row[DST_TYPE] == I32)
    into = row[DST] + start * _size(row[DST_TYPE])
    last = _last(row, code_P, masked)
    for at in range(row[FIRST], row[LAST]):
        code = code_P[at]
        if code == FILL_NULL and not masked:
            continue
        there = into if dense and at == last else area if here != area else area + 8 * BLOCK
        if TO_F32 <= code <= TO_I64:
            kind = _change(here, m, kind, code, i_PK[at, 0], i_PK[at, 1], there)
        elif _run(here, there, m, kind, code, f_PK[at], i_PK[at], mask, masked, bad) and failed == 0:
            failed = at - row[FIRST] + 1
        here = here if code == CHECK else there
        kind = F32 if code == AFFINE and kind != F64 else kind
        masked = masked and code not in (FILL_NULL, FILL_ALL)
    if masked and row[NULLS] == NULLS_TO_NAN:
        there = into if dense else area if here != area else area + 8 * BLOCK
        left = _nulls_to_nan(here, there, m, kind, mask, bad)
        here = there if left == 0 else here
    if not dense or here != into:
        _store(row[DST], row[DST_TYPE], start, row[DST_STEP], here, m, calls[2])
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
    bytes, aligned to a cache line of 64. `status_C` (zeros) tells which instruction, from 1, found bad rows, -1 for nulls
    left in integers; `bad_N` is marked there, unless empty. `calls_3`: addresses of `unpack_into`, `load_into`,
    `store_into`.
    """
    # views of plain addresses: those of the arguments would count references at each turn of the loops
    code, calls = _view(code_P.ctypes.data, code_P.size, np.int64), _view(calls_3.ctypes.data, 3, np.int64)
    table = carray(_pointer(table_CF.ctypes.data), table_CF.shape, np.int64)
    f = carray(_pointer(f_PK.ctypes.data), f_PK.shape, np.float64)
    i_ = carray(_pointer(i_PK.ctypes.data), i_PK.shape, np.int64)
    area = scratch.ctypes.data
    for tile in range(0, n, TILE):
        for c in range(table.shape[0]):
            for start in range(tile, min(tile + TILE, n), BLOCK):
                m = min(BLOCK, n - start)
                take = take_N.ctypes.data + 8 * start if gather else 0
                bad = bad_N.ctypes.data + start if bad_N.size else 0
                failed = _block(table[c], code, f, i_, take, start, m, area, bad, calls)
                if failed != 0 and status_C[c] == 0:
                    status_C[c] = failed
