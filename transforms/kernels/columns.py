"""Element-wise chains over many columns in one call: a column is walked in blocks that stay in the first-level cache.

For each block of `BLOCK` rows and each column: load (in order, or gathered by row index), run the column's instructions
one after another on the block, store once into the destination. A table of addresses says where the columns are, so one
call serves a whole batch of any number of columns and types, and a destination may be strided (a stacked tensor).
Each instruction reads one block and writes another, since a loop over one array as input and output is not vectorized where
LLVM cannot prove that they are the same; so the first one reads the source itself and the last one writes the destination
itself, where these are dense and in order. A chain of one is then one loop, over whole tiles, as fast as a copy
(bench.kernels).

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
F_SIZE, I_SIZE = 3, 4
"""Parameters of an instruction."""
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
def _view(address, m, kind):
    return carray(_pointer(address), m, kind)


@njit
def _size(kind):
    return 8 if kind in (I64, F64) else 4


@njit
def _wide(kind):
    """Whether values of a type are worked on as they are stored."""
    return kind >= I64 or kind == I32


@njit
def _copy(x, y, m, read, write):
    source, into = _view(x, m, read), _view(y, m, write)
    for i in range(m):
        into[i] = source[i]


@njit
def _gather(address, take, m, x, kind):
    source, rows, into = _view(address, FAR, kind), _view(take, m, np.int64), _view(x, m, kind)
    for i in range(m):
        into[i] = source[np.uint64(rows[i])]


@njit
def _load(address, kind, take, start, m, into, load_narrow):
    """A block to scratch memory: gathered from the rows at `take`, or (address 0) narrow values in order."""
    if not _wide(kind):
        _call(load_narrow, address, kind, start, take, m, into, 0)
    elif _size(kind) == 8:
        _gather(address, take, m, into, np.int64)
    else:
        _gather(address, take, m, into, np.int32)


@njit
def _spread(x, m, out, step, kind):
    if step == 1:
        _copy(x, out, m, kind, kind)
    else:
        for i in range(m):
            _view(out, m * step, kind)[i * step] = _view(x, m, kind)[i]


@njit
def _store(address, kind, start, step, x, m, store_narrow):
    # views begin at the block and have its length: with an offset in the index LLVM does not vectorize the loop
    if not _wide(kind):
        _call(store_narrow, address, kind, start, step, m, x, 0)
    elif _size(kind) == 8:
        _spread(x, m, address + 8 * start * step, step, np.int64)
    else:
        _spread(x, m, address + 4 * start * step, step, np.int32)


@njit
def _clip(x, y, m, low, high, kind):
    source, into, least, most = _view(x, m, kind), _view(y, m, kind), kind(low), kind(high)
    for i in range(m):
        v = source[i]
        v = least if v < least else v
        into[i] = most if v > most else v


@njit
def _fill_null(x, y, m, value, mask, kind):
    source, into, valid, new = _view(x, m, kind), _view(y, m, kind), _view(mask, m, np.uint8), kind(value)
    for i in range(m):
        into[i] = source[i] if valid[i] != 0 else new


@njit
def _fill_all(x, y, m, value, mask, masked, kind):
    source, into, valid, new = _view(x, m, kind), _view(y, m, kind), _view(mask, m, np.uint8), kind(value)
    if masked:
        for i in range(m):
            into[i] = source[i] if valid[i] != 0 and source[i] == source[i] else new
    else:
        for i in range(m):
            into[i] = source[i] if source[i] == source[i] else new


@njit
def _scale(x, y, m, f, read, write):
    source, into, p = _view(x, m, read), _view(y, m, write), _view(f, F_SIZE, np.float64)
    minus, times, plus = p[0], p[1], p[2]
    for i in range(m):
        into[i] = (np.float64(source[i]) - minus) * times + plus


@njit
def _check(x, m, low, high, mask, masked, bad, kind):
    found = 0
    source, valid = _view(x, m, kind), _view(mask, m, np.uint8)
    for i in range(m):
        if not (low <= source[i] <= high) and not (masked and valid[i] == 0):
            found += 1
            if bad:
                _view(bad, m, np.uint8)[i] = 1
    return found


@njit
def _to_int(x, y, m, low, high, read, write):
    # 2^63 - 1 is no double; the largest one below it stands in
    least, most = np.float64(low), np.float64(high) if high < 1 << 53 else np.float64(high - 1023)
    source, into = _view(x, m, read), _view(y, m, write)
    for i in range(m):
        v = np.float64(source[i])
        into[i] = np.int64(min(max(v, least), most)) if v == v else 0


@njit
def _int_to(x, code, y, m, read):
    if code == TO_I32:
        _copy(x, y, m, read, np.int32)
    elif code == TO_I64:
        _copy(x, y, m, read, np.int64)
    elif code == TO_F32:
        _copy(x, y, m, read, np.float32)
    else:
        _copy(x, y, m, read, np.float64)


@njit
def _float_to(x, code, low, high, y, m, read):
    if code == TO_I32:
        _to_int(x, y, m, low, high, read, np.int32)
    elif code == TO_I64:
        _to_int(x, y, m, low, high, read, np.int64)
    else:
        _int_to(x, code, y, m, read)


@njit
def _change(x, m, kind, code, low, high, y):
    """Convert m values at x to another type, at y; returns the new type."""
    if kind == F32:
        _float_to(x, code, low, high, y, m, np.float32)
    elif kind == F64:
        _float_to(x, code, low, high, y, m, np.float64)
    elif kind == I64:
        _int_to(x, code, y, m, np.int64)
    else:
        _int_to(x, code, y, m, np.int32)
    return F32 if code == TO_F32 else F64 if code == TO_F64 else I32 if code == TO_I32 else I64


@njit
def _step(x, y, m, code, f, p, mask, masked, bad, kind, scaled):
    """One instruction on a block of one type; its parameters p are in that type's domain, f are floating."""
    if code == AFFINE:
        _scale(x, y, m, f, kind, scaled)
    elif code == FILL_NULL:
        _fill_null(x, y, m, p[0], mask, kind)
    elif code == FILL_ALL:
        _fill_all(x, y, m, p[0], mask, masked, kind)
    elif code == CLIP:
        _clip(x, y, m, p[0], p[1], kind)
    else:
        return _check(x, m, p[0], p[1], mask, masked, bad, kind)
    return 0


