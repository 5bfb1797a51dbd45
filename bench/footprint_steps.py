"""One process of `forebay.bench.footprint`: `python -m forebay.bench.footprint_steps RUN DIRECTORY THREADS`.

It imports nothing at first, so that each step shows what it brings.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from forebay.bench.process_tree import memory

COLUMNS = 40
"""Of the wide table."""


def steps(run: str, data: str, threads: int) -> None:
    """Print one line of JSON after each step."""
    began = time.perf_counter()

    def told(step: str) -> None:
        held = memory(os.getpid())
        mb = {"pss": held.pss / 1e6, "without": held.without_files / 1e6}
        seconds = {"cpu": time.process_time(), "wall": time.perf_counter() - began}
        sys.stdout.write(json.dumps({"step": step, **mb, **seconds}) + "\n")

    told("python")
    import numpy  # noqa: F401

    told("numpy")
    import torch  # noqa: F401

    told("torch")
    if run == "torch":
        _epochs(told, _stock(data))
        return
    import pyarrow  # noqa: F401

    told("pyarrow")
    if run == "numba":
        import numba  # noqa: F401

        told("numba")
        import forebay.transforms.kernels.permute  # its registries are filled when the first kernel is loaded

        told("its first kernel")
        return
    import forebay as fb
    from forebay import transforms as T

    told("import forebay")
    if run == "tokens":
        ds = fb.scan(f"{data}/tokens.arrow").apply(T.ShiftTokens("ids"))
        options: dict[str, Any] = {"batch_size": 16, "shuffle": True}
    else:
        names = [f"c{at}" for at in range(COLUMNS)]
        ds = fb.scan(f"{data}/table.parquet").apply(
            T.FillNull(names, value=0.0), T.Log1p(names), T.Stack(names, into="x")
        )
        options = {"batch_size": 4_096}
    told("open")
    _epochs(told, fb.DataLoader(ds, num_workers=threads, **options))


def _stock(data: str) -> Any:
    import numpy as np
    import torch

    tokens = np.load(f"{data}/tokens.npy", mmap_mode="r")

    class Sequences(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(tokens)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            ids = torch.from_numpy(tokens[index].astype(np.int64))
            return ids[:-1], ids[1:]

    return torch.utils.data.DataLoader(Sequences(), batch_size=16, shuffle=True)


def _epochs(told: Callable[[str], None], loader: Any) -> None:
    told("loader")
    batches = iter(loader)
    held: Any = next(batches)
    told("first batch")
    for batch in batches:
        held = batch  # while the next is made, as a trainer does
    told("an epoch")
    for batch in loader:
        held = batch
    told("two epochs")
    del held


if __name__ == "__main__":
    steps(sys.argv[1], sys.argv[2], int(sys.argv[3]))
