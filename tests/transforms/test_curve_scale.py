"""Curves against numpy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import preprocessing as sk
from support.learning import apply, batch_of, fit_apply, learn

from forebay import transforms as T
from forebay.formats.errors import SpecError

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(arrays(np.float64, st.integers(0, 60), elements=FLOATS))
@settings(max_examples=200, deadline=None)
def test_log1p_equals_numpys_within_two_units_in_the_last_place(x):
    got = apply(T.Log1p(["x"]), batch_of(x=x))["x"].to_numpy()
    with np.errstate(all="ignore"):
        want = np.log1p(x)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True)
    assert (np.abs(got[finite] - want[finite]) <= 2 * np.spacing(np.abs(want[finite]))).all()


@given(arrays(np.float32, st.integers(0, 60), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)))
@settings(max_examples=200, deadline=None)
def test_log1p_of_float32_is_within_two_units_in_the_last_place(x):
    got = apply(T.Log1p(["x"]), batch_of(x=x))["x"].to_numpy()
    assert_log1p(got, x)


def test_log1p_of_float32_is_right_over_the_whole_range():
    bits = np.arange(0, 0xFF800001, 4099, np.uint64).astype(np.uint32)  # up to -inf: all signs and exponents
    x = bits.view(np.float32)
    assert_log1p(apply(T.Log1p(["x"]), batch_of(x=x))["x"].to_numpy(), x)


def assert_log1p(got, x):
    with np.errstate(all="ignore"):
        exact = np.log1p(x.astype(np.float64))
        want = exact.astype(np.float32)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True)
    assert (np.abs(got[finite] - exact[finite]) <= 2 * np.spacing(np.abs(want[finite]))).all()


@pytest.mark.parametrize("kind", ["normal", "gamma", "negative", "lognormal", "tiny"])
@pytest.mark.parametrize("standardize", [True, False])
def test_power_transform_equals_scikit_learns(kind, standardize, rng):
    x = {
        "normal": rng.normal(1, 3, 3000),
        "gamma": rng.gamma(2, 2, 3000),
        "negative": -rng.gamma(1, 5, 3000),
        "lognormal": rng.lognormal(0, 1, 3000),
        "tiny": rng.gamma(2, 1e-3, 3000),
    }[kind]
    one = T.PowerTransform(["x"], standardize=standardize)
    state = learn(one, batch_of(x=x))
    reference = sk.PowerTransformer(standardize=standardize).fit(x[:, None])
    assert state["lambda"][0] == pytest.approx(reference.lambdas_[0], rel=1e-4, abs=1e-4)
    mine = dict(state, **{"lambda": reference.lambdas_.tolist()})
    if standardize:
        mine.update(mean=[reference._scaler.mean_[0]], std=[reference._scaler.scale_[0]])
    got = apply(one, batch_of(x=x), mine)["x"].to_numpy()
    np.testing.assert_allclose(got, reference.transform(x[:, None])[:, 0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("power", [0.0, 2.0, 1.0, -1.5, 0.3, 4.0])
def test_yeo_johnson_of_special_lambdas_equals_the_formula(power):
    x = np.array([-1e3, -2.5, -1e-12, -0.0, 0.0, 1e-12, 0.7, 1e3, np.nan])
    state = {"lambda": [power], "mean": [0.0], "std": [1.0]}
    got = apply(T.PowerTransform(["x"], standardize=False), batch_of(x=x), state)["x"].to_numpy()
    up, down = np.log1p(x[x >= 0]), np.log1p(-x[x < 0])
    want = x.copy()
    want[x >= 0] = up if power == 0 else np.expm1(power * up) / power
    want[x < 0] = -down if power == 2 else -np.expm1((2 - power) * down) / (2 - power)
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=0)


@pytest.mark.parametrize("output", ["uniform", "normal"])
@pytest.mark.parametrize("points", [7, 100, 1000])
@pytest.mark.parametrize("kind", ["plain", "repeated", "constant"])
def test_quantile_transform_equals_scikit_learns(output, points, kind):
    # the same values whichever tests ran before: for some draws of repeated ones scikit-learn's percentiles have a knot
    # that rounding put just below a value (5.9999999999995 beside 6), and its result there is half a step off
    rng = np.random.default_rng(6)
    x = {"plain": rng.normal(size=2500), "repeated": rng.integers(0, 9, 2500) * 1.0, "constant": np.full(2500, 3.0)}[
        kind
    ]
    reference = sk.QuantileTransformer(n_quantiles=points, output_distribution=output, subsample=None).fit(x[:, None])
    one = T.QuantileTransform(["x"], output=output, quantiles=points)
    seen = np.concatenate([x, [x.min() - 1, x.max() + 1]])
    got = apply(one, batch_of(x=seen), learn(one, batch_of(x=x)))["x"].to_numpy()
    want = reference.transform(seen[:, None])[:, 0]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_nan_stays_nan():
    for one in (T.PowerTransform(["x"]), T.QuantileTransform(["x"]), T.QuantileTransform(["x"], output="normal")):
        got = fit_apply(one, batch_of(x=[1.0, 2.0, np.nan, 5.0]))["x"].to_numpy()
        assert np.isnan(got).tolist() == [False, False, True, False]


def test_settings_are_checked():
    with pytest.raises(SpecError, match="output is 'gauss'; expected 'uniform' or 'normal'"):
        T.QuantileTransform(["x"], output="gauss")
    with pytest.raises(SpecError, match="quantiles is 1; expected 2 or more"):
        T.QuantileTransform(["x"], quantiles=1)
