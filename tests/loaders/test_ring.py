"""The ring: memory is used again when nothing can see it any more, and not before."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from forebay.loaders import device, ring
from forebay.loaders.ring import Ring
from forebay.transforms.stage import TensorSpec

WORDS = TensorSpec((), np.dtype(np.int64))


class Passing:
    """A mark of a device that passes when the test says so."""

    def __init__(self) -> None:
        self.passed = False

    def query(self) -> bool:
        return self.passed


def test_slots_begin_at_a_line_of_memory() -> None:
    assert all(Ring().take(size).whole.data_ptr() % 64 == 0 for size in (1, 1000, 1 << 20, 40 << 20))


def test_memory_comes_back_with_the_last_view_and_only_then() -> None:
    one = Ring()
    slot = one.take(1000)
    address = slot.whole.data_ptr()
    view = slot.whole[10:20].view(torch.int16).numpy()[1:3]  # NumPy drops what stands between a view and its memory
    del slot
    gc.collect()
    other = one.take(1000)
    assert other.whole.data_ptr() != address
    del view
    gc.collect()
    assert one.take(1000).whole.data_ptr() == address and one.made == 2


def test_a_column_of_the_writers_is_no_lease() -> None:
    one = Ring()
    slot = one.take(1000)
    column = slot.column("x", 5, WORDS)
    del slot
    assert one.take(1000).memory.base is column.base or one.made == 1


def test_slots_that_are_too_small_make_room_for_larger_ones() -> None:
    one = Ring(keep=2)
    slots = [one.take(10) for _ in range(3)]
    del slots
    assert len(one._free) == 2  # what a burst needed beyond `keep` is given back
    assert len(one.take(1000).memory) == 1000 and len(one._free) == 1
    assert one.made == 4


def test_with_overwrite_the_holder_says_when() -> None:
    one = Ring(overwrite=True)
    slot = one.take(100)
    address, kept = slot.whole.data_ptr(), slot.whole
    assert one.take(100).whole.data_ptr() != address
    one.give_back(slot)
    assert one.take(100).whole.data_ptr() == address == kept.data_ptr()
    quiet = Ring()
    slot = quiet.take(100)
    quiet.give_back(slot)
    assert not quiet._free  # its views say so, and they are still there


@pytest.mark.parametrize("overwrite", [False, True])
def test_pinned_memory_waits_for_the_device_that_may_still_read_it(
    monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    marks: list[Passing] = []

    def work_queued() -> tuple[Passing, ...]:
        marks.append(Passing())
        return (marks[-1],)

    monkeypatch.setattr(device, "work_queued", work_queued)
    monkeypatch.setattr(ring, "_allocate", lambda size, pinned: np.empty(size, np.uint8))
    one = Ring(pinned=True, overwrite=overwrite)
    slot = one.take(100)
    address = slot.whole.data_ptr()
    assert not marks
    one.give_back(slot)
    del slot
    assert len(marks) == 1  # set when the last view died: behind all that was queued by then
    other = one.take(100)
    assert other.whole.data_ptr() != address
    marks[0].passed = True
    assert one.take(100).whole.data_ptr() == address
    one.pinned = False  # what is left dies behind the test, where the real device is asked again


def test_where_no_mark_may_be_set_it_is_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[tuple[Passing, ...] | None] = [None, None, (Passing(),)]
    last = answers[-1]
    monkeypatch.setattr(device, "work_queued", lambda: answers.pop(0))
    monkeypatch.setattr(ring, "_allocate", lambda size, pinned: np.empty(size, np.uint8))
    one = Ring(pinned=True)
    address = one.take(100).whole.data_ptr()  # a graph is being captured when its last view dies
    held = [one.take(100), one.take(100)]
    assert all(slot.whole.data_ptr() != address for slot in held) and not answers
    assert last is not None
    last[0].passed = True
    one.pinned = False
    assert one.take(100).whole.data_ptr() == address


def test_marks_and_memory_are_of_the_trainers_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []  # the GPU in use when memory is taken or a mark is set
    current = [0]

    @contextmanager
    def on(number: int) -> Iterator[None]:
        before, current[0] = current[0], number
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(device, "work_queued", lambda: used.append(current[0]) or ())
    monkeypatch.setattr(ring, "_allocate", lambda size, pinned: used.append(current[0]) or np.empty(size, np.uint8))
    one = Ring(pinned=True, gpu=3)
    slot = one.take(100)
    del slot
    one.pinned = False
    assert used == [3, 3] and current == [0]


def test_many_threads_never_share_a_slot() -> None:
    one, wrong = Ring(keep=4), []

    def work(number: int) -> None:
        for _ in range(300):
            slot = one.take(64)
            slot.memory[:] = number
            if not (slot.whole.numpy() == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and one.made <= 300
