"""Cleaning: FillNull, FillForward, outliers, DropNulls, DropDuplicates, Cast, ReplaceValues, ValidateRange."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.learning import apply, batch_of, fit_apply, ids, learn

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError, SpecError


def holed(x, share=0.3) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"x": pa.array(x, mask=np.random.default_rng(7).random(len(x)) < share)})


def frame(batch) -> pd.Series:
    return batch["x"].to_pandas()


# FillNull


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fill_null_by_constant_mean_and_median_equals_pandas(kind, rng):
    batch = holed(rng.normal(size=3000).astype(kind))
    x = frame(batch)
    for one, value in [
        (T.FillNull(["x"], value=-1.5), -1.5),
        (T.FillNull(["x"], strategy="mean"), x.astype(np.float64).mean()),
        (T.FillNull(["x"], strategy="median"), x.median()),
    ]:
        state = learn(one, batch) if one.fitted else None
        np.testing.assert_allclose(apply(one, batch, state)["x"].to_numpy(), x.fillna(kind(value)), rtol=1e-6)


def test_fill_null_by_mode_takes_the_least_of_equally_frequent_values():
    numbers = pa.RecordBatch.from_pydict({"x": pa.array([5, 3, None, 3, 5, 9])})
    assert fit_apply(T.FillNull(["x"], strategy="mode"), numbers)["x"].to_pylist() == [5, 3, 3, 3, 5, 9]
    texts = pa.RecordBatch.from_pydict({"x": pa.array(["b", "a", None, ""])})
    assert fit_apply(T.FillNull(["x"], strategy="mode"), texts)["x"].to_pylist() == ["b", "a", "", ""]


def test_nan_is_null_unless_told_otherwise():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([1.0, np.nan, None])})
    assert apply(T.FillNull(["x"], value=0.0), batch)["x"].to_pylist() == [1.0, 0.0, 0.0]
    kept = apply(T.FillNull(["x"], value=0.0, nan=False), batch)["x"].to_pylist()
    assert kept[0] == 1.0 and np.isnan(kept[1]) and kept[2] == 0.0


@pytest.mark.parametrize("type", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_fill_null_works_on_every_integer_type(type):
    batch = pa.RecordBatch.from_pydict({"x": pa.array([1, None, 100], type)})
    made = apply(T.FillNull(["x"], value=7), batch)
    assert made["x"].to_pylist() == [1, 7, 100] and made.schema.field("x").type == batch.schema.field("x").type


def test_fill_null_refuses_values_that_do_not_fit():
    schema = pa.schema([("x", pa.int8()), ("s", pa.string())])
    for name, value in [("x", 300), ("x", 1.5), ("x", "a"), ("s", 1)]:
        with pytest.raises(SchemaError, match=f"value {value!r} does not fit column '{name}'"):
            T.FillNull([name], value=value).output_schema(schema)
    with pytest.raises(SpecError, match="expected a value for 'constant', and none for the strategies that learn one"):
        T.FillNull(["x"])
    empty = pa.RecordBatch.from_pydict({"x": pa.array([None], pa.float32())})
    with pytest.raises(SchemaError, match="had no value at all when the mean was learned"):
        fit_apply(T.FillNull(["x"], strategy="mean"), empty)


@pytest.mark.parametrize("fragment", [7, 100, 10_000])
def test_fill_forward_equals_pandas_within_a_key_on_any_split(fragment, rng):
    n = 1500
    batch = pa.RecordBatch.from_pydict(
        {"x": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.7), "k": pa.array(rng.integers(0, 9, n))}
    )
    table = batch.to_pandas()
    one = T.FillForward(["x"], by=["k"])
    np.testing.assert_array_equal(
        fit_apply(one, batch, fragment)["x"].to_numpy(zero_copy_only=False), table.groupby("k")["x"].ffill()
    )
    state = learn(T.FillForward(["x"]), batch, fragment)
    index = rng.permutation(n)[:200]  # any batch of the same rows gets the same fills
    part = apply(T.FillForward(["x"]), batch.take(pa.array(index)), state, ids(0).__class__(index.astype(np.uint64)))
    np.testing.assert_array_equal(part["x"].to_numpy(zero_copy_only=False), table["x"].ffill()[index])


# outliers and rows that go


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.int16])
def test_clip_outliers_equals_numpy(kind, rng):
    x = (rng.normal(size=3000) * 50).astype(kind)
    wide = x.astype(np.float64)
    low, high = np.quantile(wide, [0.01, 0.99])
    first, third = np.quantile(wide, [0.25, 0.75])
    for settings_, bounds in [
        ({"bounds": (-20, 30)}, (-20, 30)),
        ({"quantiles": (0.01, 0.99)}, (low, high)),
        ({"zscore": 1.5}, (wide.mean() - 1.5 * wide.std(), wide.mean() + 1.5 * wide.std())),
        ({"iqr": 0.5}, (first - 0.5 * (third - first), third + 0.5 * (third - first))),
    ]:
        one = T.ClipOutliers(["x"], **settings_)
        got = apply(one, batch_of(x=x), learn(one, batch_of(x=x)) if one.fitted else None)["x"].to_numpy()
        if np.issubdtype(kind, np.integer):
            bounds = np.ceil(bounds[0]), np.floor(bounds[1])
        np.testing.assert_allclose(got, np.clip(x, *bounds), rtol=1e-6)
        drop = T.DropOutliers(["x"], **settings_)
        kept = apply(drop, batch_of(x=x), learn(drop, batch_of(x=x)) if drop.fitted else None)["x"].to_numpy()
        np.testing.assert_array_equal(kept, x[(x >= bounds[0]) & (x <= bounds[1])])


@given(arrays(np.float64, st.integers(0, 50)), st.floats(-1e3, 0), st.floats(0, 1e3))
@settings(max_examples=100, deadline=None)
def test_clip_equals_numpys_for_any_float(x, low, high):
    got = apply(T.ClipOutliers(["x"], bounds=(low, high)), batch_of(x=x))["x"].to_numpy()
    np.testing.assert_array_equal(got, np.clip(x, low, high))


@given(arrays(np.int64, st.integers(0, 50)), st.integers(-(2**53), 0), st.integers(0, 2**53))
@settings(max_examples=100, deadline=None)
def test_clip_equals_numpys_for_any_integer(x, low, high):
    got = apply(T.ClipOutliers(["x"], bounds=(low, high)), batch_of(x=x))["x"].to_numpy()
    np.testing.assert_array_equal(got, np.clip(x, low, high))


def test_null_and_nan_are_no_outliers():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([None, np.nan, 1.0, 9.0, np.inf])})
    assert apply(T.DropOutliers(["x"], bounds=(0, 5)), batch)["x"].to_pylist()[2] == 1.0
    assert apply(T.DropOutliers(["x"], bounds=(0, 5)), batch).num_rows == 3
    assert apply(T.ClipOutliers(["x"], bounds=(0, 5)), batch)["x"].to_pylist()[3:] == [5.0, 5.0]


def test_one_rule_is_asked_for():
    with pytest.raises(SpecError, match="no rule given; expected exactly one of bounds"):
        T.ClipOutliers(["x"])
    with pytest.raises(SpecError, match="bounds, zscore given; expected exactly one"):
        T.DropOutliers(["x"], bounds=(0, 1), zscore=2)
    with pytest.raises(SpecError, match=r"quantiles is \(0, 2\); expected \(low, high\) with low <= high within"):
        T.ClipOutliers(["x"], quantiles=(0, 2))


def test_drop_nulls_equals_pandas():
    x = pa.array([1.0, None, np.nan, 4.0])
    s = pa.array(["a", "", None, None])
    batch = pa.RecordBatch.from_pydict({"x": x, "s": s})
    assert apply(T.DropNulls(["x"]), batch)["x"].to_pylist() == [1.0, 4.0]
    assert apply(T.DropNulls(["x", "s"]), batch)["s"].to_pylist() == ["a"]
    assert apply(T.DropNulls(["x", "s"], how="all"), batch).num_rows == 3
    with pytest.raises(SpecError, match="how is 'some'; expected 'any' or 'all'"):
        T.DropNulls(["x"], how="some")


@pytest.mark.parametrize("fragment", [3, 50, 10_000])
@pytest.mark.parametrize("columns", [None, ["x"], ["x", "y"]])
def test_drop_duplicates_keeps_the_first_as_polars_does_on_any_split(fragment, columns, rng):
    n = 900
    x = pa.array(rng.choice([1.0, 2.5, np.nan, -0.0, 7.0], n), mask=rng.random(n) < 0.1)
    batch = pa.RecordBatch.from_pydict({"x": x, "y": pa.array(rng.choice(["a", "b", ""], n))})
    got = fit_apply(T.DropDuplicates(columns), batch, fragment)
    want = pl.from_arrow(pa.Table.from_batches([batch])).unique(subset=columns, keep="first", maintain_order=True)
    assert pl.from_arrow(pa.Table.from_batches([got])).equals(want, null_equal=True)


def test_drop_duplicates_compares_texts_nulls_and_bytes_by_their_values():
    texts = ["a", "b", "a", None, "", None, "a" * 100, "b", "", "a" * 100 + "b"]
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        batch = pa.RecordBatch.from_pydict({"x": pa.array(texts, pa.string()).cast(kind), "y": range(10)})
        got = fit_apply(T.DropDuplicates(["x"]), batch, 3)
        assert got["y"].to_pylist() == [0, 1, 3, 4, 6, 9]


def test_drop_duplicates_settles_often_enough_to_keep_few_rows(monkeypatch):
    monkeypatch.setattr("forebay.transforms.drop_duplicates._LEAST", 50)
    batch = pa.RecordBatch.from_pydict({"x": np.arange(1000) % 7})
    assert fit_apply(T.DropDuplicates(["x"]), batch, 20)["x"].to_pylist() == list(range(7))


# Cast, ReplaceValues, ValidateRange

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64]
NAMES = {np.int8: "int8", np.uint8: "uint8", np.int16: "int16", np.uint16: "uint16"} | {
    np.int32: "int32",
    np.uint32: "uint32",
    np.int64: "int64",
}


@pytest.mark.parametrize("after", INTEGERS)
@given(x=arrays(np.float64, st.integers(1, 30), elements=st.floats(width=64) | st.integers(-300, 300).map(float)))
@settings(max_examples=60, deadline=None)
def test_floats_become_integers_or_are_refused_row_by_row(after, x):
    info = np.iinfo(after)
    with np.errstate(invalid="ignore"):
        fits = np.isfinite(x)
        fits[fits] = [info.min <= int(v) <= info.max for v in x[fits]]
    cast = T.Cast(["x"], NAMES[after])
    if fits.all():
        assert apply(cast, batch_of(x=x))["x"].to_pylist() == [int(v) for v in x]
    else:
        with pytest.raises(BadRows, match=f"value does not fit {NAMES[after]}") as caught:
            apply(cast, batch_of(x=x))
        assert caught.value.rows == np.flatnonzero(~fits).tolist()
    null = apply(T.Cast(["x"], NAMES[after], overflow="null"), batch_of(x=x))["x"].to_pylist()
    assert null == [int(v) if ok else None for v, ok in zip(x, fits, strict=True)]


@pytest.mark.parametrize("before", INTEGERS)
@pytest.mark.parametrize("after", INTEGERS)
def test_integers_are_clipped_or_refused(before, after):
    info, into = np.iinfo(before), np.iinfo(after)
    x = np.array([info.min, -1 if info.min else 0, 0, 1, 100, info.max], before)
    want = [min(max(int(v), into.min), into.max) for v in x]
    assert apply(T.Cast(["x"], NAMES[after], overflow="clip"), batch_of(x=x))["x"].to_pylist() == want
    misfits = [at for at, v in enumerate(x) if int(v) != want[at]]
    if misfits:
        with pytest.raises(BadRows) as caught:
            apply(T.Cast(["x"], NAMES[after]), batch_of(x=x))
        assert caught.value.rows == misfits
    else:
        assert apply(T.Cast(["x"], NAMES[after]), batch_of(x=x))["x"].to_pylist() == x.tolist()


def test_casts_to_float_equal_numpys(rng):
    for x in (rng.integers(-(2**62), 2**62, 500), np.array([1e300, -1e300, 0.1, np.nan, np.inf])):
        with np.errstate(over="ignore"):
            want = x.astype(np.float32)
        np.testing.assert_array_equal(apply(T.Cast(["x"], "float32"), batch_of(x=x))["x"].to_numpy(), want)


def test_a_nan_has_no_nearest_integer():
    with pytest.raises(BadRows, match="NaN does not fit int8") as caught:
        apply(T.Cast(["x"], "int8", overflow="clip"), batch_of(x=[1.0, np.nan, 999.0]))
    assert caught.value.rows == [1]
    assert apply(T.Cast(["x"], "int8", overflow="clip"), batch_of(x=[-1e9, 999.0]))["x"].to_pylist() == [-128, 127]


def test_nulls_pass_a_cast():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([None, 3.7, None])})
    assert apply(T.Cast(["x"], "int16"), batch)["x"].to_pylist() == [None, 3, None]


def test_text_is_parsed_and_what_is_no_number_is_bad():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([" 12", "x", None, "7", "9e"])})
    with pytest.raises(BadRows) as caught:
        apply(T.Cast(["x"], "int64"), batch)
    assert caught.value.rows == [1, 4]
    assert apply(T.Cast(["x"], "int64", overflow="null"), batch)["x"].to_pylist() == [12, None, None, 7, None]


def test_impossible_casts_are_refused_before_any_data():
    with pytest.raises(SchemaError, match="column 'x' is list<item: int64>, which cannot become int64"):
        T.Cast(["x"], "int64").output_schema(pa.schema([("x", pa.list_(pa.int64()))]))
    with pytest.raises(SpecError, match="dtype is 'floaty'; expected the name of an Arrow type"):
        T.Cast(["x"], "floaty")


def test_values_are_replaced_all_at_once():
    batch = batch_of(x=[-999, 0, 5])
    assert apply(T.ReplaceValues(["x"], {-999: 0, 0: 1}), batch)["x"].to_pylist() == [0, 1, 5]
    assert apply(T.ReplaceValues(["x"], {-999: 8, 5: 9}), batch)["x"].to_pylist() == [8, 0, 9]
    assert apply(T.ReplaceValues(["x"], {-999: None}), batch)["x"].to_pylist() == [None, 0, 5]
    texts = batch_of(x=["", "n/a", "b"])
    assert apply(T.ReplaceValues(["x"], {"n/a": None, "": "none"}), texts)["x"].to_pylist() == ["none", None, "b"]
    with pytest.raises(SchemaError, match="'a' does not fit column 'x', which is int64"):
        T.ReplaceValues(["x"], {"a": 1}).output_schema(batch.schema)
    with pytest.raises(SpecError, match="expected at least one old value, each once, none null"):
        T.ReplaceValues(["x"], {})


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.uint8])
def test_rows_out_of_range_are_bad_and_named(kind):
    x = np.array([5, 200, 7, 0], kind)
    with pytest.raises(BadRows, match=r"value is not in \[1, 100\]") as caught:
        apply(T.ValidateRange(["x"], low=1, high=100), batch_of(x=x))
    assert caught.value.rows == [1, 3] and caught.value.column == "x"
    assert apply(T.ValidateRange(["x"], low=0), batch_of(x=x)).equals(batch_of(x=x))
    with pytest.raises(SpecError, match="expected at least one, and low <= high"):
        T.ValidateRange(["x"])


def test_null_is_in_any_range_and_nan_in_none():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([None, np.nan, 1.0])})
    with pytest.raises(BadRows) as caught:
        apply(T.ValidateRange(["x"], low=0), batch)
    assert caught.value.rows == [1]
