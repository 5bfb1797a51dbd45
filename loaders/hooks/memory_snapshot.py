"""When CUDA memory runs out, write down who held it."""

import os
from pathlib import Path
from typing import Any

import torch

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.batch_size_search import is_out_of_memory
from forebay.loaders.hooks.extras import need_cuda
from forebay.loaders.hooks.hook import Context


class MemorySnapshot:
    """A hook that records allocations and dumps them on an out-of-memory error, for https://pytorch.org/memory_viz.

    Needs the `with attach(...)` form, so that it sees the errors of the loop.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_entries: int = 100_000) -> None:
        """
        Args:
            path: the pickle to write; its folder is made.
            max_entries: allocations to remember, with their stacks.

        Raises:
            SpecError: there is no CUDA device, or `max_entries` is not positive.
        """
        need_cuda("MemorySnapshot")
        if max_entries < 1:
            raise SpecError(f"MemorySnapshot has max_entries={max_entries}, expected 1 or more")
        self.path = Path(path)
        self._max_entries = max_entries
        self._memory: Any = torch.cuda.memory

    def on_start(self, ctx: Context) -> None:
        self._memory._record_memory_history(max_entries=self._max_entries)

    def on_exception(self, ctx: Context, error: BaseException) -> None:
        if is_out_of_memory(error):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._memory._dump_snapshot(str(self.path))

    def on_end(self, ctx: Context) -> None:
        self._memory._record_memory_history(enabled=None)
