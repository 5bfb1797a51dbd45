"""torch data sets whose samples are made by Python: what a loader gains without knowing what a sample is."""

import time
from typing import Any

import numpy as np

SHAPE = (3, 224, 224)


class SlowSamples:
    """A map-style data set that spends a millisecond of Python on each sample: 16 floats and its number."""

    def __init__(self, count: int, seconds: float = 1e-3) -> None:
        self._count, self._seconds = count, seconds

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        # CPU time of the thread: two threads under one GIL, or two busy processes, must both do the work
        until = time.thread_time() + self._seconds
        spun = 0
        while time.thread_time() < until:
            spun += 1
        return np.full(16, index, np.float32), index


class LargeSamples:
    """A map-style data set that returns ready arrays of 3 x side x side float32: only moving them costs anything."""

    def __init__(self, count: int, side: int = SHAPE[-1]) -> None:
        self._count = count
        self._arrays = np.random.default_rng(0).random((64, 3, side, side), np.float32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._arrays[index % len(self._arrays)], index
