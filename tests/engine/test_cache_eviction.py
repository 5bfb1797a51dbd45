"""Eviction keeps what is needed soonest, as well as any policy could."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from forebay.engine.cache_eviction import NEVER, Future, Resident, choose_victims


def fewest_misses(keys: tuple[str, ...], room: int) -> int:
    """By trying everything, keeping a newcomer out included."""

    @cache
    def best(at: int, held: frozenset[str]) -> int:
        if at == len(keys):
            return 0
        key = keys[at]
        if key in held:
            return best(at + 1, held)
        after = [held] + ([held | {key}] if len(held) < room else [held - {one} | {key} for one in held])
        return 1 + min(best(at + 1, one) for one in after)

    return best(0, frozenset())


def misses(keys: tuple[str, ...], room: int) -> int:
    future, held, count = Future(keys), {}, 0
    for now, key in enumerate(keys):
        future.used(key)
        if key in held:
            held[key] = Resident(key, 1, now)
            continue
        count += 1
        victims = choose_victims(list(held.values()), len(held) + 1 - room, future=future, incoming=key)
        if victims is not None:
            for one in victims:
                del held[one.key]
            held[key] = Resident(key, 1, now)
    return count


@given(st.lists(st.sampled_from("abcde"), max_size=12).map(tuple), st.integers(1, 3))
def test_with_a_known_future_no_policy_misses_less(keys: tuple[str, ...], room: int) -> None:
    assert misses(keys, room) == fewest_misses(keys, room)


def test_a_data_set_larger_than_the_cache_still_hits_in_every_epoch() -> None:
    keys = tuple("abcdefghij") * 4
    assert misses(keys, 5) <= 10 + 3 * 6  # least recently used would miss all 40


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 1000)), min_size=1, max_size=20), st.integers(1, 500))
def test_without_a_future_the_least_recently_used_go_and_no_more_than_needed(
    sizes: list[tuple[int, int]], need: int
) -> None:
    residents = [Resident(str(at), size, used) for at, (size, used) in enumerate(sizes)]
    victims = choose_victims(residents, need)
    total = sum(one.nbytes for one in residents)
    assert (victims is None) == (total < need)
    if victims is not None:
        assert sum(one.nbytes for one in victims[:-1]) < need <= sum(one.nbytes for one in victims)
        kept = [one for one in residents if one not in victims]
        assert all(old.used_ns <= new.used_ns for old in victims for new in kept)


def test_a_unit_that_is_used_later_than_all_others_is_not_let_in() -> None:
    future = Future(["a", "b", "c"])
    assert choose_victims([Resident("a", 1, 0), Resident("b", 1, 1)], 1, future=future, incoming="c") is None


def test_uses_are_struck_off_in_whatever_order_they_come() -> None:
    future = Future(["a", "b", "a"])
    future.used("b")
    assert (future.next_use("a"), future.next_use("b")) == (0, NEVER)
    future.used("a")
    assert future.next_use("a") == 2
