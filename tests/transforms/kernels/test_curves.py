"""Curves beside float64 references, over the whole range of their arguments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.curves import curve, units_in_the_last_place

from forebay.transforms.kernels import curves

EVERY = np.arange(0, 1 << 32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)  # all exponents, both signs


def test_log1p_is_within_two_units_everywhere():
    with np.errstate(all="ignore"):
        wanted = np.log1p(EVERY.astype(np.float64))
    got = curve(EVERY, curves.LOG1P)
    finite = np.isfinite(wanted)
    assert units_in_the_last_place(got[finite], wanted[finite]).max() <= 2
    assert np.array_equal(got[~finite], wanted[~finite].astype(np.float32), equal_nan=True)


@given(st.lists(st.floats(-1, width=32, exclude_min=True, allow_infinity=False), min_size=1, max_size=40))
def test_log1p_of_any_floats_is_within_two_units(values):
    x = np.array(values, np.float32)
    assert units_in_the_last_place(curve(x, curves.LOG1P), np.log1p(x.astype(np.float64))).max() <= 2


def test_log1p_at_the_borders_of_its_domain():
    x = np.array([-1, -2, -np.inf, np.inf, np.nan, 0.0, -0.0, 1e-45, np.finfo(np.float32).max], np.float32)
    got = curve(x, curves.LOG1P)
    assert got[0] == -np.inf and np.isnan(got[[1, 2, 4]]).all() and got[3] == np.inf
    assert got[5] == 0 and got[6] == 0 and got[7] == np.float32(1e-45) and np.isfinite(got[8])


def test_log1p_of_doubles_at_the_borders_of_its_domain():
    x = np.array([-1, -2, -np.inf, np.inf, np.nan, 0.0, -0.0, 5e-324, 1e308, np.finfo(np.float64).max, 0.5, -0.5])
    with np.errstate(all="ignore"):
        wanted = np.log1p(x)
    assert np.allclose(curve(x, curves.LOG1P), wanted, rtol=1e-15, atol=1e-323, equal_nan=True)


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=80),
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=80),
)
def test_a_value_without_a_logarithm_changes_none_beside_it(odd, plain):
    both = np.array(odd + plain, np.float32)
    alone = np.concatenate([curve(both[i : i + 1], curves.LOG1P) for i in range(len(both))])
    assert np.array_equal(curve(both, curves.LOG1P), alone, equal_nan=True)
