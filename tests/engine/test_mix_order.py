"""The order of a mixture: exact proportions, whole passes, each row once a pass, lanes that are asked for their own rows."""

from math import gcd, lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.engine.mix_order import MixOrder

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=5)
LANES = st.sampled_from([1, 2, 3, 4, 8, 12, 16])


def listed(order: MixOrder, start: int, stop: int) -> list[tuple[int, int, int]]:
    """(member, lap, row of the lap) position by position."""
    found: list[tuple[int, int, int] | None] = [None] * (stop - start)
    for member, parts in enumerate(order.split(np.arange(start, stop))):
        for part in parts:
            for at, row in zip(part.at.tolist(), part.rows.tolist(), strict=True):
                assert found[at] is None
                found[at] = (member, part.lap, row)
    assert None not in found
    return found  # type: ignore[return-value]  # there is no None in it


def oracle(weights: list[int], sizes: list[int], lanes: int, count: int) -> list[tuple[int, int, int]]:
    """The same, counted one by one, with what the class says in words."""
    parts, pattern = sum(weights), []
    for position in range(sum(weights)):
        left, p = parts, position
        for member, weight in enumerate(weights):
            before = p * weight // left
            if (p + 1) * weight // left > before:
                pattern.append(member)
                break
            p, left = p - before, left - weight
    places = [
        at // lanes * lanes + (at + at // lanes) % lanes if at // lanes < parts // lanes else at for at in range(parts)
    ]
    pattern = [one for _, one in sorted(zip(places, pattern, strict=True))]
    after, longest = lcm(parts, lanes), count + parts * (1 + max(sizes))
    members = [pattern[(p + p // after % gcd(parts, lanes)) % parts] for p in range(longest)]
    own: list[list[int]] = [[p for p, one in enumerate(members) if one == each] for each in range(len(weights))]
    found: dict[int, tuple[int, int, int]] = {}
    for member, size in enumerate(sizes):
        for lap in range(len(own[member]) // size):
            here = own[member][lap * size : (lap + 1) * size]
            if here[0] >= count:
                break
            asked = [sum(p % lanes == lane for p in here) for lane in range(lanes)]
            in_lanes, given_of, behind = min(asked), [0] * lanes, 0
            for p in here:
                lane = p % lanes
                if given_of[lane] < in_lanes:
                    found[p] = (member, lap, given_of[lane] * lanes + lane)
                else:
                    found[p] = (member, lap, in_lanes * lanes + behind)
                    behind += 1
                given_of[lane] += 1
    return [found[p] for p in range(count)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 60)), min_size=1, max_size=4),
    LANES,
    st.integers(0, 300),
)
def test_it_is_what_its_words_say(members: list[tuple[int, int]], lanes: int, count: int) -> None:
    weights, sizes = [one for one, _ in members], [one for _, one in members]
    order = MixOrder(weights, sizes, lanes)
    assert listed(order, 0, count) == oracle(weights, sizes, lanes, count)


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, LANES, st.integers(0, 10**9), st.data())
def test_proportions_are_exact_in_every_cycle(weights: list[int], lanes: int, cycle: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 10**6), min_size=len(weights), max_size=len(weights)))
    total = sum(weights)
    parts = MixOrder(weights, sizes, lanes).split(np.arange(cycle * total, (cycle + 1) * total))
    assert [sum(len(part.at) for part in each) for each in parts] == weights


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, LANES, st.data())
def test_each_pass_has_each_row_once_and_begins_when_the_last_has_ended(
    weights: list[int], lanes: int, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 150), min_size=len(weights), max_size=len(weights)))
    order = MixOrder(weights, sizes, lanes)
    given_out = listed(order, 0, 1200)
    for member, size in enumerate(sizes):
        mine = [(lap, row) for each, lap, row in given_out if each == member]
        assert [lap for lap, _ in mine] == [at // size for at in range(len(mine))]
        for lap in range(len(mine) // size):
            assert sorted(row for _, row in mine[lap * size : (lap + 1) * size]) == list(range(size))


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, st.sampled_from([2, 4, 8, 16]), st.integers(0, 10**9), st.data())
def test_rows_in_lanes_are_asked_of_the_lane_that_the_position_names(
    weights: list[int], lanes: int, start: int, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 10**5), min_size=len(weights), max_size=len(weights)))
    order = MixOrder(weights, sizes, lanes)
    behind = taken = 0
    for member, parts in enumerate(order.split(start + np.arange(3000))):
        for part in parts:
            inside = part.rows < order.lap(member, part.lap).body
            assert np.array_equal(part.rows[inside] % lanes, (start + part.at[inside]) % lanes)
            behind, taken = behind + int((~inside).sum()), taken + len(part.at)
    assert taken == 3000


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, st.sampled_from([2, 4, 8, 16]), st.integers(0, 20))
def test_few_rows_of_a_pass_are_behind_the_lanes(weights: list[int], lanes: int, lap: int) -> None:
    size = 100_000
    order = MixOrder(weights, [size] * len(weights), lanes)
    for member, weight in enumerate(weights):
        assert size - order.lap(member, lap).body <= (weight + 1) * lanes


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, LANES, st.integers(0, 700), st.data())
def test_any_position_is_at_hand_at_once(weights: list[int], lanes: int, start: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 90), min_size=len(weights), max_size=len(weights)))
    order = MixOrder(weights, sizes, lanes)
    whole = listed(order, 0, 800)
    assert listed(order, start, 800) == whole[start:]
    chosen = data.draw(st.lists(st.integers(0, 799), max_size=20))
    for member, parts in enumerate(order.split(np.array(chosen, np.int64))):
        for part in parts:
            assert [(member, part.lap, row) for row in part.rows.tolist()] == [whole[chosen[at]] for at in part.at]


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, LANES, st.integers(0, 700), st.data())
def test_given_counts_and_no_row_behind_a_position_comes_before_its_floors(
    weights: list[int], lanes: int, position: int, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 90), min_size=len(weights), max_size=len(weights)))
    order = MixOrder(weights, sizes, lanes)
    whole = listed(order, 0, 800)
    assert order.given(position) == [
        sum(member == each for each, _, _ in whole[:position]) for member in range(len(sizes))
    ]
    floors = order.floors(position)
    assert all((lap, row) >= floors[member] for member, lap, row in whole[position:])


@pytest.mark.parametrize("lanes", [1, 8])
def test_far_positions_and_fine_weights(lanes: int) -> None:
    order = MixOrder([23_457, 976_543], [10**9, 10**11], lanes)
    start = 10**12
    for member, parts in enumerate(order.split(np.arange(start, start + 10_000))):
        for part in parts:
            lap = order.lap(member, part.lap)
            assert (part.rows >= 0).all() and part.rows.max() < order.sizes[member]
            assert len(np.unique(part.rows)) == len(part.rows) and lap.body % lanes == 0
    for weights in ([30_001, 69_999], [12_346, 37_654, 50_000]):
        order = MixOrder(weights, [10**7] * len(weights), lanes)
        for member in range(len(weights)):
            assert 10**7 - order.lap(member, 0).body < 300  # nearly all rows are in lanes
