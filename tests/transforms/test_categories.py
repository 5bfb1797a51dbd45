"""Categorize, HashCategory, OneHot, TargetEncode, Bucketize, Modulo, NormalizeRows, TimestampFeatures."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import preprocessing as sk
from support.learning import apply, batch_of, fit_apply, ids, learn

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms.fit import UNSEEN
from forebay.transforms.target_encode import fold
from forebay.transforms.transform import Rows

HASHES_OF_TEXT = [154396, 966300, 766129, 73559]
HASHES_OF_NUMBERS = [1, 354594, 740613, 77332]


@pytest.mark.parametrize("fragment", [1, 13, 10_000])
def test_ids_are_those_of_scikit_learn_up_to_their_order(fragment, rng):
    x = rng.choice(["a", "bb", "", "ccc", "dd"], 500, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    got = fit_apply(T.Categorize(["x"]), batch_of(x=x), fragment)["x"].to_numpy()
    want = sk.OrdinalEncoder(categories=[list(pd.Series(x).value_counts().index)]).fit_transform(x[:, None])[:, 0]
    assert np.array_equal(got, want.astype(np.int64) + 2)


def test_unknown_is_0_and_null_is_1_and_rare_values_are_unknown():
    one = T.Categorize(["x"], min_count=2)
    state = learn(one, batch_of(x=["a", "a", "b", "c", "c", "c"]))
    seen = pa.RecordBatch.from_pydict({"x": pa.array(["c", "a", "b", None, "new"])})
    assert apply(one, seen, state)["x"].to_pylist() == [2, 3, 0, 1, 0]
    few = T.Categorize(["x"], max_size=1)
    assert apply(few, seen, learn(few, batch_of(x=["a", "b", "b"])))["x"].to_pylist() == [0, 0, 2, 1, 0]


@pytest.mark.parametrize("kind", ["string", "large_string", "int8", "int64", "uint16"])
def test_hashes_are_spread_and_stay_the_same(kind):
    values = [str(v) for v in range(100)] if "string" in kind else list(range(100))
    batch = pa.RecordBatch.from_pydict({"x": pa.array([*values, None], kind)})
    got = apply(T.HashCategory(["x"], 1000), batch)["x"].to_pylist()
    assert got[-1] == 0 and all(1 <= v < 1000 for v in got[:-1]) and len(set(got)) > 90
    assert apply(T.HashCategory(["x"], 1000), batch.slice(37))["x"].to_pylist() == got[37:]
    assert apply(T.HashCategory(["x"], 1000, seed=1), batch)["x"].to_pylist() != got


def test_hashes_are_part_of_the_format():
    texts = batch_of(x=["", "a", "flight", "a longer text, beyond eight bytes"])
    assert apply(T.HashCategory(["x"], 1 << 20), texts)["x"].to_pylist() == HASHES_OF_TEXT
    numbers = batch_of(x=[0, 1, -1, 2**62])
    assert apply(T.HashCategory(["x"], 1 << 20), numbers)["x"].to_pylist() == HASHES_OF_NUMBERS


@given(st.lists(st.text(max_size=20), max_size=20))
@settings(max_examples=60, deadline=None)
def test_equal_texts_have_equal_hashes_wherever_they_stand(texts):
    batch = pa.RecordBatch.from_pydict({"x": pa.array(["x", *texts], pa.string())}).slice(1)
    got = apply(T.HashCategory(["x"], 1 << 30), batch)["x"].to_pylist()
    for at, text in enumerate(texts):
        alone = apply(T.HashCategory(["x"], 1 << 30), batch_of(x=[text]))["x"].to_pylist()
        assert alone == [got[at]]


def test_one_hot_equals_scikit_learns(rng):
    x = rng.choice(["b", "a", "d", "c"], 300)
    got = fit_apply(T.OneHot("x", 6), batch_of(x=x))["x"].to_numpy_ndarray()
    assert got.dtype == np.float32 and not got[:, 4:].any()
    np.testing.assert_array_equal(got[:, :4], sk.OneHotEncoder(sparse_output=False).fit_transform(x[:, None]))


def test_one_hot_of_unknown_null_and_too_many():
    state = learn(T.OneHot("x", 2), batch_of(x=["a", "b"]))
    seen = pa.RecordBatch.from_pydict({"x": pa.array(["b", None, "z"])})
    assert apply(T.OneHot("x", 2), seen, state)["x"].to_numpy_ndarray().tolist() == [[0, 1], [0, 0], [0, 0]]
    with pytest.raises(BadRows, match="value was not learned") as caught:
        apply(T.OneHot("x", 2, unknown="raise"), seen, state)
    assert caught.value.rows == [2]
    with pytest.raises(SchemaError, match="has 3 categories, more than size=2"):
        learn(T.OneHot("x", 2), batch_of(x=["a", "b", "c"]))


def table(n=2000):
    rng = np.random.default_rng(8)
    x = rng.choice(["a", "b", "c"], n)
    return pa.RecordBatch.from_pydict({"x": pa.array(x), "y": pa.array(rng.normal(size=n) + (x == "a") * 2.0)})


def test_target_encoding_of_new_rows_equals_scikit_learns():
    batch = table()
    one = T.TargetEncode(["x"], "y", smoothing=7.0)
    seen = pa.RecordBatch.from_pydict({"x": pa.array(["a", "b", "c", "new", None])})
    got = apply(one, seen, learn(one, batch), Rows(np.full(5, UNSEEN)))["x"].to_numpy()
    reference = sk.TargetEncoder(smooth=7.0, target_type="continuous")
    reference.fit(batch["x"].to_numpy(zero_copy_only=False)[:, None].astype(object), batch["y"].to_numpy())
    want = reference.transform(np.array(["a", "b", "c", "new"], object)[:, None])[:, 0]
    np.testing.assert_allclose(got[:4], want, rtol=1e-6)
    assert got[4] == got[3]


def test_target_encoding_of_learned_rows_comes_from_the_other_folds():
    batch = table()
    one = T.TargetEncode(["x"], "y", smoothing=3.0, folds=4)
    got = fit_apply(one, batch)["x"].to_numpy()
    frame = batch.to_pandas()
    frame["fold"] = fold(ids(len(frame)).ids, 4)
    assert frame["fold"].value_counts().min() > len(frame) / 4 * 0.8
    for part in range(4):
        others = frame[frame["fold"] != part]
        prior = others["y"].mean()
        sums, counts = others.groupby("x")["y"].sum(), others.groupby("x")["y"].count()
        want = frame.loc[frame["fold"] == part, "x"].map((sums + 3.0 * prior) / (counts + 3.0))
        np.testing.assert_allclose(got[frame["fold"] == part], want, rtol=1e-6)


def test_a_target_that_is_missing_teaches_nothing():
    batch = pa.RecordBatch.from_pydict({"x": pa.array(["a", "a", "b"]), "y": pa.array([1.0, None, 3.0])})
    one = T.TargetEncode(["x"], "y", smoothing=0.0)
    got = apply(one, batch, learn(one, batch), Rows(np.full(3, UNSEEN)))["x"].to_pylist()
    assert got == [1.0, 1.0, 3.0]


@given(arrays(np.float64, st.integers(0, 40)), st.lists(st.floats(-100, 100), min_size=1, max_size=8, unique=True))
@settings(max_examples=100, deadline=None)
def test_buckets_are_numpys(x, edges):
    got = apply(T.Bucketize(["x"], sorted(edges)), batch_of(x=x))["x"].to_numpy()
    np.testing.assert_array_equal(got, np.digitize(x, sorted(edges)))


def test_edges_must_ascend():
    with pytest.raises(SpecError, match="edges is .2, 1.; expected one or more numbers, ascending"):
        T.Bucketize(["x"], (2, 1))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_modulo_of_integers_is_numpys(kind, data):
    x = data.draw(arrays(kind, st.integers(0, 40)))
    divisor = data.draw(st.integers(1, int(np.iinfo(kind).max)))
    got = apply(T.Modulo(["x"], divisor), batch_of(x=x))["x"].to_numpy()
    np.testing.assert_array_equal(got, x % kind(divisor))
    assert got.dtype == kind


def test_modulo_of_large_and_small_integers_is_exact(rng):
    for reach in (2**50, 2**51, 2**62):
        x = np.concatenate([rng.integers(-reach, reach, 5000), [reach - 1, -reach, 0, 1, -1]])
        for divisor in (1, 2, 3, 10**5, 2**31 - 1, 2**40 + 1, reach - 1):
            got = apply(T.Modulo(["x"], divisor), batch_of(x=x))["x"].to_numpy()
            np.testing.assert_array_equal(got, x % divisor)


def test_a_divisor_beyond_the_type_is_refused():
    with pytest.raises(SchemaError, match="divisor 1000 does not suit column 'x', which is int8"):
        T.Modulo(["x"], 1000).output_schema(pa.schema([("x", pa.int8())]))
    with pytest.raises(SpecError, match="divisor is 0; expected a number above 0"):
        T.Modulo(["x"], 0)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_rows_are_normalized_as_scikit_learn_does(norm, rng):
    x = rng.normal(size=(200, 3))
    x[7] = 0
    got = apply(T.NormalizeRows(["a", "b", "c"], norm=norm), batch_of(a=x[:, 0], b=x[:, 1], c=x[:, 2]))
    want = sk.Normalizer(norm).fit_transform(x)
    np.testing.assert_allclose(np.column_stack([got[k].to_numpy() for k in "abc"]), want, rtol=1e-12)


def test_parts_of_timestamps_are_pandas():
    when = pd.to_datetime(["2024-02-29 23:59:58", "1969-12-31 00:00:01", None, "2023-01-01 12:30:00"])
    batch = pa.RecordBatch.from_pydict({"t": pa.array(when)})
    parts = ("year", "month", "day", "weekday", "day_of_year", "hour", "minute", "second")
    got = apply(T.TimestampFeatures("t", parts=parts), batch)
    for part in parts:
        want = getattr(when, {"weekday": "day_of_week"}.get(part, part))
        assert got[f"t_{part}"].to_pylist() == [None if np.isnan(v) else int(v) for v in want]
    turning = apply(T.TimestampFeatures("t", parts=("hour",), cyclic=True, keep=True), batch)
    assert turning.schema.names == ["t", "t_hour_sin", "t_hour_cos"]
    np.testing.assert_allclose(turning["t_hour_cos"].to_pylist()[3], -1.0, atol=1e-6)
    with pytest.raises(SchemaError, match="is a date, which has no hour"):
        T.TimestampFeatures("d", parts=("hour",)).output_schema(pa.schema([("d", pa.date32())]))
    with pytest.raises(SpecError, match="parts is .'week',.; expected some of year"):
        T.TimestampFeatures("t", parts=("week",))
