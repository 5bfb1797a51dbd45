"""The order: a bijection at any size, the same wherever it is asked, and well mixed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.engine.epoch_order import EpochOrder, OrderSpec, epoch_order
from forebay.engine.order import mix_key, offsets_of, permute, window_order
from forebay.engine.selection import Selection
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


def test_permute_equals_the_network_written_out_in_python() -> None:
    def network(value: int, n: int, key: int) -> int:
        bits, word = (n - 1).bit_length(), 2**64 - 1
        small, large = bits // 2, bits - bits // 2
        while True:
            left, right = value >> large, value & ((1 << large) - 1)
            for number in range(6):
                x = right ^ mix_key(key, number)
                x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & word
                x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & word
                x ^= x >> 31
                left, right = right, left ^ (x & ((1 << (large if number % 2 else small)) - 1))
            value = left << large | right
            if value < n:
                return value

    for n in (2, 3, 1000, 10**12, 2**62):
        positions = [0, 1, n // 2, n - 1]
        assert permute(n, 99, np.array(positions)).tolist() == [network(one, n, 99) for one in positions]


def test_permute_does_not_depend_on_what_else_is_asked() -> None:
    whole = permute(1000, 3, np.arange(1000))
    assert np.array_equal(permute(1000, 3, np.array([999, 0, 500])), whole[[999, 0, 500]])


def test_keys_and_epochs_give_other_orders() -> None:
    orders = {
        tuple(permute(50, mix_key(seed, epoch), np.arange(50)).tolist()) for seed in range(10) for epoch in range(10)
    }
    assert len(orders) == 100


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.integers(1, 90),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 5),
)
def test_a_window_order_gives_every_row_once(
    counts: list[int], window: int, lanes: int, shuffle: bool, epoch: int
) -> None:
    each = np.array(counts, np.int64)
    order = window_order(each, seed=1, epoch=epoch, shuffle=shuffle, window_rows=window, lanes=lanes)
    places, rows = order.rows(np.arange(each.sum()))
    found = offsets_of(each)[order.fragments[places]] + rows
    assert np.array_equal(np.sort(found), np.arange(each.sum()))
    if not shuffle:
        assert np.array_equal(found, np.arange(each.sum()))
    starts = [order.start(number) for number in range(order.windows + 1)]
    assert starts[0] == 0 and starts[-1] == each.sum()
    for position in range(int(each.sum())):
        at = order.window_at(position)
        assert starts[at] <= position < starts[at + 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.integers(1, 90),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.data(),
)
def test_ranks_whose_number_divides_the_lanes_need_only_lanes_of_their_own(
    counts: list[int], window: int, lanes: int, data: st.DataObject
) -> None:
    world = data.draw(st.sampled_from([one for one in (1, 2, 4, 8, 16) if lanes % one == 0]))
    order = window_order(np.array(counts), seed=1, epoch=0, shuffle=True, window_rows=window, lanes=lanes)
    for number in range(order.windows):
        positions = np.arange(order.start(number), order.start(number + 1))
        for rank in range(world):
            places, rows = order.rows(positions[positions % world == rank])
            read = order.reads(number, range(rank, lanes, world))
            held = {(one.place, row) for one in read for row in range(one.first, one.stop)}
            assert set(zip(places.tolist(), rows.tolist(), strict=True)) <= held
            assert len(held) <= len(places) + lanes


def test_ranks_read_each_fragment_once_apart_from_where_lanes_meet() -> None:
    order = window_order(np.full(64, 1000), seed=3, epoch=0, shuffle=True, window_rows=4000, lanes=8)
    read = [
        {one.place for number in range(order.windows) for one in order.reads(number, range(rank, 8, 4))}
        for rank in range(4)
    ]
    assert [len(one) for one in read] == [16] * 4
    assert len(set().union(*read)) == 64


def selection(counts: list[int], share: float = 1.0) -> Selection:
    """Fragments of which a share of the rows is left."""
    rng = np.random.default_rng(4)
    kept = {at: np.flatnonzero(rng.random(count) < share).astype(np.uint32) for at, count in enumerate(counts)}
    if share == 1.0:
        return Selection(np.array(counts, np.int64))
    return Selection(np.array([len(one) for one in kept.values()], np.int64), kept)


@pytest.mark.parametrize(
    ("shuffle", "mapped"), [("none", True), ("none", False), ("global", True), ("window", True), ("window", False)]
)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_an_epoch_gives_each_row_that_is_left_once(shuffle: str, mapped: bool, share: float) -> None:
    left = selection([7, 0, 100, 1, 250, 42], share)
    order = epoch_order(left, OrderSpec(shuffle=shuffle, seed=3, window_rows=60), 2, mapped=mapped)  # type: ignore[arg-type]
    fragments, rows = order.locate(np.arange(order.rows))
    found = set(zip(fragments.tolist(), rows.tolist(), strict=True))
    assert len(found) == order.rows == len(left)
    assert found == {(one, int(row)) for one in range(6) for row in left.rows_of(one)}
    some = np.array([5, 0, order.rows - 1])
    assert [one.tolist() for one in order.locate(some)] == [fragments[some].tolist(), rows[some].tolist()]


@pytest.mark.parametrize("fragments", [5, 100, 1000])
def test_mixing_tells_whether_neighbours_stay_neighbours(fragments: int) -> None:
    left = Selection(np.full(fragments, 100_000 // fragments, np.int64))

    def mixing(shuffle: str, window_rows: int = 1, lanes: int = 8) -> float:
        spec = OrderSpec(shuffle=shuffle, window_rows=window_rows, lanes=lanes)  # type: ignore[arg-type]
        return epoch_order(left, spec, 0, mapped=shuffle != "window").mixing()

    assert mixing("none") == 0.0
    assert 0.95 < mixing("global") < 1.05
    # a window gives about its share of the rows, although those that follow one another are of other lanes
    assert mixing("window", 8) < 0.01
    assert 0.08 < mixing("window", 10_000) < 0.15 and 0.08 < mixing("window", 10_000, lanes=1) < 0.15
    assert 0.45 < mixing("window", 50_000) < 0.95
    assert mixing("window", 200_000) > 0.95


def test_mixing_of_few_rows_cannot_be_judged() -> None:
    assert epoch_order(Selection(np.array([3, 1])), OrderSpec(), 0, mapped=True).mixing() == 1.0


def test_a_trillion_rows_in_a_million_fragments_are_found_at_once() -> None:
    left = Selection(np.full(10**6, 10**6, np.int64))
    offsets = offsets_of(left.counts)
    order = EpochOrder(left, offsets, 7, "global", None)
    fragments, rows = order.locate(np.arange(10**12 - 4096, 10**12))
    assert len(set(zip(fragments.tolist(), rows.tolist(), strict=True))) == 4096
    assert fragments.min() >= 0 and fragments.max() < 10**6 and rows.max() < 10**6


@pytest.mark.parametrize("name", ["window_rows", "lanes"])
def test_a_window_of_no_rows_or_lanes_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=f"{name} is 0; expected at least 1"):
        window_order(np.array([1]), seed=0, epoch=0, shuffle=True, **{name: 0})
