"""Yeo and Johnson's power transform of float32 columns, in float32 throughout; that of float64 columns is in `curves`.

((1 + v)^p - 1) / p is expm1(p log1p(v)) / p. An error of log1p grows with p log1p(v), so it is kept as the sum of two floats,
about 32 bits; the result is within 3 units in the last place for lambda from 0 to 2, and within 6 where |lambda| and
|2 - lambda| are at most 10 (tests). Without branches, so that it runs on whole vectors: twice the values of the same in double
precision.
"""

import numpy as np
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_ONE, _HALF, _INF = np.float32(1), np.float32(0.5), np.float32(np.inf)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOG2_E, _ROUND = np.float32(1.44269504), np.float32(12582912.0)  # adding 1.5 * 2^23 rounds to a whole number
_LEAST, _MOST = np.float32(-18.0), np.float32(93.5)
SHARE = 256.0
"""exp(y) - 1 is worked out as its 256th part, since it may be too great for a float where its p-th part is not."""
_SHARE = np.float32(1 / SHARE)
_SMALL = np.float32(1e-12)
"""Below it the curve is the identity, as a float sees it."""
_P = tuple(
    np.float32(one)
    for one in (-0.07634437829256058, 0.12761563062667847, -0.1316019743680954, 0.14201760292053223, -0.16623355448246002,
                0.20001226663589478, -0.250008225440979, 0.3333333134651184)
)  # fmt: skip  # log1p(f) = f - f^2 / 2 + f^3 P(f), as in `curves`
_E = tuple(np.float32(one) for one in (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2))


@intrinsic
def _fma(typingctx, a, b, c):
    """a b + c, rounded once."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def _bits(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], cgutils.ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def _float(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], cgutils.ir.FloatType())

    return types.float32(types.int32), codegen


@njit(inline="always")
def _log1p(v):
    """log(1 + v) for v >= 0 as (float, what it lacks)."""
    u = _ONE + v
    k = np.int32((_bits(u) - np.int32(0x3F3504F3)) & np.int32(-0x800000))  # the exponent, in place
    scale = _float(np.int32(0x3F800000 - min(k, np.int32(0x3F000000))))
    near = _float(np.int32(_bits(u) - k)) - _ONE
    lost = (v - (u - _ONE)) * scale
    f = near + lost
    rest = (near - f) + lost
    z = f * f
    z_rest = _fma(f, f, -z)
    w = _fma(_P[0], f, _P[1])
    w = _fma(w, f, _P[2])
    w = _fma(w, f, _P[3])
    w = _fma(w, f, _P[4])
    w = _fma(w, f, _P[5])
    w = _fma(w, f, _P[6])
    w = _fma(w, f, _P[7])
    s = _fma(-_HALF, z, f)
    s_rest = _fma(-_HALF, z, f - s)
    power = np.float32(np.int32(k >> np.int32(23)))
    low = _fma(-_HALF, z_rest, s_rest) + _fma(z * f, w, rest * _fma(z, _ONE - f, _ONE - f))
    high = _fma(power, _LN2_HIGH, s)
    return high, _fma(power, _LN2_HIGH, -high) + s + _fma(power, _LN2_LOW, low)


@njit(inline="always")
def _expm1(y, low):
    """exp(y + low) - 1, by SHARE."""
    z = min(max(y, _LEAST), _MOST)
    n = _fma(z, _LOG2_E, _ROUND) - _ROUND
    r = _fma(-n, _LN2_LOW, _fma(-n, _LN2_HIGH, z)) + low
    w = _fma(_E[0], r, _E[1])
    w = _fma(w, r, _E[2])
    w = _fma(w, r, _E[3])
    w = _fma(w, r, _E[4])
    w = _fma(w, r, _E[5])
    w = _fma(r * r, w, r)
    part = _float(np.int32((np.int32(n) + np.int32(119)) << np.int32(23)))
    return _fma(part, w, part - _SHARE)


@njit(error_model="numpy")
def _all(x, y, table):
    p, p_low, inverse, inverse_low = (
        np.float32(table[0]),
        np.float32(table[1]),
        np.float32(table[2]),
        np.float32(table[3]),
    )
    q, q_low, other, other_low = np.float32(table[4]), np.float32(table[5]), np.float32(table[6]), np.float32(table[7])
    most, other_most = np.float32(table[8]), np.float32(table[9])
    for i in range(x.size):
        v = x[i]
        high, low = _log1p(abs(v))
        up = v >= 0
        power, power_low = (p if up else q), (p_low if up else q_low)
        by, by_low = (inverse if up else other), (inverse_low if up else other_low)
        whole = power * high
        grown = _expm1(whole, _fma(power, high, -whole) + _fma(power, low, power_low * high))
        grown = _fma(grown, by, grown * by_low)
        grown = high + low if power == 0 else grown
        grown = grown if abs(v) < _INF else (most if up else other_most)
        grown = grown if abs(v) > _SMALL else abs(v)  # also where v is no number
        y[i] = grown if up else -grown


@cfunc(
    types.int64(
        types.CPointer(types.float32), types.CPointer(types.float32), types.int64, types.int64, types.int64,
        types.CPointer(types.float64), types.int64,
    ),
    cache=True,
)  # fmt: skip
def yeo_johnson_into(values, results, width, n, code, table, size):
    """n float32 values, into memory of their own.

    `table`: lambda; SHARE over it; 2 - lambda; SHARE over that (0 where it would be over 0); each as two floats. Then the images
    of infinity and of minus infinity, the latter without its sign.
    """
    _all(carray(values, n), carray(results, n), carray(table, size))
    return 0
