"""Curves: the element-wise functions that compute rather than move. The column kernel calls them, block by block.

It calls `curve_into` by its address (a numba `cfunc`), since a kernel that calls a function of another file would be
cached with the callee's old body.
"""

import math

import numpy as np
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LOG1P, YEO_JOHNSON, POWER, INTERPOLATE, BUCKETIZE, ABS, MODULO, REPLACE, NORMAL = range(9)
"""Codes. Their parameters, float64: none; lambda, 1 if float32 will do; exponent; knots then images; edges; none; divisor;
old, new; least and greatest result."""

# fmt: off
_A = (3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
      4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3)
_B = (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
      2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3)
_C = (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
      1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4)
_D = (1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
      1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9)
_E = (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
      2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7)
_F = (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
      7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15)
# fmt: on

GROUP = 64
"""Values that are looked up side by side."""
_ONE, _HALF = np.float32(1), np.float32(0.5)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_P = tuple(
    np.float32(one)
    for one in (-0.07634437829256058, 0.12761563062667847, -0.1316019743680954, 0.14201760292053223, -0.16623355448246002,
                0.20001226663589478, -0.250008225440979, 0.3333333134651184)
)  # fmt: skip


@intrinsic
def _fma32(typingctx, a, b, c):
    """a b + c, rounded once: the same on every machine, unlike what `fastmath` allows."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def _stack(typingctx):
    """Room for GROUP integers that lives as long as the call."""

    def codegen(context, builder, signature, args):
        room = cgutils.alloca_once(builder, cgutils.ir.IntType(64), size=GROUP)
        return builder.bitcast(room, cgutils.voidptr_t)

    return types.voidptr(), codegen


def _reinterpret(before, after):
    """The bits of a value as another type of the same width."""

    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(after))

        return after(before), codegen

    return cast


_bits32, _float32 = _reinterpret(types.float32, types.int32), _reinterpret(types.int32, types.float32)
_bits, _float = _reinterpret(types.float64, types.int64), _reinterpret(types.int64, types.float64)


@njit(inline="always")
def _log1p_finite(v, u, short):
    """log(u) for u = 1 + v, above 0 and finite, without branches, so that it runs on whole vectors; within 2 units in the
    last place of a double.

    1 + v = 2^k (1 + f) with 1 + f near 1, the bits that 1 + v lost put back into f; log(1 + f) by the series of
    atanh(f / (2 + f)). `short` ends the series where a float32 does not see the rest (1e-10).
    """
    k = (_bits(u) - 0x3FE6A09E667F3BCD) >> 52
    lost = (v - (u - 1.0)) * _float((1023 - min(k, 1000)) << 52)
    f = (_float(_bits(u) - (k << 52)) - 1.0) + lost
    s = f / (2.0 + f)
    z = s * s
    w = 1 / 11.0
    if not short:
        w = 1 / 15.0 + z * (1 / 17.0 + z * (1 / 19.0 + z * (1 / 21.0)))
        w = 1 / 11.0 + z * (1 / 13.0 + z * w)
    w = 1 / 5.0 + z * (1 / 7.0 + z * (1 / 9.0 + z * w))
    series = 2.0 * s + 2.0 * s * (z * (1 / 3.0 + z * w))
    power = _float(k + 0x4338000000000000) - 6755399441055744.0  # int to double, without an instruction AVX2 lacks
    return power * 0.6931471805599453 + series


@njit(inline="always")
def _limits(v, u, found):
    """Logarithm of u = 1 + v where that is finite, infinite, 0, below 0 or NaN."""
    found = found if u < math.inf else v
    return found if u > 0.0 else (-math.inf if u == 0.0 else math.nan)


@njit(inline="always")
def _log1p(v, short):
    u = 1.0 + v
    return _limits(v, u, _log1p_finite(v, u, short))


@njit(inline="always")
def _expm1(y, short):
    """exp(y) - 1 without branches: y = n ln 2 + r, the series of exp(r) - 1, then 2^n times it plus 2^n - 1."""
    z = min(max(y, -50.0), 709.7)
    n = math.floor(z * 1.4426950408889634 + 0.5)
    r = (z - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = 1 / 40320.0
    if not short:
        p = 1 / 39916800.0 + r * (1 / 479001600.0 + r * (1 / 6227020800.0))
        p = 1 / 40320.0 + r * (1 / 362880.0 + r * (1 / 3628800.0 + r * p))
    p = 1 / 24.0 + r * (1 / 120.0 + r * (1 / 720.0 + r * (1 / 5040.0 + r * p)))
    p = r + r * r * (0.5 + r * (1 / 6.0 + r * p))
    scale = _float((_bits(n + 6755399441055744.0) + 1023) << 52)
    found = scale * p + (scale - 1.0)
    found = found if y <= 709.7 else math.inf
    return found if y == y else y


@njit(error_model="numpy")
def _log1p_single(x, y):
    """The same in float32 throughout, within 2 units in the last place.

    log(1 + f) = f - f^2 / 2 + f^3 P(f); P was fitted to the least relative error (2^-27) by Lawson's iteration. What has no
    finite logarithm is seen by the greatest of all bit patterns, less 1 (so that 0 is the greatest), and put right in a
    second pass: three comparisons and choices for each value would make up a third of the whole (bench.kernels).
    """
    greatest = np.uint32(0)
    for i in range(x.size):
        v = x[i]
        u = _ONE + v
        bits = _bits32(u)
        k = np.int32((bits - np.int32(0x3F3504F3)) & np.int32(-0x800000))  # the exponent, in place
        scale = _float32(np.int32(0x3F800000 - min(k, np.int32(0x3F000000))))
        f = _fma32(v - (u - _ONE), scale, _float32(np.int32(bits - k)) - _ONE)
        w = _P[0]
        w = _fma32(w, f, _P[1])
        w = _fma32(w, f, _P[2])
        w = _fma32(w, f, _P[3])
        w = _fma32(w, f, _P[4])
        w = _fma32(w, f, _P[5])
        w = _fma32(w, f, _P[6])
        w = _fma32(w, f, _P[7])
        w = _fma32(w, f, -_HALF)
        power = np.float32(np.int32(k >> np.int32(23)))
        found = f + _fma32(f * f, w, power * _LN2_LOW)
        y[i] = _fma32(power, _LN2_HIGH, found)
        greatest = max(greatest, np.uint32(bits - np.int32(1)))
    if greatest >= np.uint32(0x7F7FFFFF):
        for i in range(x.size):
            y[i] = _limits(x[i], _ONE + x[i], y[i])


@njit(error_model="numpy")
def _log1p_double(x, y):
    greatest = np.uint64(0)
    for i in range(x.size):
        u = 1.0 + x[i]
        y[i] = _log1p_finite(x[i], u, False)
        greatest = max(greatest, np.uint64(_bits(u) - 1))
    if greatest >= np.uint64(0x7FEFFFFFFFFFFFFF):
        for i in range(x.size):
            y[i] = _limits(x[i], 1.0 + x[i], y[i])


@njit(error_model="numpy", inline="always")
def _yeo_johnson(v, p, short):
    power = p if v >= 0.0 else 2.0 - p
    grown = _log1p(abs(v), short)
    grown = grown if power == 0.0 else _expm1(power * grown, short) / power
    return grown if v >= 0.0 else -grown


@njit(error_model="numpy")
def _yeo_johnson_all(x, y, p, short):
    """Yeo and Johnson, Biometrika 87 (2000), as scikit-learn's PowerTransformer."""
    if short:
        for i in range(x.size):
            y[i] = _yeo_johnson(np.float64(x[i]), p, True)
    else:
        for i in range(x.size):
            y[i] = _yeo_johnson(np.float64(x[i]), p, False)


