"""Infinities, empty texts, unseen categories and constant columns: what the pages under docs/transforms say of them."""

import numpy as np
import pyarrow as pa
import pytest
from support.learning import apply, batch_of, fit_apply, learn

from forebay import transforms as T

INF = np.inf
PLAIN = [1.0, 2.0, 3.0, 4.0, 8.0]


@pytest.mark.parametrize(
    "one",
    [
        T.Standardize(["x"]),
        T.MinMaxScale(["x"]),
        T.RobustScale(["x"]),
        T.PowerTransform(["x"]),
        T.QuantileTransform(["x"]),
        T.ClipOutliers(["x"], quantiles=(0.1, 0.9)),
        T.ClipOutliers(["x"], zscore=1.0),
        T.ClipOutliers(["x"], iqr=1.5),
        T.FillNull(["x"], strategy="mean"),
        T.FillNull(["x"], strategy="median"),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_infinities_do_not_count_when_learning(one, kind):
    learned = learn(one, batch_of(x=pa.array(PLAIN, kind)))
    assert learn(one, batch_of(x=pa.array([INF, *PLAIN, -INF, np.nan, None], kind))) == learned


def test_infinities_stay_or_are_held_at_the_bound():
    batch = batch_of(x=pa.array([*PLAIN, INF, -INF]))
    for one in (T.Standardize(["x"]), T.MinMaxScale(["x"]), T.RobustScale(["x"])):
        assert fit_apply(one, batch)["x"].to_pylist()[-2:] == [INF, -INF]
    assert fit_apply(T.MinMaxScale(["x"], clip=True), batch)["x"].to_pylist()[-2:] == [1.0, 0.0]
    assert fit_apply(T.QuantileTransform(["x"]), batch)["x"].to_pylist()[-2:] == [1.0, 0.0]
    assert apply(T.ClipOutliers(["x"], bounds=(0, 5)), batch)["x"].to_pylist()[-2:] == [5.0, 0.0]
    assert fit_apply(T.DropOutliers(["x"], zscore=3.0), batch)["x"].to_pylist() == PLAIN
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.log1p(np.array([INF, -INF]))
    assert np.array_equal(apply(T.Log1p(["x"]), batch)["x"].to_numpy()[-2:], wanted, equal_nan=True)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_modulo_of_any_float_is_numpys(kind):
    x = np.array([0.0, -0.5, 7.25, -7.25, 1e30, -1e18, INF, -INF, np.nan], kind)
    with np.errstate(invalid="ignore"):
        wanted = np.mod(x.astype(np.float64), 7).astype(kind)
    assert np.array_equal(apply(T.Modulo(["x"], 7), batch_of(x=x))["x"].to_numpy(), wanted, equal_nan=True)


def test_an_empty_text_is_a_category_like_any_other():
    batch = batch_of(s=pa.array(["", "a", "", None, "a", ""]))
    ids = fit_apply(T.Categorize(["s"]), batch)["s"].to_pylist()
    assert ids == [2, 3, 2, 1, 3, 2]
    hashed = apply(T.HashCategory(["s"], 1000), batch)["s"].to_pylist()
    assert hashed[0] == hashed[2] != 0 and hashed[3] == 0
    assert fit_apply(T.FillNull(["s"], strategy="mode"), batch)["s"].to_pylist() == ["", "a", "", "", "a", ""]
    assert fit_apply(T.OneHot("s", 3), batch)["s"].to_pylist()[0] == [1.0, 0.0, 0.0]


def test_unseen_categories_have_a_place_of_their_own():
    learned = batch_of(s=pa.array(["a", "b", "a"]), y=np.array([1.0, 0.0, 1.0]))
    unseen = batch_of(s=pa.array(["new", "a"]), y=np.zeros(2))
    one = T.Categorize(["s"])
    assert apply(one, unseen, learn(one, learned))["s"].to_pylist() == [0, 2]
    one = T.OneHot("s", 3)
    assert apply(one, unseen, learn(one, learned))["s"].to_pylist()[0] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int64()])
def test_constant_columns_give_finite_values(kind):
    batch = batch_of(x=pa.array([5] * 6, kind))
    for one in (T.Standardize(["x"]), T.MinMaxScale(["x"]), T.RobustScale(["x"]), T.QuantileTransform(["x"])):
        assert set(fit_apply(one, batch)["x"].to_pylist()) == {0.0}
    assert np.abs(fit_apply(T.PowerTransform(["x"]), batch)["x"].to_numpy()).max() < 1e-6
    for one in (T.ClipOutliers(["x"], zscore=1.0), T.ClipOutliers(["x"], iqr=1.5)):
        assert fit_apply(one, batch)["x"].to_pylist() == [5] * 6
