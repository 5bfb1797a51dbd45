"""Programs that tests run in processes of their own, to kill or interrupt them."""

import os
import signal
import sys
import time
from typing import Any

import torch
from support import torch_sets

import forebay as fb


def iterate(method: str, *, ready: str) -> None:
    """Take two batches, say which workers there are, and go on for ever."""
    loader = fb.DataLoader(torch_sets.Images(100_000, (3, 128, 128)), 4, num_workers=2, multiprocessing_context=method)
    iterator = iter(loader)
    kept = [next(iterator), next(iterator)]
    with open(ready + ".part", "w") as file:
        file.write(" ".join(str(one.pid) for one in iterator._workers))
    os.rename(ready + ".part", ready)
    while kept:
        next(iterator)
        time.sleep(0.01)


def interrupted() -> None:
    """Press Ctrl-C in the middle of an epoch."""
    loader = fb.DataLoader(torch_sets.Images(1000), 4, num_workers=2)
    for step, _ in enumerate(loader):
        if step == 3:
            signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    torch.set_num_threads(1)
    program: Any = globals()[sys.argv[1]]
    program(*sys.argv[2:3], **({"ready": sys.argv[3]} if len(sys.argv) > 3 else {}))
