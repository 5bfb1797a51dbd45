"""Page-locking and marks, on a recorded CUDA: what is asked of it in which order, and what becomes of its refusals."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from forebay.loaders import device, ring
from forebay.loaders.arena import Arena
from forebay.loaders.leases import Leases
from forebay.loaders.ring import Ring

PAGE = 4096


class Mark:
    """Work of the recorded device."""

    def __init__(self) -> None:
        self.passed = False

    def query(self) -> bool:
        return self.passed


class Cuda:
    """A CUDA device that writes down what is asked of it."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.status, self.using = 0, 0
        self.marks: list[Mark] = []

    def cudaHostRegister(self, address: int, nbytes: int, flags: int) -> int:
        self.log.append(("register", address, nbytes))
        return self.status

    def cudaHostUnregister(self, address: int) -> int:
        self.log.append(("unregister", address))
        return self.status

    @contextmanager
    def device(self, number: int) -> Iterator[None]:
        before, self.using = self.using, number
        yield
        self.using = before

    def work_queued(self) -> tuple[Mark, ...]:
        self.log.append(("mark", self.using))
        self.marks.append(Mark())
        return (self.marks[-1],)

    def zeros(self, *_: Any, **__: Any) -> None:
        self.log.append(("kernel",))
        raise RuntimeError("CUDA error: out of memory")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    made = Cuda()
    monkeypatch.setattr(device, "number", lambda: 3)
    monkeypatch.setattr(device, "_runtime", lambda: made)
    monkeypatch.setattr(device, "work_queued", made.work_queued)
    monkeypatch.setattr(device, "wait", lambda: made.log.append(("wait", made.using)))
    monkeypatch.setattr(torch.cuda, "device", made.device)
    monkeypatch.setattr(torch, "zeros", made.zeros)
    monkeypatch.setattr(ring, "_allocate", lambda size, pinned: np.empty(size, np.uint8))
    yield made
    gc.collect()
    device._kept.clear()


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create(4, 16 * PAGE)
    assert made is not None
    for slot in range(4):
        made.back(made.offset(slot), 16 * PAGE)
    yield made
    made.close()


def test_memory_is_locked_once_anew_when_it_grows_and_unlocked_behind_all_work(cuda: Cuda, arena: Arena) -> None:
    leases = Leases(arena, pinned=True, gpu=3)
    for nbytes in (2 * PAGE, PAGE, 4 * PAGE):
        memory = leases.lease(1, nbytes)
        del memory
    kept = leases.lease(2, PAGE)
    first, second = cuda.log[0][1], cuda.log[-1][1]
    leases.close()
    assert ("wait", 3) not in cuda.log  # a batch is still held
    del kept
    assert cuda.log == [
        ("register", first, 2 * PAGE),
        ("mark", 3),
        ("mark", 3),
        ("unregister", first),
        ("register", first, 4 * PAGE),
        ("mark", 3),
        ("register", second, PAGE),
        ("mark", 3),
        ("wait", 3),
        ("unregister", first),
        ("unregister", second),
    ]


def test_a_slot_is_the_workers_again_when_the_device_has_read_it(cuda: Cuda, arena: Arena) -> None:
    leases = Leases(arena, pinned=True)
    table = arena.table()
    memory = leases.lease(0, PAGE)
    table.reading[0] = 1
    del memory
    leases.settle()
    assert table.reading[0] == 1
    cuda.marks[0].passed = True
    leases.settle()
    assert table.reading[0] == 0
    leases.close()


def test_where_memory_cannot_be_locked_batches_come_all_the_same(
    cuda: Cuda, arena: Arena, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.status = 2
    leases, table = Leases(arena, pinned=True), arena.table()
    for number in range(3):
        table.reading[number] = 1
        memory = leases.lease(number, PAGE)
        del memory
        assert table.reading[number] == 0  # nothing reads it but copies that wait for themselves
    # it is not tried for each batch, and the error that CUDA keeps is taken out of the way of the trainer's next kernel
    assert [what[0] for what in cuda.log] == ["register", "kernel"]
    assert "cannot page-lock 4096 bytes" in caplog.text and "cudaHostRegister says 2" in caplog.text
    leases.close()
    assert ("wait", 0) not in cuda.log


def test_a_refusal_to_unlock_is_taken_out_of_the_way_too(cuda: Cuda) -> None:
    assert device.pin(PAGE, PAGE)
    cuda.status = 1
    device.unpin(PAGE)
    assert [what[0] for what in cuda.log] == ["register", "unregister", "kernel"]


def test_memory_of_a_ring_that_is_gone_is_kept_until_the_device_has_read_it(cuda: Cuda) -> None:
    one = Ring(pinned=True, gpu=2)
    slot, other = one.take(100), one.take(100)
    kept = slot.whole  # the trainer's copy of this one is under way when all is dropped
    del slot, other, one
    gc.collect()
    assert not device._kept and cuda.log == [("mark", 2)]  # the last batch holds what there is
    del kept
    gc.collect()
    assert len(device._kept) == 2 and cuda.log[1:] == [("mark", 2)]
    cuda.marks[0].passed = True
    device.let_go_of_read()
    assert [marks for _, marks, _ in device._kept] == [(cuda.marks[1],)]
    cuda.marks[1].passed = True
    device.let_go_of_read()
    assert not device._kept


def test_rings_in_many_threads_let_go_of_what_is_kept(cuda: Cuda) -> None:
    wrong: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(200):
                device.keep_until_read(bytearray(8), (), None)
                device.let_go_of_read()
        except Exception as error:  # noqa: BLE001  # it is looked at below
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    device.let_go_of_read()
    assert not wrong and not device._kept


def test_memory_that_was_not_pinned_goes_at_once() -> None:
    one = Ring()
    slot = one.take(100)
    del slot, one
    assert not device._kept


@pytest.mark.parametrize(("there", "forked", "expected"), [(False, False, None), (True, True, None), (True, False, 1)])
def test_a_process_forked_from_one_that_uses_cuda_has_no_device(
    monkeypatch: pytest.MonkeyPatch, there: bool, forked: bool, expected: int | None
) -> None:
    answers: dict[str, Callable[[], Any]] = {
        "is_available": lambda: there,
        "_is_in_bad_fork": lambda: forked,
        "current_device": lambda: 1,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    assert device.number() == expected
    if expected is None:
        assert not device.pin(PAGE, PAGE)


def test_marks_are_behind_the_stream_in_use_and_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def record_event(self) -> str:
            return self.name

    side, default, capturing = Stream("side"), Stream("default"), [False]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: side)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda: default)
    marks = device.work_queued()
    assert marks is not None and set(map(str, marks)) == {"side", "default"}
    capturing[0] = True
    assert device.work_queued() is None
