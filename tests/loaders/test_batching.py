"""Batching: every row once for any number of ranks, as many steps on each, and on from any step with any other number."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forebay.engine.epoch_order import EpochOrder, OrderSpec, epoch_order
from forebay.engine.order import Shuffle
from forebay.engine.selection import Selection
from forebay.loaders.batching import Batching, PlainBatching
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.length_batching import LengthBatching

COUNTS = np.array([70, 130, 1, 0, 99, 100, 88], np.int64)
ROWS = int(COUNTS.sum())
LENGTHS = np.random.default_rng(0).integers(0, 50, ROWS).astype(np.int32)


def order(epoch: int, shuffle: Shuffle = "global") -> EpochOrder:
    return epoch_order(
        Selection(COUNTS), OrderSpec(shuffle=shuffle, window_rows=150), epoch, mapped=shuffle != "window"
    )


def plain(spec: FeedSpec) -> Batching:
    return PlainBatching(spec, ROWS)


def by_rows(spec: FeedSpec) -> Batching:
    return LengthBatching(spec, ByLength("n", window_rows=100), LENGTHS, order_of=order, window_rows=ROWS)


def by_tokens(spec: FeedSpec) -> Batching:
    by = ByLength("n", tokens=200, window_rows=100)
    return LengthBatching(spec, by, LENGTHS, order_of=order, window_rows=ROWS)


def windowed(spec: FeedSpec, by: ByLength, lengths: NDArray[np.int32] = LENGTHS) -> Batching:
    spec = replace(spec, shuffle="window")
    return LengthBatching(spec, by, lengths, order_of=lambda epoch: order(epoch, "window"), window_rows=150)


def dealt_by_rows(spec: FeedSpec) -> Batching:
    return windowed(spec, ByLength("n", window_rows=40))


def dealt_by_tokens(spec: FeedSpec) -> Batching:
    return windowed(spec, ByLength("n", tokens=200, window_rows=40))


def dealt_unequal(spec: FeedSpec) -> Batching:
    """Lanes whose rows are of very different lengths, so that rounds are cut from all of them together."""
    lengths = (LENGTHS % 5 + 1) * (1 + 20 * (np.arange(ROWS) % 488 < 61)).astype(np.int32)
    return windowed(spec, ByLength("n", tokens=200, window_rows=40), lengths)


MAKERS = [plain, by_rows, by_tokens, dealt_by_rows, dealt_by_tokens, dealt_unequal]
Make = Callable[[FeedSpec], Batching]


def steps_of(batching: Batching, epoch: int, position: int, most: int = 3) -> list[tuple[NDArray[np.int64], int]]:
    """(positions, rows given by then) of each step."""
    found = []
    for steps in batching.steps(epoch, position, most):
        assert len(steps.sizes) == len(steps.untils) <= most and steps.floor <= steps.positions.min()
        ends = np.cumsum(steps.sizes)
        assert ends[-1] == len(steps.positions)
        found += list(zip(np.split(steps.positions, ends[:-1]), steps.untils, strict=True))
    return found


def on_all(make: Make, world: int, *, position: int = 0, epoch: int = 0, **options: Any) -> list[list[Any]]:
    return [steps_of(make(FeedSpec(rank=rank, world_size=world, **options)), epoch, position) for rank in range(world)]


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=40)
@given(world=st.integers(1, 9), batch_size=st.integers(2, 90), drop_last=st.booleans(), epoch=st.integers(0, 3))
def test_ranks_share_all_rows_and_make_the_steps_that_were_counted(
    make: Make, world: int, batch_size: int, drop_last: bool, epoch: int
) -> None:
    options = {"batch_size": batch_size, "drop_last": drop_last}
    ranks = on_all(make, world, epoch=epoch, **options)
    count = make(FeedSpec(world_size=world, **options)).count(epoch)
    assert {len(one) for one in ranks} == {count}
    assert len({tuple(until for _, until in one) for one in ranks}) == 1
    given_out = np.concatenate([np.zeros(0, np.int64), *(here for one in ranks for here, _ in one)])
    assert all(0 < len(here) <= batch_size for one in ranks for here, _ in one)
    unique = np.unique(given_out)
    if drop_last:
        assert len(unique) == len(given_out) and ROWS - len(unique) <= world * max(batch_size, 100)
    else:
        assert np.array_equal(unique, np.arange(ROWS)) and len(given_out) - ROWS < world


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=40)
@given(
    worlds=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    sizes=st.lists(st.integers(2, 60), min_size=4, max_size=4),
    taken=st.integers(0, 8),
    keep_size=st.booleans(),
)
def test_on_other_ranks_again_and_again_nothing_is_lost_or_comes_twice(
    make: Make, worlds: list[int], sizes: list[int], taken: int, keep_size: bool
) -> None:
    position, given_out, repeated = 0, [], 0
    for at, world in enumerate(worlds):
        # what a batch by length holds depends on its greatest size, so a state is refused where that has changed
        size = sizes[0] if keep_size or make is not plain else sizes[at]
        ranks = on_all(make, world, position=position, batch_size=size)
        last = at == len(worlds) - 1
        for one in ranks:
            given_out += [here for here, _ in (one if last else one[:taken])]
        steps = ranks[0] if last else ranks[0][:taken]
        if steps:
            position = steps[-1][1]
            repeated += world - 1 if position == ROWS else 0
        if position == ROWS:
            break
    together = np.concatenate(given_out)
    assert np.array_equal(np.unique(together), np.arange(ROWS)) and len(together) - ROWS <= repeated


@pytest.mark.parametrize("make", MAKERS)
def test_steps_do_not_depend_on_how_many_are_made_at_a_time(make: Make) -> None:
    batching = make(FeedSpec(batch_size=16, rank=1, world_size=3))
    whole = steps_of(batching, 2, 0, most=1)
    for most in (2, 7, 1000):
        again = steps_of(batching, 2, 0, most=most)
        assert [(here.tolist(), until) for here, until in again] == [(here.tolist(), until) for here, until in whole]


DEALT = [dealt_by_rows, dealt_by_tokens, dealt_unequal]


@pytest.mark.parametrize("make", DEALT)
@pytest.mark.parametrize("world", [2, 4, 8])
def test_ranks_are_given_rows_of_their_own_lanes_from_wherever_they_begin(make: Make, world: int) -> None:
    untils = [
        0,
        *(until for one in (1, 3) for _, until in steps_of(make(FeedSpec(batch_size=7, world_size=one)), 1, 0)),
    ]
    lanes, all_lanes = 0, 0
    for position in untils[:60:3]:
        for rank in range(world):
            batching = make(FeedSpec(batch_size=7, rank=rank, world_size=world))
            for steps in batching.steps(1, position, 3):
                lanes, all_lanes = lanes + steps.own, all_lanes + (not steps.own)
                assert not steps.own or (steps.positions % world == rank).all()
    assert all_lanes == 0 if make is not dealt_unequal else all_lanes > lanes > 0


@pytest.mark.parametrize("make", DEALT)
@settings(max_examples=20)
@given(world=st.integers(1, 9), batch_size=st.integers(2, 60), epoch=st.integers(0, 3))
def test_batches_of_a_step_are_the_next_ones_for_any_number_of_ranks(
    make: Make, world: int, batch_size: int, epoch: int
) -> None:
    batches = [here.tolist() for here, _ in steps_of(make(FeedSpec(batch_size=batch_size)), epoch, 0)]
    ranks = on_all(make, world, epoch=epoch, batch_size=batch_size)
    for at, step in enumerate(zip(*ranks, strict=True)):
        here = [rank.tolist() for rank, _ in step]
        expected = batches[at * world : (at + 1) * world]
        assert all(one in here for one in expected) and len(here) == world


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_over_behind_the_last_step_and_not_before(make: Make) -> None:
    for drop_last in (False, True):
        batching = make(FeedSpec(batch_size=31, world_size=2, drop_last=drop_last))
        untils = [0, *(until for _, until in steps_of(batching, 0, 0))]
        assert [batching.is_over(0, until) for until in untils] == [False] * (len(untils) - 1) + [True]


def test_the_short_last_step_is_split_evenly() -> None:
    ranks = on_all(plain, 4, batch_size=100)  # 488 rows: 400, then 88
    assert [len(one[1][0]) for one in ranks] == [22] * 4
    ranks = on_all(lambda spec: PlainBatching(spec, 402), 4, batch_size=100)
    assert [one[1][0].tolist() for one in ranks] == [[400], [401], [400], [400]]


def test_a_mixture_without_end_goes_on() -> None:
    batching = PlainBatching(FeedSpec(batch_size=8), None)
    assert batching.count(0) is None and not batching.is_over(0, 10**12)
    assert next(batching.steps(0, 10**12, 2)).untils == [10**12 + 8, 10**12 + 16]


@given(tokens=st.integers(1, 400), padded=st.booleans(), batch_size=st.sampled_from([1, 5, 50]))
@settings(max_examples=40)
def test_a_budget_of_tokens_is_kept_unless_a_row_is_longer(tokens: int, padded: bool, batch_size: int) -> None:
    by = ByLength("n", tokens=tokens, padded=padded, window_rows=64)
    batching = LengthBatching(FeedSpec(batch_size=batch_size), by, LENGTHS, order_of=order, window_rows=ROWS)
    source = order(0).source_positions(np.arange(ROWS))
    for here, _ in steps_of(batching, 0, 0):
        lengths = LENGTHS[source[here]]
        cost = len(here) * int(lengths.max()) if padded else int(lengths.sum())
        assert cost <= tokens or len(here) == 1
        assert batch_size == 1 or len(here) <= batch_size  # a batch_size of 1, torch's default, is no bound


def test_rows_of_about_the_same_length_come_together() -> None:
    def padding(make: Make) -> float:
        source = order(0).source_positions(np.arange(ROWS))
        batches = [LENGTHS[source[here]] for here, _ in steps_of(make(FeedSpec(batch_size=10)), 0, 0)]
        return sum(int(one.max()) * len(one) for one in batches) / int(LENGTHS.sum())

    assert padding(by_rows) < 1.1 < 1.5 < padding(plain)


def test_batches_by_length_do_not_come_sorted() -> None:
    source = order(0).source_positions(np.arange(ROWS))
    means = [float(LENGTHS[source[here]].mean()) for here, _ in steps_of(by_rows(FeedSpec(batch_size=10)), 0, 0)]
    assert means[:10] != sorted(means[:10])


@pytest.mark.parametrize("shuffle", ["global", "window"])
def test_at_a_trillion_rows_any_step_is_at_hand(shuffle: Shuffle) -> None:
    fragments, rows = 10_000, 10**12
    selection = Selection(np.full(fragments, rows // fragments, np.int64))
    spec = OrderSpec(shuffle=shuffle, seed=3, window_rows=200_000)
    batching = PlainBatching(FeedSpec(batch_size=4096, shuffle=shuffle, rank=5, world_size=64), rows)
    assert batching.count(0) == -(-rows // (4096 * 64))
    whole = epoch_order(selection, spec, 7, mapped=shuffle == "global")
    rng = np.random.default_rng(0)
    seen = []
    for step in rng.choice(rows // (4096 * 64), 20, replace=False).tolist():
        position = step * 4096 * 64
        here = next(batching.steps(7, position, 1))
        again = epoch_order(selection, spec, 7, mapped=shuffle == "global")  # nothing is kept from step to step
        for one, other in zip(whole.locate(here.positions), again.locate(here.positions), strict=True):
            assert np.array_equal(one, other)
        fragment, row = again.locate(here.positions)
        assert row.max() < rows // fragments and here.untils == [position + 4096 * 64]
        seen.append(fragment * (rows // fragments) + row)
    assert len(np.unique(np.concatenate(seen))) == 20 * 4096
