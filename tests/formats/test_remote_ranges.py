"""Coalesced and cut ranges cover what was asked for, and no more than the gaps allow."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.formats.remote_ranges import coalesce, cut

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda one: (one[0], one[0] + one[1])))


def covered(parts: list[tuple[int, int]]) -> set[int]:
    return {at for start, stop in parts for at in range(start, stop)}


@given(ranges, st.integers(0, 5))
def test_coalesced_ranges_cover_the_same_and_only_gaps_more(wanted: list[tuple[int, int]], gap: int) -> None:
    merged = coalesce(wanted, gap=gap)
    assert covered(wanted) <= covered(merged)
    assert all(later[0] - sooner[1] > gap for sooner, later in zip(merged, merged[1:], strict=False))
    asked = covered(wanted)
    for at in covered(merged) - asked:
        before, after = max(one for one in asked if one < at), min(one for one in asked if one > at)
        assert after - before - 1 <= gap


@given(ranges, st.integers(1, 17))
def test_parts_are_the_ranges_again_and_none_is_much_too_long_or_short(
    wanted: list[tuple[int, int]], part: int
) -> None:
    whole = coalesce(wanted, gap=0)
    parts = cut(whole, part=part)
    assert all(0 < stop - start <= 1.5 * part for start, stop in parts)
    assert all(stop - start >= part // 4 for start, stop in parts if (start, stop) not in whole)
    assert sum(stop - start for start, stop in parts) == sum(stop - start for start, stop in whole)
    assert coalesce(parts, gap=0) == whole


@given(ranges, st.integers(1, 17))
def test_parts_are_cut_where_the_blocks_of_an_object_end(wanted: list[tuple[int, int]], part: int) -> None:
    whole = coalesce(wanted, gap=0)
    ends = {edge for one in whole for edge in one}
    assert all(edge % part == 0 for one in cut(whole, part=part) for edge in one if edge not in ends)


def test_a_short_rest_goes_with_its_neighbour() -> None:
    assert cut([(7, 41)], part=8) == [(7, 16), (16, 24), (24, 32), (32, 41)]
    assert cut([(6, 34)], part=8) == [(6, 8), (8, 16), (16, 24), (24, 32), (32, 34)]
