"""Lent memory is used again when nobody sees it any more, and never before."""

import gc
import multiprocessing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from forebay.formats.lent_memory import PIXELS, SHARED, SpanMemory

ROOM = 3 << 20
SIZE = ROOM // 64 * 63
"""Bytes that are given so much room."""


def test_memory_is_used_again_when_its_buffer_is_gone() -> None:
    memory = SpanMemory()
    buffer, view = memory.take(SIZE)
    address, made = buffer.address, memory.made
    del buffer, view
    again, _ = memory.take(SIZE - 1000)
    assert (again.address, memory.made) == (address, made)
    assert again.size == SIZE - 1000


def part_of(kind: str, buffer: pa.Buffer, view: memoryview) -> Any:
    if kind == "slice":
        return buffer.slice(64, 1000).slice(0, 8)
    if kind == "array":
        return pa.Array.from_buffers(pa.uint8(), 8, [None, buffer.slice(128, 8)]).slice(1)
    return view[5:9] if kind == "view" else np.frombuffer(buffer, np.uint8)[16:].view(np.uint8)[:4]


@pytest.mark.parametrize("kept", ["slice", "array", "view", "numpy"])
def test_memory_that_is_still_seen_is_not_used_again(kept: str) -> None:
    memory = SpanMemory()
    buffer, view = memory.take(SIZE)
    view[:] = bytes([7]) * SIZE
    held = part_of(kept, buffer, view)
    address = buffer.address
    del buffer, view
    gc.collect()
    other, target = memory.take(SIZE)
    assert other.address != address
    target[:] = bytes(SIZE)
    seen = np.asarray(held) if not isinstance(held, pa.Buffer | memoryview) else np.frombuffer(held, np.uint8)
    assert (seen == 7).all()
    del held, seen
    third, _ = memory.take(SIZE)
    assert third.address == address


def test_what_is_kept_unused_is_bounded_and_the_longest_unused_goes_first() -> None:
    memory = SpanMemory(kept_bytes=2 * ROOM)
    taken = [memory.take(SIZE) for _ in range(4)]
    del taken
    assert memory.free_bytes == 2 * ROOM


def test_a_buffer_much_smaller_than_what_is_free_gets_its_own() -> None:
    memory = SpanMemory()
    large = memory.take(4 * SIZE)
    del large
    made = memory.made
    small, _ = memory.take(SIZE)
    assert memory.made == made + ROOM
    assert small.size == SIZE


def test_short_buffers_ask_the_system_for_nothing() -> None:
    memory = SpanMemory()
    buffer, view = memory.take(100)
    view[:] = b"x" * 100
    assert buffer.to_pybytes() == b"x" * 100
    assert memory.made == 0


def test_spans_of_a_round_length_and_of_a_little_more_share_memory() -> None:
    memory = SpanMemory()
    buffer, view = memory.take(8 << 20)
    address = buffer.address
    del buffer, view
    assert memory.take((8 << 20) + 400)[0].address == address


def test_what_is_to_spare_can_be_lent_again() -> None:
    memory = SpanMemory()
    buffer, view = memory.take(SIZE)
    address = buffer.address
    del buffer, view
    memory.spare()
    again, target = memory.take(SIZE)
    target[:] = b"x" * SIZE
    assert again.address == address and again.to_pybytes() == b"x" * SIZE


def test_what_is_let_go_is_the_systems_and_what_is_seen_stays() -> None:
    memory = SpanMemory()
    seen, view = memory.take(2 << 20)
    view[:4] = b"kept"
    memory.take(3 << 20)
    assert memory.free_bytes >= 3 << 20
    memory.let_go()
    assert memory.free_bytes == 0 and seen.slice(0, 4).to_pybytes() == b"kept"
    del seen, view
    assert memory.free_bytes >= 2 << 20


@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")
@pytest.mark.parametrize("memory", [SHARED, PIXELS], ids=["SHARED", "PIXELS"])
def test_a_process_forked_while_another_thread_takes_memory_takes_some_too(memory: SpanMemory) -> None:
    def take() -> None:
        memory.take(2 << 20)

    with memory._lock:  # as a thread has it that is not in the child
        child = multiprocessing.get_context("fork").Process(target=take)
        child.start()
        child.join(20)
        stuck = child.is_alive()
        child.kill()
    child.join()
    assert not stuck and child.exitcode == 0
