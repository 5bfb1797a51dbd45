"""Statistics: right, mergeable, the same for any assignment of fragments to threads, and with the error they state."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forebay.transforms.moments import Moments
from forebay.transforms.quantile_sketch import CAPACITY, QuantileSketch
from forebay.transforms.value_counts import ValueCounts


def merged(parts):
    first, *rest = parts
    for one in rest:
        first.merge(one)
    return first


def of(kind, pieces):
    made = []
    for piece in pieces:
        one = kind()
        one.update(pa.array(piece))
        made.append(one)
    return merged(made)


@given(arrays(np.float64, st.integers(2, 200), elements=st.floats(-1e6, 1e6)), st.integers(1, 10))
@settings(max_examples=100, deadline=None)
def test_merged_moments_equal_numpys(x, parts):
    got = of(Moments, np.array_split(x, parts))
    assert got.count == len(x) and got.least == x.min() and got.greatest == x.max()
    assert got.mean == pytest.approx(x.mean(), rel=1e-9, abs=1e-9)
    assert got.variance == pytest.approx(x.var(), rel=1e-7, abs=1e-6)


def test_moments_do_not_cancel_far_from_zero():
    x = np.random.default_rng(0).normal(1e9, 1.0, 100_000)
    assert of(Moments, np.array_split(x, 37)).variance == pytest.approx(x.var(), rel=1e-6)


def test_null_and_nan_do_not_count():
    one = Moments()
    one.update(pa.array([1.0, None, np.nan, 3.0]))
    assert (one.count, one.mean, one.squares) == (2, 2.0, 2.0)


@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e9, 1e9)), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_quantiles_of_few_values_are_numpys_own(x, parts):
    q = np.linspace(0, 1, 13)
    got = of(QuantileSketch, np.array_split(x, parts))
    assert got.rank_error == 0
    np.testing.assert_array_equal(got.quantiles(q), np.quantile(x, q))


@pytest.mark.parametrize("shape", ["random", "sorted", "falling", "repeated"])
def test_quantiles_of_many_values_keep_the_error_they_state(shape):
    n = 20 * CAPACITY
    x = np.random.default_rng(1).normal(size=n)
    x = {"random": x, "sorted": np.sort(x), "falling": np.sort(x)[::-1], "repeated": np.round(x)}[shape]
    got = of(QuantileSketch, np.array_split(x, 31))
    assert got.count == n and 0 < got.rank_error < n * 1e-3
    ordered = np.sort(x)
    for q, value in zip(np.linspace(0, 1, 101), got.quantiles(np.linspace(0, 1, 101)), strict=True):
        low, high = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
        off = max(low - q * (n - 1), q * (n - 1) - high, 0)
        assert off <= got.rank_error + 1


def test_a_sketch_is_the_same_bit_by_bit_every_time():
    x = np.random.default_rng(2).normal(size=5 * CAPACITY)
    q = np.linspace(0, 1, 50)
    first, second = (of(QuantileSketch, np.array_split(x, 7)).quantiles(q) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@given(st.lists(st.text(max_size=2) | st.none(), max_size=100), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_counts_are_ordered_by_count_then_value_on_any_split(values, parts):
    made = []
    for piece in np.array_split(np.arange(len(values)), parts):
        one = ValueCounts(pa.string())
        one.update(pa.array([values[k] for k in piece], pa.string()))
        made.append(one)
    got = merged(made)
    there = [v for v in values if v is not None]
    want = sorted(set(there), key=lambda v: (-there.count(v), v.encode()))
    found, counts = got.finish()
    assert found.to_pylist() == want and counts.to_pylist() == [there.count(v) for v in want]
    assert got.nulls == len(values) - len(there)


def test_many_parts_are_added_up():
    parts = [[k % 5, k] for k in range(500)]
    made = []
    for part in parts:
        one = ValueCounts(pa.int64())
        one.update(pa.array(part))
        made.append(one)
    values, counts = merged(made).finish()
    assert values.to_pylist()[:5] == [0, 1, 2, 3, 4] and counts.to_pylist()[:5] == [101] * 5
