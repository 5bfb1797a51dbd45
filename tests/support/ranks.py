"""Run a function on several ranks of a gloo group, each in a spawned process, and collect what they return."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _entry(rank: int, world: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"] = str(rank), str(world), str(rank)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    try:
        torch.save(function(rank, world, *args), f"{folder}/{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
    # The result is on disk and all ranks have passed the barrier: what is left is the process's own end, where gloo's threads,
    # if one is still joinable, now and then abort it ("terminate called without an active exception"). A rank that raised
    # does not come here, so its error reaches the test as before.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def on_ranks(world: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """`function(rank, world, *args)` on each rank; results in rank order. The function lives in `tests/support`."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_entry, (world, folder, function, args), nprocs=world)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]
