"""Scalers against scikit-learn's."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn import preprocessing as sk
from support.learning import apply, batch_of, fit_apply, learn

from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError, UnknownNameError

DATA = {
    "normal": np.random.default_rng(5).normal(3, 2, 4000),
    "skewed": np.random.default_rng(6).gamma(1.5, 4, 4000),
    "far": np.random.default_rng(7).normal(1e6, 1.0, 4000),
    "small": np.random.default_rng(8).normal(0, 1e-6, 4000),
}
PAIRS = [
    (T.Standardize, {}, sk.StandardScaler()),
    (T.MinMaxScale, {}, sk.MinMaxScaler()),
    (T.MinMaxScale, {"low": -1.0, "high": 3.0, "clip": True}, sk.MinMaxScaler((-1, 3), clip=True)),
    (T.RobustScale, {}, sk.RobustScaler()),
    (T.RobustScale, {"quantiles": (0.1, 0.9)}, sk.RobustScaler(quantile_range=(10, 90))),
]


@pytest.mark.parametrize(("made", "settings", "reference"), PAIRS)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", DATA)
def test_equals_scikit_learn(made, settings, reference, kind, name):
    x = DATA[name].astype(kind)
    got = fit_apply(made(["x"], **settings), batch_of(x=x))["x"].to_numpy()
    want = reference.fit_transform(x.astype(np.float64)[:, None])[:, 0]
    assert got.dtype == kind
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 if kind == np.float32 else 1e-9)


@pytest.mark.parametrize(("made", "settings", "reference"), PAIRS)
def test_integers_become_float32_as_scikit_learn_makes_doubles(made, settings, reference, rng):
    x = rng.integers(-(10**6), 10**6, 3000)
    got = fit_apply(made(["x"], **settings), batch_of(x=x))["x"].to_numpy()
    want = reference.fit_transform(x.astype(np.float64)[:, None])[:, 0]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("made", "settings", "reference"), PAIRS)
@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1, 1e8])
def test_a_constant_column_is_scaled_by_one(made, settings, reference, constant):
    x = np.full(1500, constant)
    got = fit_apply(made(["x"], **settings), batch_of(x=x))["x"].to_numpy()
    np.testing.assert_allclose(got, reference.fit_transform(x[:, None])[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("made", "settings", "reference"), PAIRS)
def test_null_and_nan_do_not_count_and_stay(made, settings, reference, rng):
    x = rng.normal(size=2000).astype(np.float32)
    x[::7] = np.nan
    null = np.arange(2000) % 5 == 0
    got = fit_apply(made(["x"], **settings), pa.RecordBatch.from_pydict({"x": pa.array(x, mask=null)}))["x"]
    blank = np.where(null, np.nan, x).astype(np.float64)
    want = reference.fit_transform(blank[:, None])[:, 0]
    assert np.array_equal(got.is_null().to_numpy(zero_copy_only=False), null)
    np.testing.assert_allclose(got.to_numpy(zero_copy_only=False), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("made", [T.Standardize, T.MinMaxScale, T.RobustScale, T.PowerTransform, T.QuantileTransform])
def test_a_column_without_values_learns_something_harmless(made):
    batch = pa.RecordBatch.from_pydict({"x": pa.array([None, None], pa.float64())})
    state = learn(made(["x"]), batch)
    assert np.isfinite(apply(made(["x"]), batch_of(x=[1.0, 2.0]), state)["x"].to_numpy()).all()


@pytest.mark.parametrize("made", [T.Standardize, T.MinMaxScale, T.RobustScale, T.QuantileTransform])
def test_an_empty_batch_and_a_single_row_pass(made):
    state = learn(made(["x"]), batch_of(x=[1.0, 2.0, 4.0]))
    assert apply(made(["x"]), batch_of(x=np.zeros(0)), state).num_rows == 0
    assert apply(made(["x"]), batch_of(x=[2.0]), state).num_rows == 1


def test_what_cannot_work_is_refused_with_the_reason():
    schema = pa.schema([("x", pa.string()), ("u", pa.uint64())])
    with pytest.raises(SchemaError, match="Standardize: column 'x' is string; expected a number"):
        T.Standardize(["x"]).output_schema(schema)
    with pytest.raises(SchemaError, match="column 'u' is uint64"):
        T.Standardize(["u"]).output_schema(schema)
    with pytest.raises(UnknownNameError, match="unknown column 'xx' in Standardize; did you mean x"):
        T.Standardize(["xx"]).output_schema(schema)
    with pytest.raises(SpecError, match="low is 1.0 and high is 0.0; expected low < high"):
        T.MinMaxScale(["x"], low=1.0, high=0.0)
    with pytest.raises(SpecError, match="quantiles is .0.9, 0.1.; expected .low, high. within"):
        T.RobustScale(["x"], quantiles=(0.9, 0.1))
    with pytest.raises(SpecError, match="expected one or more column names, each once"):
        T.Standardize(["x", "x"])
