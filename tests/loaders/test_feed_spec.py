"""What is asked of the feed, and its state."""

from dataclasses import asdict

import pytest

from forebay.engine.fingerprint import fingerprint
from forebay.formats.errors import SpecError, StateError
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec, FeedState


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": 2.0}, "batch_size is 2.0"),
        ({"threads": -1}, "num_workers is -1"),
        ({"python_processes": -2}, "python_processes is -2"),
        ({"rank": 2, "world_size": 2}, "rank is 2 of world_size 2; expected 0 <= rank < world_size"),
        ({"rank": -1}, "rank is -1"),
    ],
)
def test_what_makes_no_sense_is_said(options: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        FeedSpec(**options)


def test_steps_are_counted_from_rows_alone() -> None:
    assert FeedSpec(batch_size=10, world_size=3).steps(91) == 4
    assert FeedSpec(batch_size=10, world_size=3, drop_last=True).steps(91) == 3
    assert FeedSpec(batch_size=10).steps(0) == 0 and FeedSpec(batch_size=10).global_batch == 10


def test_orders_that_were_redefined_are_told_from_those_of_before() -> None:
    windows, anywhere = FeedSpec(shuffle="window"), FeedSpec(shuffle="global")
    assert windows.identity("data", mixed=True) != windows.identity("data")
    assert anywhere.identity("data", mixed=True) == anywhere.identity("data")
    by = FeedSpec(shuffle="window", by_length=ByLength("n"))
    before = fingerprint("data", ["window", None, 8, asdict(ByLength("n")), 1])
    assert by.identity("data") != before


def test_lanes_can_be_dealt_where_the_ranks_divide_them() -> None:
    assert FeedSpec(shuffle="window", world_size=4).dealt and not FeedSpec(shuffle="window", world_size=3).dealt
    assert FeedSpec().dealt and not FeedSpec(world_size=2).dealt
    assert FeedSpec(shuffle="window", lanes=6).dealt_lanes == 6 and FeedSpec(shuffle="global").dealt_lanes == 1


def test_threads_ranks_and_sizes_are_no_part_of_the_identity() -> None:
    one = FeedSpec(batch_size=10, shuffle="window").identity("data")
    assert one == FeedSpec(batch_size=3, shuffle="window", threads=4, rank=1, world_size=2, drop_last=True).identity(
        "data"
    )
    assert one != FeedSpec(batch_size=10, shuffle="window").identity("other")
    assert one != FeedSpec(batch_size=10, shuffle="window", lanes=4).identity("data")
    assert FeedSpec(window_rows=5).identity("data") == FeedSpec(window_rows=6).identity("data")  # there are no windows


def test_a_state_comes_back_from_json() -> None:
    state = FeedState(3, 1, 4096, "abc")
    assert FeedState.from_json(state.to_json(), "abc", seed=3) == state
    with pytest.raises(StateError, match="fingerprint abc, here xyz"):
        FeedState.from_json(state.to_json(), "xyz", seed=3)
    with pytest.raises(StateError, match="no state of such a loader: found keys none"):
        FeedState.from_json({}, "abc", seed=3)
    with pytest.raises(StateError, match="of version 7; this forebay reads version"):
        FeedState.from_json({**state.to_json(), "version": 7}, "abc", seed=3)
    with pytest.raises(SpecError, match="made with seed=3, this loader has seed=4: give the same"):
        FeedState.from_json(state.to_json(), "abc", seed=4)