@njit(error_model="numpy")
def _power(x, y, p):
    for i in range(x.size):
        v = np.float64(x[i])
        y[i] = v * v if p == 2.0 else math.sqrt(v) if p == 0.5 else v**p


@njit
def _place(x, table, at):
    """at[i]: how many entries of the ascending `table` are <= x[i].

    All values of x take a halving step before the next one, so the steps of different values overlap; one value after
    another waits for memory and mispredicted branches, five to eight times as long (bench.kernels).
    """
    for i in range(x.size):
        at[i] = 0
    left = table.size
    while left > 1:
        half = left >> 1
        for i in range(x.size):
            at[i] += half * (table[np.uint64(at[i] + half - 1)] <= x[i])
        left -= half
    for i in range(x.size):
        at[i] += table[np.uint64(at[i])] <= x[i]


@njit(error_model="numpy")
def _interpolate(x, y, table):
    """Piecewise linear map; `table` holds the ascending knots, then their images. A run of equal knots maps to the mean
    of its images, as scikit-learn's QuantileTransformer does."""
    knots, images = table[: table.size // 2], table[table.size // 2 :]
    place = carray(_stack(), GROUP, np.int64)
    for start in range(0, x.size, GROUP):
        part, made = x[start : start + GROUP], y[start : start + GROUP]
        _place(part, knots, place)
        for i in range(part.size):
            v, after = np.float64(part[i]), place[i]
            if v <= knots[0]:
                made[i] = images[0]
            elif v >= knots[-1]:
                made[i] = images[-1]
            elif v == v and knots[after - 1] == v:
                before = after - 1
                while knots[before - 1] == v:
                    before -= 1
                made[i] = 0.5 * (images[before] + images[after - 1])
            elif v == v:
                share = (v - knots[after - 1]) / (knots[after] - knots[after - 1])
                made[i] = images[after - 1] + share * (images[after] - images[after - 1])
            else:
                made[i] = v


@njit(error_model="numpy")
def _ratio(r, top, bottom):
    above, below = 0.0, 0.0
    for j in range(8):
        above = above * r + top[7 - j]
        below = below * r + bottom[7 - j]
    return above / below


@njit(error_model="numpy")
def _normal(x, y, least, greatest):
    """Quantile of the standard normal distribution: Wichura's PPND16 (Applied Statistics 37, 1988, AS 241)."""
    for i in range(x.size):
        p = np.float64(x[i])
        q = p - 0.5
        if abs(q) <= 0.425:
            v = q * _ratio(0.180625 - q * q, _A, _B)
        else:
            r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
            v = _ratio(r - 1.6, _C, _D) if r <= 5.0 else _ratio(r - 5.0, _E, _F)
            v = -v if q < 0.0 else v
        v = least if p <= 0.0 else greatest if p >= 1.0 else v
        y[i] = min(max(v, least), greatest) if p == p else p


@njit
def _bucketize(x, y, edges):
    """How many edges are <= the value, as numpy.digitize; NaN comes after all edges, as there."""
    place = carray(_stack(), GROUP, np.int64)
    for start in range(0, x.size, GROUP):
        part, made = x[start : start + GROUP], y[start : start + GROUP]
        _place(part, edges, place)
        for i in range(part.size):
            made[i] = place[i] if part[i] == part[i] else edges.size


@njit(error_model="numpy")
def _curve(x, y, code, p):
    if code == LOG1P:
        if x.itemsize == 4:
            _log1p_single(x, y)
        else:
            _log1p_double(x, y)
    elif code == YEO_JOHNSON:
        _yeo_johnson_all(x, y, p[0], p[1] != 0.0)
    elif code == POWER:
        _power(x, y, p[0])
    elif code == INTERPOLATE:
        _interpolate(x, y, p)
    elif code == NORMAL:
        _normal(x, y, p[0], p[1])
    elif code == BUCKETIZE:
        _bucketize(x, y, p)
    elif code == ABS:
        for i in range(x.size):
            y[i] = abs(x[i])
    elif code == MODULO:
        d = p[0]
        for i in range(x.size):
            y[i] = np.float64(x[i]) % d
    elif code == REPLACE:
        old, new = p[0], p[1]
        for i in range(x.size):
            y[i] = new if x[i] == old else x[i]


@cfunc(
    types.int64(
        types.CPointer(types.float64),
        types.CPointer(types.float64),
        types.int64,
        types.int64,
        types.int64,
        types.CPointer(types.float64),
        types.int64,
    ),
    cache=True,
)
def curve_into(values, results, width, n, code, table, size):
    """n values of `width` bytes (4: float32, 8: float64) through curve `code`, into memory of its own."""
    parameters = carray(table, size)
    if width == 8:
        _curve(carray(values, n), carray(results, n), code, parameters)
    else:
        x, y = carray(values, 2 * n).view(np.float32)[:n], carray(results, 2 * n).view(np.float32)[:n]
        _curve(x, y, code, parameters)
    return 0
