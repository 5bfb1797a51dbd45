"""Slots that all workers share: never with two at once, whoever is killed when; few, bounded, and given back."""

import gc
import multiprocessing
import os
import random
import signal
import time
import weakref
from typing import Any

import pytest
from support import slot_users, torch_sets
from support.arenas import bytes_held, claims_of, right, writer_of
from support.same import same
from torch.utils.data import DataLoader as Stock

import forebay as fb
from forebay.loaders import slot_claims, slot_table
from forebay.loaders.arena import Arena
from forebay.loaders.leases import Leases

FORK = multiprocessing.get_context("fork")
BIG = (3, 64, 64)
PAGE = 4096

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def run(target: Any, *args: Any) -> Any:
    process = FORK.Process(target=target, args=args)
    process.start()
    return process


def test_no_slot_is_ever_with_two_workers() -> None:
    arena = Arena.create(3, PAGE)  # fewer than workers: they meet all the time
    results = FORK.Queue()
    workers = [run(slot_users.take_and_check, arena, number, 2000, results) for number in range(4)]
    found = sorted(results.get(timeout=60) for _ in workers)
    for one in workers:
        one.join()
    assert [wrong for _, _, wrong in found] == [0, 0, 0, 0]
    assert sum(taken for _, taken, _ in found) > 100
    arena.close()


def test_who_is_killed_while_alone_keeps_nobody_out(arena: Arena) -> None:
    run(slot_users.die_alone, arena, signal.SIGKILL).join()
    assert claims_of(arena).claim(100) == 0


def test_who_is_stopped_while_alone_holds_nobody_up(arena: Arena) -> None:
    stopped = run(slot_users.die_alone, arena, signal.SIGSTOP)
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
    assert claims_of(arena).claim(100) == -1, "the batch takes torch's way"
    os.kill(stopped.pid, signal.SIGCONT)
    stopped.join()
    assert claims_of(arena).claim(100) == 0


def test_what_a_dead_worker_had_is_free_again_and_nothing_else(arena: Arena) -> None:
    other = claims_of(arena, worker=1)
    mine = other.claim(100)
    run(slot_users.die_with_slots, arena, 0, 3).join()
    assert not any(other.table.is_free(slot) for slot in range(4))
    Leases(arena).reclaim(0)
    assert [other.table.is_free(slot) for slot in range(5)] == [slot != mine for slot in range(5)]
    assert sum(other.table.capacity) == 0 and bytes_held(arena) <= 2 * PAGE, "nobody knows what it had: it has none"


def test_what_the_user_holds_of_a_dead_worker_stays_until_he_lets_go(arena: Arena) -> None:
    writer, leases = writer_of(arena), Leases(arena)
    memory = writer.allocate(5000)
    assert memory is not None and writer.write(memory, 0, [b"x" * 5000])
    slot, nbytes = writer.send()
    held = leases.lease(slot, nbytes)
    leases.reclaim(0)
    assert claims_of(arena).claim(100) != slot and held.raw[:5000] == b"x" * 5000
    del held
    gc.collect()
    assert writer.claims.table.is_free(slot)


def test_a_sent_slot_is_not_free_while_the_worker_has_a_view(arena: Arena) -> None:
    writer, leases = writer_of(arena), Leases(arena)
    memory = writer.allocate(5000)
    slot, nbytes = writer.send()
    del memory
    kept = leases.lease(slot, nbytes)
    view = writer.arena.export(arena.offset(slot), 10)
    writer._held[slot].append(weakref.ref(view))
    del kept
    gc.collect()
    writer.sent()
    assert not writer.claims.table.is_free(slot)
    del view
    writer.sent()
    assert writer.claims.table.is_free(slot)


def test_a_view_that_a_worker_keeps_is_not_changed_by_other_workers() -> None:
    loader = fb.DataLoader(torch_sets.Images(480, BIG), 4, num_workers=3, collate_fn=slot_users.Keeping())
    for at, batch in enumerate(loader):
        assert right(batch, list(range(4 * at, 4 * at + 4)))