@njit
def _run(x, y, m, kind, code, f, i_, mask, masked, bad):
    """One instruction on m values of a type at x, to y. Addresses, not arrays, are handed on: an array is seven words."""
    p, q = _view(f, F_SIZE, np.float64), _view(i_, I_SIZE, np.int64)
    if code == CALL:
        return _call(q[0], x, y, _size(kind), m, q[1], q[2], q[3])
    if kind == F32:
        return _step(x, y, m, code, f, p, mask, masked, bad, np.float32, np.float32)
    if kind == F64:
        return _step(x, y, m, code, f, p, mask, masked, bad, np.float64, np.float64)
    if kind == I64:
        return _step(x, y, m, code, f, q, mask, masked, bad, np.int64, np.float32)
    return _step(x, y, m, code, f, q, mask, masked, bad, np.int32, np.float32)


@njit
def _nulls_to_nan(x, y, m, kind, mask, bad):
    if kind == F32:
        _fill_null(x, y, m, np.nan, mask, np.float32)
    elif kind == F64:
        _fill_null(x, y, m, np.nan, mask, np.float64)
    elif bad:
        for i in range(m):
            _view(bad, m, np.uint8)[i] |= _view(mask, m, np.uint8)[i] == 0
    return 0 if kind >= F32 else -1


@njit
def _last(row, code, masked):
    """The instruction that writes last; one past the end where nulls are turned into NaN after all of them."""
    last = row[LAST]
    for at in range(row[FIRST], row[LAST]):
        writes = code[at] != CHECK and (masked or code[at] != FILL_NULL)
        last = at if writes else last
        masked = masked and code[at] not in (FILL_NULL, FILL_ALL)
    return row[LAST] if masked and row[NULLS] == NULLS_TO_NAN else last


@njit
def _length(column, codes, gather):
    """Rows of a block: a whole tile where one loop leads from the source to the destination. A called function may go over
    a block twice, so its blocks stay in the first-level cache."""
    row = _view(column, NULLS + 1, np.int64)
    first, count = row[FIRST], row[LAST] - row[FIRST]
    direct = _wide(row[SRC_TYPE]) and _wide(row[DST_TYPE]) and row[DST_STEP] == 1 and row[VALID] == 0 and not gather
    one = count == 0 or (count == 1 and _view(codes, FAR, np.int64)[first] != CALL)
    return TILE if direct and one else BLOCK


