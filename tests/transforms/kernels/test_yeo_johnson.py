"""Yeo and Johnson's curve in float32 beside extended precision, over all exponents."""

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.transforms.column_chain import power_curve
from forebay.transforms.kernels.yeo_johnson import yeo_johnson_into

EVERY = np.arange(0, 1 << 32, 40_009, dtype=np.uint64).astype(np.uint32).view(np.float32)
FINITE = EVERY[np.isfinite(EVERY)]
GREATEST = float(np.finfo(np.float32).max)


def curve(x, power):
    table, y = power_curve(power).table, np.empty_like(x)
    pointers = [one.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for one in (x, y)]
    yeo_johnson_into.ctypes(*pointers, 4, x.size, 0, table.ctypes.data_as(ctypes.POINTER(ctypes.c_double)), table.size)
    return y


def exact(x, power):
    v = np.abs(x.astype(np.longdouble))
    p = np.where(x >= 0, np.longdouble(power), 2 - np.longdouble(power))
    with np.errstate(all="ignore"):
        grown = np.where(p == 0, np.log1p(v), np.expm1(p * np.log1p(v)) / p)
    return np.where(x >= 0, grown, -grown)


def furthest(x, power):
    """Greatest distance from the exact curve in units in the last place, where that is a normal float."""
    wanted = exact(x, power)
    size = np.abs(wanted)
    normal = np.isfinite(wanted) & (size <= GREATEST) & (size > 1e-37)
    unit = np.spacing(size[normal].astype(np.float32)).astype(np.longdouble)
    return float((np.abs(curve(x, power)[normal] - wanted[normal]) / unit).max(initial=0))


@pytest.mark.parametrize("power", [0.0, 1e-3, 0.123, 0.5, 1.0, 1.7, 2.0, -1.0, 3.0, -3.0, 5.0, -8.0, 10.0])
def test_it_is_within_its_bound_everywhere(power):
    assert furthest(FINITE, power) <= (3 if 0 <= power <= 2 else 6)


@given(st.floats(-8, 10), st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_any_power_of_any_floats(power, values):
    assert furthest(np.array(values, np.float32), power) <= 6


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 2.0, 3.0])
def test_what_is_no_number_zero_and_beyond_floats(power):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45], np.float32)
    got = curve(x, power)
    assert np.isnan(got[0]) and got[3] == got[4] == 0 and got[5] == x[5] and got[6] == x[6]
    assert got[1] == (np.inf if power >= 0 else np.float32(-1 / power))
    assert got[2] == (-np.inf if power <= 2 else np.float32(1 / (2 - power)))
    beyond = np.abs(exact(FINITE, power)) > 1.001 * GREATEST
    assert np.isinf(curve(FINITE, power)[beyond]).all()