def test_the_slots_of_all_workers_together_are_bounded(arena: Arena) -> None:
    first, second = claims_of(arena, 0, limit=10 * PAGE), claims_of(arena, 1, limit=10 * PAGE)
    one, two = first.claim(100), second.claim(100)
    assert first.reserve(one, 6 * PAGE) and not second.reserve(two, 5 * PAGE) and second.reserve(two, 4 * PAGE)
    assert not first.reserve(one, arena.slot_bytes + 1)


def test_memory_of_slots_that_nobody_needs_goes_back(arena: Arena) -> None:
    writer = writer_of(arena, limit=1 << 24)
    for _ in range(5):  # a burst: none comes back
        assert writer.write(writer.allocate(100 * PAGE), 0, [bytes(100 * PAGE)])
        sent = writer.send()[0]
        writer.sent()
    assert bytes_held(arena) > 500 * PAGE
    for slot in range(5):
        writer.claims.table.reading[slot] = 0
    for _ in range(2 * slot_claims._IDLE_CLAIMS):
        assert writer.write(writer.allocate(100 * PAGE), 0, [bytes(100 * PAGE)])
        sent = writer.send()[0]
        writer.sent()
        writer.claims.table.reading[sent] = 0
    assert bytes_held(arena) < 110 * PAGE


def test_locked_memory_is_never_taken_away(arena: Arena) -> None:
    claims = claims_of(arena, releases=False)
    for _ in range(3):
        slot = claims.claim(100)
        claims.reserve(slot, PAGE)
    for slot in range(3):
        claims.let_go(slot)
    for _ in range(3 * slot_claims._IDLE_CLAIMS):
        claims.let_go(claims.claim(100))
    assert sum(claims.table.capacity) == 3 * PAGE
    leases = Leases(arena, pinned=True)
    leases.reclaim(0)
    assert sum(claims.table.capacity) == 3 * PAGE


def test_a_loop_needs_few_slots() -> None:
    loader = fb.DataLoader(torch_sets.Images(4 * 200, BIG), 4, num_workers=2, persistent_workers=True)
    for _ in loader:
        pass
    table = loader._iterator._context._arena.table()
    assert sum(one > 0 for one in table.capacity) <= 2 * 2 + 2


def test_without_locks_each_worker_keeps_to_slots_of_its_own(monkeypatch: pytest.MonkeyPatch, arena: Arena) -> None:
    def none(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(slot_table.fcntl, "lockf", none)
    first, second = claims_of(arena, 0), claims_of(arena, 1)
    assert [first.claim(100) for _ in range(4)] == [0, 2, 4, -1]
    assert [second.claim(100) for _ in range(4)] == [1, 3, 5, -1]
    found = list(fb.DataLoader(torch_sets.Images(200, BIG), 4, num_workers=2, multiprocessing_context="fork"))
    assert all(right(batch, list(range(4 * at, 4 * at + 4))) for at, batch in enumerate(found))


def test_a_machine_without_memory_sends_batches_torchs_way(monkeypatch: pytest.MonkeyPatch, arena: Arena) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Arena, "write", full)
    writer = writer_of(arena)
    assert not writer.write(writer.allocate(5000), 0, [bytes(5000)])
    assert writer.claims.table.capacity[0] == 0 and writer.allocate(5000) is None
    loader = fb.DataLoader(torch_sets.Images(64, BIG), 8, num_workers=2, multiprocessing_context="fork")
    assert same(list(loader), list(Stock(torch_sets.Images(64, BIG), 8, num_workers=2)))


def test_kills_at_any_moment_lose_no_batch_and_no_slot(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(0)
    loader = fb.DataLoader(
        torch_sets.Images(4 * 300, BIG), 4, num_workers=3, persistent_workers=True, on_worker_death="restart"
    )
    kept = []
    for at, batch in enumerate(loader):
        kept = [*kept[-5:], (at, batch)]
        if at % 40 == 20:
            time.sleep(chance.random() * 0.002)
            os.kill(loader._iterator._workers[chance.randrange(3)].pid, signal.SIGKILL)
        assert all(right(one, list(range(4 * at, 4 * at + 4))) for at, one in kept)
    assert at == 299 and caplog.text.count(": replaced") >= 6
    table = loader._iterator._context._arena.table()
    del kept, batch
    gc.collect()
    list(loader)
    gc.collect()
    assert all(table.is_free(slot) for slot in range(table.slots))
