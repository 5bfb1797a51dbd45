"""What a fetcher measures of a store, and what it does with that."""

import threading
import time
from typing import Any

import pytest

from forebay.formats.remote_fetch import Fetcher, RemoteOptions
from forebay.formats.remote_object import RemoteObject, Version
from forebay.formats.remote_ranges import Range

PART = 100_000


def reading(seconds: float, lag_at: int = -1) -> Any:
    def read(part: Range, target: memoryview) -> int:
        time.sleep(0.6 if part[0] == lag_at else seconds)
        target[:] = bytes(len(target))
        return len(target)

    return read


def fetch(fetcher: Fetcher, read: Any, count: int, size: int = PART) -> None:
    parts = [(at, at + size) for at in range(0, count * size, size)]
    futures = [fetcher.start(read, part, memoryview(bytearray(size))) for part in parts]
    for part, future in zip(parts, futures, strict=True):
        fetcher.finish(read, part, future)


def test_what_keeps_a_store_busy_is_its_bandwidth_times_its_distance() -> None:
    options = RemoteOptions(connections=64, part_bytes=PART, hedge_after=0)
    near, far = Fetcher(options), Fetcher(options)
    assert near.keeps_busy() == 4 * PART  # nothing is known yet
    fetch(far, reading(0.1), 320)
    assert 4 * 0.1 * 64 * PART / 0.5 < far.keeps_busy() <= 64 * PART
    fetch(near, reading(0.0), 2)
    near._least_seconds, near._bandwidth = 0.001, 1e6
    assert near.keeps_busy() == 4 * PART


def test_a_store_far_away_gets_much_to_do_before_it_is_measured() -> None:
    near, far = (Fetcher(RemoteOptions(part_bytes=1 << 20)) for _ in range(2))
    near.answered(0.0001)
    far.answered(0.2)  # one that had to wait: the quickest answer counts
    far.answered(0.002)
    assert near.keeps_busy() == 4 << 20
    assert far.keeps_busy() == int(4 * 0.002 * 1.25e9)


def test_a_store_far_away_is_not_believed_to_be_slow_at_once() -> None:
    fetcher = Fetcher(RemoteOptions(connections=64, part_bytes=PART, hedge_after=0))
    fetcher.answered(0.01)
    supposed = int(4 * int(0.01 * 1.25e9))
    assert fetcher.keeps_busy() == min(supposed, 64 * PART)
    fetcher.answered(0.0002)
    fetch(fetcher, reading(0.3), 2)
    assert fetcher.keeps_busy() == 4 * int(0.0002 * 1.25e9)
    fetch(fetcher, reading(0.3), 64 * 5)
    assert fetcher.keeps_busy() > 4 * 0.3 * 30 * PART


def test_time_in_which_nothing_is_asked_for_is_no_part_of_the_bandwidth() -> None:
    fetcher = Fetcher(RemoteOptions(part_bytes=PART))
    fetch(fetcher, reading(0.0), 4)
    again = time.monotonic()
    fetch(fetcher, reading(0.0), 1)
    assert fetcher._since >= again and fetcher._nbytes_since <= PART


def test_rivals_ask_for_no_more_than_their_share_of_the_bytes() -> None:
    fetcher = Fetcher(RemoteOptions(part_bytes=PART, hedge_share=0.05))
    fetch(fetcher, reading(0.001), 20)
    fetch(fetcher, reading(0.001, lag_at=0), 1)
    assert fetcher.counts.hedges == 1
    fetch(fetcher, reading(0.001, lag_at=0), 1)
    assert fetcher.counts.hedges == 1  # a second one would make it two in twenty-two


def test_a_long_request_is_not_late_because_short_ones_are_quick() -> None:
    fetcher = Fetcher(RemoteOptions(part_bytes=PART, hedge_share=1.0))
    fetch(fetcher, reading(0.0), 40, size=100)
    fetch(fetcher, reading(0.2), 1)
    assert fetcher.counts.hedges == 0


@pytest.mark.parametrize("askers", [1, 40])
def test_who_asks_while_a_look_is_under_way_shares_the_next(askers: int) -> None:
    looks = []

    def look() -> tuple[None, Version]:
        looks.append(time.monotonic())
        time.sleep(0.05)
        return None, Version(1, "a")

    one = RemoteObject("x", Fetcher(RemoteOptions()), look, None)
    looks.clear()
    threads = [threading.Thread(target=one.check_version) for _ in range(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(looks) <= 3 if askers > 1 else len(looks) == 1
    one.check_version()
    assert looks[-1] > looks[0] or askers == 1
