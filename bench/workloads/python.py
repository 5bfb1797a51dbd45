"""python: any torch data set, a millisecond of Python a sample, batch 32, shuffled."""

from pathlib import Path
from typing import Any

import numpy as np

from forebay.bench.datasets.store import made_once
from forebay.bench.workloads.python_samples import SlowSamples

BATCH = 32
UNIT = "samples"
ABOUT = "a torch data set with 1 ms of Python a sample, batch 32, shuffled"
CONTRACT = (("arrays", (16,), "float32"), ("labels", (), "int64"))
SAMPLES, QUICK_SAMPLES = 8_192, 512


def make_data(*, quick: bool) -> Path:
    """A directory whose name says how many samples; the samples are made by the data set itself."""
    number = QUICK_SAMPLES if quick else SAMPLES
    return made_once(f"python-{number}", lambda to: None)


def samples(data: Path) -> int:
    """Samples of the data set."""
    return int(data.name.rsplit("-", 1)[1])


def dataset(data: Path) -> SlowSamples:
    """The torch data set that every loader is given."""
    return SlowSamples(samples(data))


def count(batch: Any) -> int:
    """Samples of a batch (limits give the number itself)."""
    return batch if isinstance(batch, int) else len(batch[1])


def ids(batch: Any) -> np.ndarray:
    """Which samples a batch holds: labels are their numbers."""
    return batch[1].numpy()


class Oracle:
    """The data set itself."""

    def __init__(self, data: Path) -> None:
        pass

    def faults(self, batch: Any) -> list[str]:
        """Where a batch differs from the data set."""
        arrays = batch[0].numpy()
        for row, number in enumerate(ids(batch)):
            expected = np.full(16, number, np.float32)
            if not np.array_equal(arrays[row], expected):
                return [f"sample {number} differs from the data set's"]
        return []
