"""What workers cost a trainer: memory that it maps, tasks in the pipe, turns on the CPU, imports."""

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support import slot_users, torch_sets
from support.arenas import right

import forebay as fb

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
BIG = (3, 64, 64)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_trainer_has_mapped_only_the_batch_that_it_reads(method: str) -> None:
    rows, shape = 4 * 12, (3, 512, 512)
    loader = fb.DataLoader(torch_sets.Images(rows, shape), 4, num_workers=1, multiprocessing_context=method)
    before = shared_kb()
    for at, batch in enumerate(loader):
        assert right(batch, list(range(4 * at, 4 * at + 4)))
        nbytes = batch[0].nbytes
        time.sleep(0.05)
        assert shared_kb() - before < 2 * nbytes / 1024
    del batch
    assert shared_kb() - before < nbytes / 1024


def shared_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Shmem:"))


def test_tasks_that_the_pipe_does_not_hold_keep_their_order() -> None:
    rows, batch = 160_000, 4_000  # of 12 KB as a task: a pipe holds five
    loader = fb.DataLoader(range(rows), batch, num_workers=2, prefetch_factor=20)
    assert torch.cat(list(loader)).tolist() == list(range(rows))
    iterator = iter(loader)
    assert any(one._writer is not None and one._writer._thread is not None for one in iterator._context.tasks)
    next(iterator)
    workers = iterator._workers
    del iterator
    gc.collect()
    assert not any(one.is_alive() for one in workers)


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_that_is_woken_takes_no_cpu_from_the_trainer(method: str) -> None:
    loader = fb.DataLoader(
        [0], num_workers=1, collate_fn=slot_users.policy_of, multiprocessing_context=method, persistent_workers=True
    )
    assert list(loader) == [os.SCHED_BATCH] and os.sched_getscheduler(0) == os.SCHED_OTHER


def test_torch_data_sets_import_neither_numba_nor_arrow_nor_polars() -> None:
    program = (
        "import sys, torch, torch.utils.data\n"
        "from forebay import DataLoader\n"
        "list(DataLoader(torch.arange(1000), 100)), list(DataLoader(torch.arange(1000), 100, num_workers=1))\n"
        "print([one for one in ('numba', 'pyarrow', 'polars', 'pandas', 'scipy', 'yaml') if one in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[]", found.stderr
