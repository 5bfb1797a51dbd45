"""Huge pages behind slots: the same batches, nothing mapped that is not being written, small pages where there are no others."""

import ctypes
import errno
import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import slot_users, torch_sets

import forebay as fb
from forebay.loaders import huge_pages
from forebay.loaders.arena import HUGE, Arena
from forebay.loaders.huge_pages import HugePages
from forebay.loaders.leases import Leases
from forebay.loaders.slot_claims import SlotClaims
from forebay.loaders.slot_writer import SlotWriter
from forebay.loaders.stacking import stack_into

SHAPE = (3, 512, 512)
ROWS = 5
NBYTES = ROWS * 4 * 3 * 512 * 512
"""15.7 MB: seven huge pages, and half of one."""


def can() -> bool:
    arena = Arena.create(1, HUGE)
    try:
        if arena is not None:
            arena.make_huge(arena.offset(0))
        return arena is not None
    except OSError:
        return False


needs_huge_pages = pytest.mark.skipif(not can(), reason="the system makes no huge pages of shared memory")


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huge_pages, "_SPENT_S", 10.0)  # on a busy machine, too
    made = Arena.create(3, 16 * HUGE)
    assert made is not None
    yield made
    made.close()


def writer_of(arena: Arena, limit: int = 48 * HUGE) -> SlotWriter:
    return SlotWriter(arena, SlotClaims(arena, 0, workers=2, limit=limit))


def batch() -> list[torch.Tensor]:
    return [torch.full(SHAPE, float(row)) for row in range(ROWS)]


def stacked(writer: SlotWriter, rows: list[torch.Tensor]) -> Any:
    memory = writer.allocate(len(rows) * rows[0].nbytes)
    assert memory is not None
    made = torch.frombuffer(memory, dtype=torch.float32).view(len(rows), *rows[0].shape)
    assert stack_into(writer, memory, made, rows)
    return made


def mapped_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Shmem:"))


@needs_huge_pages
def test_a_batch_lies_in_huge_pages_and_is_not_mapped_when_it_is_made(arena: Arena) -> None:
    writer, before = writer_of(arena), mapped_kb()
    made = stacked(writer, batch())
    assert writer.claims.table.huge[0] == 8 * HUGE and mapped_kb() - before < 2 * HUGE // 1024
    assert torch.equal(made, torch.stack(batch()))


@needs_huge_pages
def test_what_lies_in_a_slot_stays_when_pages_become_huge(arena: Arena) -> None:
    writer = writer_of(arena)
    first = writer.allocate(200_000)
    assert first is not None and writer.write(first, 0, [b"x" * 200_000])
    made = stacked(writer, batch())
    last = writer.allocate(5_000)
    assert last is not None and writer.write(last, 0, [b"y" * 5_000])
    assert first.raw == b"x" * 200_000 and torch.equal(made, torch.stack(batch())) and last.raw == b"y" * 5_000
    slot, nbytes = writer.send()
    assert nbytes >= writer.claims.table.huge[slot] and Leases(arena).lease(slot, nbytes).raw[:5] == b"xxxxx"


@needs_huge_pages
def test_a_user_who_reads_the_batch_in_the_worker_leaves_nothing_mapped(arena: Arena) -> None:
    writer, before = writer_of(arena), mapped_kb()
    assert stacked(writer, batch()).sum() > 0 and mapped_kb() - before > NBYTES // 2048
    writer.send()
    writer.sent()
    assert mapped_kb() - before < 2 * HUGE // 1024


@needs_huge_pages
def test_a_slot_whose_memory_was_given_back_has_no_huge_pages(arena: Arena) -> None:
    writer = writer_of(arena)
    stacked(writer, batch())
    Leases(arena).reclaim(0)
    assert writer.claims.table.huge[0] == 0 and os.fstat(arena.fd).st_blocks * 512 < HUGE


@needs_huge_pages
def test_the_limit_holds_with_whole_pages(arena: Arena) -> None:
    writer = writer_of(arena, limit=NBYTES + 4096)
    assert torch.equal(stacked(writer, batch()), torch.stack(batch()))
    assert writer.claims.table.huge[0] == 7 * HUGE and sum(writer.claims.table.capacity) <= NBYTES + 4096


@needs_huge_pages
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_process_maps_them_where_they_can_be(method: str, arena: Arena) -> None:
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=slot_users.make_huge, args=(arena, results))
    process.start()
    assert results.get(timeout=60) == "made"
    process.join()
    assert ctypes.string_at(arena.export(arena.offset(1), 5), 5) == b"there"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOMEM])
def test_where_there_are_none_batches_are_the_same(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena.create(3, 16 * HUGE)
    assert arena is not None
    tries = []

    def none(_: Arena, offset: int) -> None:
        tries.append(offset)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Arena, "make_huge", none)
    writer = writer_of(arena)
    for _ in range(3):
        made = stacked(writer, batch())
        assert torch.equal(made, torch.stack(batch())) and sum(writer.claims.table.huge) == 0
        writer.begin()
    assert len(tries) == 1, "not for each batch"
    loader = fb.DataLoader(torch_sets.Images(16, SHAPE), 4, num_workers=2, multiprocessing_context="fork")
    assert [labels.tolist() for _, labels in loader] == [[at, at + 1, at + 2, at + 3] for at in range(0, 16, 4)]
    arena.close()


def test_pages_that_take_long_are_left_until_the_worker_has_done_more(monkeypatch: pytest.MonkeyPatch) -> None:
    arena, now = Arena.create(1, 16 * HUGE), [0.0]
    assert arena is not None
    monkeypatch.setattr(huge_pages, "time", SimpleNamespace(thread_time=lambda: now[0]))

    def slow(_: Arena, offset: int) -> None:
        now[0] += 0.0046

    monkeypatch.setattr(Arena, "make_huge", slow)
    pages = HugePages(arena, arena.table())
    assert pages.behind(0, 8 * HUGE) == HUGE == pages.behind(0, 8 * HUGE)
    now[0] += 0.025
    assert pages.behind(0, 8 * HUGE) == 2 * HUGE == pages.behind(0, 8 * HUGE)
    now[0] += 10.0
    assert pages.behind(0, 8 * HUGE) == 8 * HUGE == pages.behind(0, 8 * HUGE + HUGE // 2)
    assert pages.rounded(HUGE // 3) == HUGE // 3 and pages.rounded(HUGE // 2) == HUGE
    assert pages.rounded(8 * HUGE + 5) == 8 * HUGE + 5 and pages.rounded(9 * HUGE - 5) == 9 * HUGE
    arena.close()
