"""transport: any torch data set whose samples are ready 3x224x224 float32 arrays, batch 64, shuffled."""

from pathlib import Path
from typing import Any

import numpy as np

from forebay.bench.datasets.store import made_once
from forebay.bench.workloads.python_samples import SHAPE, LargeSamples

BATCH = 64
UNIT = "samples"
ABOUT = "a torch data set of ready 3x224x224 float32 arrays, batch 64, shuffled"
CONTRACT = (("arrays", SHAPE, "float32"), ("labels", (), "int64"))
SAMPLES, QUICK_SAMPLES = 16_384, 256


def make_data(*, quick: bool) -> Path:
    """A directory whose name says how many samples; the samples are made by the data set itself."""
    number = QUICK_SAMPLES if quick else SAMPLES
    return made_once(f"transport-{number}", lambda to: None)


def samples(data: Path) -> int:
    """Samples of the data set."""
    return int(data.name.rsplit("-", 1)[1])


def dataset(data: Path, side: int = SHAPE[-1]) -> LargeSamples:
    """The torch data set that every loader is given; scaling curves vary the side of its arrays."""
    return LargeSamples(samples(data), side)


def count(batch: Any) -> int:
    """Samples of a batch (limits give the number itself)."""
    return batch if isinstance(batch, int) else len(batch[1])


def ids(batch: Any) -> np.ndarray:
    """Which samples a batch holds: labels are their numbers."""
    return batch[1].numpy()


class Oracle:
    """The data set itself."""

    def __init__(self, data: Path) -> None:
        self._known = LargeSamples(samples(data))

    def faults(self, batch: Any) -> list[str]:
        """Where a batch differs from the data set."""
        arrays = batch[0].numpy()
        for row, number in enumerate(ids(batch)):
            expected = self._known[int(number)][0]
            if not np.array_equal(arrays[row], expected):
                return [f"sample {number} differs from the data set's"]
        return []