@njit
def _block(column, codes, fs, is_, take, start, m, area, bad, calls):
    """One block of one column, whose fields lie at `column`. Returns 0, or which instruction found bad rows first (from 1),
    or -1 for nulls left. `take`: address of the block's row indices, 0 if in order; `bad`: of its marks, 0 if none are
    wanted; `codes`, `fs`, `is_`: of all instructions and their parameters; `calls`: of the addresses of functions."""
    row, code, call = _view(column, NULLS + 1, np.int64), _view(codes, FAR, np.int64), _view(calls, 3, np.int64)
    failed, left, kind, masked, mask = 0, 0, row[SRC_TYPE], row[VALID] != 0, area + 16 * BLOCK
    if masked:
        masked = _call(call[0], row[VALID], row[VALID_BIT] + (0 if take else start), take, m, mask, 0, 0) != 0
    here = row[SRC] + start * _size(kind)
    if take or not _wide(kind):
        here = area
        _load(row[SRC], kind, take, start, m, here, call[1])
        kind = kind if kind >= I64 else I64 if kind == U32 else I32
    dense = row[DST_STEP] == 1 and _wide(row[DST_TYPE])
    into = row[DST] + start * _size(row[DST_TYPE])
    last = _last(row, code, masked)
    for at in range(row[FIRST], row[LAST]):
        one, f, i = code[at], fs + at * 8 * F_SIZE, is_ + at * 8 * I_SIZE
        if one == FILL_NULL and not masked:
            continue
        there = into if dense and at == last else area if here != area else area + 8 * BLOCK
        if TO_F32 <= one <= TO_I64:
            bounds = _view(i, 2, np.int64)
            kind = _change(here, m, kind, one, bounds[0], bounds[1], there)
        elif _run(here, there, m, kind, one, f, i, mask, masked, bad) and failed == 0:
            failed = at - row[FIRST] + 1
        here = here if one == CHECK else there
        kind = F32 if one == AFFINE and kind != F64 else kind
        masked = masked and one not in (FILL_NULL, FILL_ALL)
    if masked and row[NULLS] == NULLS_TO_NAN:
        there = into if dense else area if here != area else area + 8 * BLOCK
        left = _nulls_to_nan(here, there, m, kind, mask, bad)
        here = there if left == 0 else here
    if not dense or here != into:
        _store(row[DST], row[DST_TYPE], start, row[DST_STEP], here, m, call[2])
    return failed if failed else left


_SIGNATURE = types.void(
    types.int64[:, ::1], types.int64[::1], types.float64[:, ::1], types.int64[:, ::1],
    types.Array(types.int64, 1, "C", readonly=True), types.boolean, types.int64, types.int64[::1], types.uint8[::1],
    types.uint8[::1], types.int64[::1],
)  # fmt: skip


@njit([_SIGNATURE], cache=True, nogil=True, error_model="numpy")
def run_columns_into(table_CF, code_P, f_PK, i_PK, take_N, gather, n, calls_3, scratch, bad_N, status_C):
    """Run the chains of C columns over n rows; F fields of a column, P instructions of F_SIZE and I_SIZE parameters.

    Row i of a destination comes from row `take_N[i]` of its source if `gather`, else from row i. `scratch`: SCRATCH
    bytes, aligned to a cache line of 64. `status_C` (zeros) tells which instruction, from 1, found bad rows, -1 for nulls
    left in integers; `bad_N` is marked there, unless empty. `calls_3`: addresses of unpack_into, load_into, store_into.
    """
    # addresses are handed on, since an array is seven words; as int64, since numba adds signed and unsigned as float64
    code, f, i = np.int64(code_P.ctypes.data), np.int64(f_PK.ctypes.data), np.int64(i_PK.ctypes.data)
    table, area, calls = np.int64(table_CF.ctypes.data), np.int64(scratch.ctypes.data), np.int64(calls_3.ctypes.data)
    takes, marks = np.int64(take_N.ctypes.data), np.int64(bad_N.ctypes.data if bad_N.size else 0)
    for tile in range(0, n, TILE):
        end = min(tile + TILE, n)
        for c in range(table_CF.shape[0]):
            column = table + c * 8 * (NULLS + 1)
            length = _length(column, code, gather)
            for start in range(tile, end, length):
                take, bad = (takes + 8 * start if gather else 0), (marks + start if marks else 0)
                failed = _block(column, code, f, i, take, start, min(length, end - start), area, bad, calls)
                if failed != 0 and status_C[c] == 0:
                    status_C[c] = failed
