"""Reading ahead keeps the order and the bound, and goes as deep as waiting asks for."""

import threading
import time
from typing import Any

import pytest

from forebay.engine.read_ahead import ReadAhead, read_ahead


class Slow:
    """Counts how many reads are under way at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.most, self.lock = seconds, 0, 0, threading.Lock()

    def __call__(self, item: int) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return item * item


def test_results_come_in_order_and_waiting_makes_it_deeper() -> None:
    slow = Slow(0.02)
    assert list(read_ahead(slow, range(1, 60), size=lambda _: 1)) == [one * one for one in range(1, 60)]
    assert slow.most > 8


def test_no_more_bytes_than_the_limit_are_under_way() -> None:
    slow = Slow(0.005)
    assert len(list(read_ahead(slow, range(1, 30), size=lambda _: 10, limit=35))) == 29
    assert slow.most <= 4


def test_an_item_larger_than_the_limit_still_gets_through() -> None:
    assert list(read_ahead(lambda item: item, [1, 2], size=lambda _: 100, limit=1)) == [1, 2]


def test_an_error_comes_in_its_place_and_the_rest_is_left() -> None:
    done: list[int] = []

    def read(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        done.append(item)
        return item

    found = read_ahead(read, range(1, 1000), size=lambda _: 1)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(found)
    assert len(done) < 100


def ahead_of(slow: Slow, **given: Any) -> ReadAhead[int, int]:
    return ReadAhead(slow, iter(range(200)), size=lambda _: 10, **given)


def test_waiting_goes_no_deeper_than_the_store_can_use() -> None:
    slow, limit = Slow(0.005), [40]
    ahead = ahead_of(slow, limit=lambda: limit[0], first=10)
    assert [ahead.take(at) for at in range(20)] == [at * at for at in range(20)]
    assert ahead.target <= 40 and slow.most <= 6
    limit[0] = 400
    assert [ahead.take(at) for at in range(20, 60)] == [at * at for at in range(20, 60)]
    assert ahead.target > 40
    limit[0] = 20
    ahead.take(60)
    assert ahead.target == 20
    ahead.close()


def test_what_is_needed_first_is_begun_before_it_is_asked_for() -> None:
    slow = Slow(2)
    ahead = ahead_of(slow, first=100)
    deadline = time.monotonic() + 1.5
    while slow.most < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert slow.most == 10
    ahead.close()


def test_items_taken_out_of_turn_are_read_all_the_same() -> None:
    ahead = ahead_of(Slow(0.0), first=20)
    assert [ahead.take(at) for at in (0, 30, 2, 29, 31, 7, 32)] == [at * at for at in (0, 30, 2, 29, 31, 7, 32)]
    ahead.close()


def test_threads_end_when_it_is_dropped() -> None:
    before = threading.active_count()
    ahead = ahead_of(Slow(0.001), first=1000)
    ahead.take(0)
    assert threading.active_count() > before
    del ahead
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_what_is_due_is_not_ahead_so_that_what_comes_after_it_is_begun() -> None:
    begun: list[int] = []
    first_may_end = threading.Event()

    def read(item: int) -> int:
        begun.append(item)
        if item == 0:
            assert first_may_end.wait(20)
        return item

    def comes_to(count: int) -> bool:
        deadline = time.monotonic() + 20
        while len(begun) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)  # more would have begun by then
        return sorted(begun) == list(range(count))

    ahead = ReadAhead(read, range(100), size=lambda _: 10, limit=lambda: 20, first=20)
    assert comes_to(2)
    ahead.due(range(4))  # two of them have not begun
    assert comes_to(6)
    taking = threading.Thread(target=ahead.take, args=(0,))
    taking.start()
    assert comes_to(6)  # what is due is not counted twice
    first_may_end.set()
    taking.join()
    assert [ahead.take(at) for at in range(1, 100)] == list(range(1, 100))
    ahead.close()


def test_items_are_due_in_any_order_and_may_be_due_twice_or_never() -> None:
    ahead = ahead_of(Slow(0.0), first=20)
    ahead.due([3, 1, 30])
    ahead.due([3, 4])
    assert [ahead.take(at) for at in (0, 30, 1, 2, 3, 4, 5)] == [at * at for at in (0, 30, 1, 2, 3, 4, 5)]
    assert [ahead.take(at) for at in range(31, 200)] == [at * at for at in range(31, 200)]
    ahead.close()
