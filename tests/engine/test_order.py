"""The order: a bijection at any size, the same wherever it is asked, and well mixed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.engine.order import mix_key, mixing, permute, window_order
from forebay.formats.errors import SpecError


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 100_000), st.integers(0, 2**64 - 1))
def test_permute_is_a_bijection(n: int, key: int) -> None:
    found = permute(n, key, np.arange(n))
    assert np.array_equal(np.sort(found), np.arange(n))


@pytest.mark.parametrize("n", range(1, 70))
def test_permute_is_a_bijection_at_every_small_size(n: int) -> None:
    assert sorted(permute(n, 5, np.arange(n)).tolist()) == list(range(n))


def test_permute_at_a_trillion_rows() -> None:
    n = 10**12
    positions = np.random.default_rng(0).integers(0, n, 200_000)
    found = permute(n, 1, positions)
    assert found.min() >= 0 and found.max() < n
    assert len(np.unique(found)) == len(np.unique(positions))
    # uniform over the range: each tenth holds a tenth, within five standard deviations
    tenths = np.bincount(found // (n // 10), minlength=10)
    assert np.abs(tenths - 20_000).max() < 5 * np.sqrt(20_000)


def test_permute_does_not_depend_on_what_else_is_asked() -> None:
    whole = permute(1000, 3, np.arange(1000))
    assert np.array_equal(permute(1000, 3, np.array([999, 0, 500])), whole[[999, 0, 500]])


def test_keys_and_epochs_give_other_orders() -> None:
    orders = {
        tuple(permute(50, mix_key(seed, epoch), np.arange(50)).tolist()) for seed in range(10) for epoch in range(10)
    }
    assert len(orders) == 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 90), st.booleans(), st.integers(0, 5))
def test_a_window_order_gives_every_row_once(counts: list[int], window: int, shuffle: bool, epoch: int) -> None:
    each = np.array(counts, np.int64)
    order = window_order(each, seed=1, epoch=epoch, shuffle=shuffle, window_rows=window)
    rows = order.all_rows(each)
    assert np.array_equal(np.sort(rows), np.arange(each.sum()))
    if not shuffle:
        assert np.array_equal(rows, np.arange(each.sum()))


def test_mixing_tells_orders_apart() -> None:
    n = 10_000
    assert mixing(np.arange(n)) == 0.0
    assert 0.95 < mixing(permute(n, 7, np.arange(n))) < 1.05
    counts = np.full(100, 100)
    small, large = (
        mixing(window_order(counts, seed=0, epoch=0, shuffle=True, window_rows=rows).all_rows(counts))
        for rows in (100, 5000)
    )
    assert small > 0.8 and large > 0.8


def test_a_window_of_no_rows_is_refused() -> None:
    with pytest.raises(SpecError, match="window_rows is 0"):
        window_order(np.array([1]), seed=0, epoch=0, shuffle=True, window_rows=0)
