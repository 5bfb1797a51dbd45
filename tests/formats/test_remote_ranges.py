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


@given(ranges, st.integers(1, 7))
def test_parts_are_the_ranges_again_and_none_is_too_long(wanted: list[tuple[int, int]], part: int) -> None:
    whole = coalesce(wanted, gap=0)
    parts = cut(whole, part=part)
    assert all(0 < stop - start <= part for start, stop in parts)
    assert sum(stop - start for start, stop in parts) == sum(stop - start for start, stop in whole)
    assert coalesce(parts, gap=0) == whole
