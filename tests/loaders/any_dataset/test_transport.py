"""Batches in leased slots: never changed while they are kept, bounded, and nothing left behind whoever dies when."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import torch_sets
from support.same import same
from torch.utils.data import DataLoader as Stock

import forebay as fb
from forebay.formats.errors import SpecError
from forebay.loaders import shared_room
from forebay.loaders.leaves import SMALL_LEAF

SUPPORT = str(Path(torch_sets.__file__).parent.parent)
BIG = (3, 64, 64)
assert np.prod(BIG) * 4 * 4 >= SMALL_LEAF, "a batch of four is large enough for a slot"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def slots_out(loader: Any) -> int:
    return len(loader._iterator._context.leases.out)


def right(batch: tuple[torch.Tensor, torch.Tensor], rows: list[int], shape: tuple[int, ...] = BIG) -> bool:
    images, labels = batch
    wanted = torch.tensor(rows, dtype=torch.float32).view(-1, 1, 1, 1).expand(len(rows), *shape)
    return torch.equal(images, wanted) and labels.tolist() == rows


def test_batches_that_are_kept_never_change_and_every_slot_comes_back() -> None:
    loader = fb.DataLoader(torch_sets.Images(480, BIG), 4, num_workers=2, prefetch_factor=2, persistent_workers=True)
    iterator = iter(loader)
    slots = loader._iterator._context._arena.slots
    kept = [next(iterator) for _ in range(60)]
    assert len(kept) > slots, "more are kept than there are slots: the rest travels torch's way"
    assert all(right(batch, list(range(4 * at, 4 * at + 4))) for at, batch in enumerate(kept))
    assert slots_out(loader) > 0
    rest = list(iterator)
    assert all(right(batch, list(range(4 * at, 4 * at + 4))) for at, batch in enumerate(kept + rest))
    del kept, rest
    gc.collect()
    assert slots_out(loader) == 0
    for at, batch in enumerate(iterator := iter(loader)):
        assert right(batch, list(range(4 * at, 4 * at + 4)))


@pytest.mark.parametrize(
    "view", [lambda x: x[1], lambda x: x.numpy()[2:], lambda x: x.view(-1)[5:9], lambda x: [x.transpose(0, 1)]]
)
def test_a_view_of_a_batch_holds_its_slot(view: Any) -> None:
    iterator = iter(fb.DataLoader(torch_sets.Images(200, BIG), 4, num_workers=1, prefetch_factor=2))
    images, _ = next(iterator)
    held = view(images)
    copy = [torch.as_tensor(one).clone() for one in (held if isinstance(held, list) else [held])]
    del images
    gc.collect()
    for _ in range(40):
        next(iterator)
    for one, before in zip(held if isinstance(held, list) else [held], copy, strict=True):
        assert torch.equal(torch.as_tensor(one), before)


def test_batches_outlive_their_loader() -> None:
    loader = fb.DataLoader(torch_sets.Images(24, BIG), 4, num_workers=2)
    kept = list(loader)
    del loader
    gc.collect()
    assert all(right(batch, list(range(4 * at, 4 * at + 4))) for at, batch in enumerate(kept))


def test_batches_may_be_written_to() -> None:
    for batch, _ in fb.DataLoader(torch_sets.Images(80, BIG), 4, num_workers=2):
        batch += 1
        assert batch.is_contiguous() and not batch.requires_grad


def test_batches_may_be_sent_on_to_another_process() -> None:
    context = torch.multiprocessing.get_context("fork")
    queue, back = context.Queue(), context.Queue()

    def child() -> None:
        back.put(queue.get()[3, 0, 0].tolist())  # nothing that would want threads, which a forked process has not

    process = context.Process(target=child)
    process.start()
    images, _ = next(iter(fb.DataLoader(torch_sets.Images(8, BIG), 4, num_workers=1)))
    queue.put(images)
    assert back.get(timeout=20) == [3.0] * BIG[2]
    process.join()


def test_slots_grow_with_batches() -> None:
    rows = 96
    found = list(fb.DataLoader(torch_sets.Images(rows, (2, 64, 64), grow=True), 8, num_workers=2))
    wanted = list(Stock(torch_sets.Images(rows, (2, 64, 64), grow=True), 8, num_workers=2))
    assert same(found, wanted)


def test_a_bounded_arena_falls_back_to_torchs_way() -> None:
    small = fb.DataLoader(torch_sets.Images(64, BIG), 8, num_workers=2, arena_bytes=1 << 19)
    assert same(list(small), list(Stock(torch_sets.Images(64, BIG), 8, num_workers=2)))


def test_no_arena_at_all() -> None:
    loader = fb.DataLoader(torch_sets.Images(32, BIG), 8, num_workers=2, arena_bytes=0)
    assert same(list(loader), list(Stock(torch_sets.Images(32, BIG), 8, num_workers=2)))
    with pytest.raises(SpecError, match="arena_bytes is -1; expected a number of bytes"):
        fb.DataLoader([1], arena_bytes=-1)


def test_a_full_shared_memory_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_room, "shm_left", lambda: 1000)
    with pytest.raises(
        RuntimeError, match="a batch of .* has no slot, and /dev/shm, which torch's transport uses, has"
    ):
        list(fb.DataLoader(torch_sets.Images(8, BIG), 4, num_workers=1, arena_bytes=0))


@pytest.mark.parametrize("persistent", [False, True])
def test_descriptors_do_not_grow_with_batches_or_epochs(persistent: bool) -> None:
    loader = fb.DataLoader(torch_sets.Images(64, BIG), 4, num_workers=2, persistent_workers=persistent)
    list(loader)
    gc.collect()
    before = descriptors()
    for _ in range(4):
        most = max(descriptors() for _ in loader)
    gc.collect()
    assert descriptors() <= before + 2 and (most <= before or not persistent)


def test_a_loop_that_is_left_ends_its_workers() -> None:
    iterator = iter(fb.DataLoader(torch_sets.Images(4000, BIG), 4, num_workers=2))
    next(iterator)
    pids = [one.pid for one in iterator._workers]
    del iterator
    gc.collect()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize(
    "dtypes", [(torch.int32, torch.float64), (torch.float64, torch.int32), (torch.float32, torch.float16)]
)
def test_mixed_dtypes_stack_as_torch_stacks_them(dtypes: tuple[torch.dtype, ...]) -> None:
    rows, found = [torch.ones(5000, dtype=one) for one in dtypes], []
    for kind in (Stock, fb.DataLoader):
        try:
            found.append(list(kind(rows, 2, num_workers=1)))
        except TypeError as error:
            found.append(str(error).splitlines()[-1])
    assert same(*found)


def test_unequal_shapes_fail_as_in_torch() -> None:
    for kind in (Stock, fb.DataLoader):
        with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
            list(kind([torch.ones(5000), torch.ones(5001)], 2, num_workers=1))


def run(*arguments: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "support.loader_processes", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def appears(path: Path, seconds: float = 150) -> str:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, "the program did not get so far"
        time.sleep(0.02)
    return path.read_text()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int], seconds: float = 30) -> bool:
    """torch's workers look for their parent every five seconds."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_nothing_is_left_behind_by_a_kill(method: str, victim: str, tmp_path: Path) -> None:
    before = set(os.listdir("/dev/shm"))
    program = run("iterate", method, str(tmp_path / "ready"))
    try:
        workers = [int(one) for one in appears(tmp_path / "ready").split()]
        os.kill(program.pid if victim == "parent" else workers[0], signal.SIGKILL)
        _, complaint = program.communicate(timeout=60)
        if victim == "worker":
            assert b"DataLoader worker (pid" in complaint and program.returncode == 1
        assert gone(workers)
    finally:
        program.kill()
        program.communicate()
    left = {one for one in set(os.listdir("/dev/shm")) - before if "forebay" in one}
    assert not left


def test_ctrl_c_ends_it_all() -> None:
    program = run("interrupted")
    _, complaint = program.communicate(timeout=60)
    assert program.returncode in (-signal.SIGINT, 130, 1) and b"KeyboardInterrupt" in complaint
    assert b"Exception ignored" not in complaint
