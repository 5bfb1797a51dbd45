"""tokens: sequences of 2,048 uint16 ids plus the shifted target, batch 16, global shuffle, int64 out."""

from pathlib import Path
from typing import Any

import numpy as np

from forebay.bench.datasets.store import made_once
from forebay.bench.datasets.tokens import LENGTH, open_tokens, write_tokens

BATCH = 16
UNIT = "sequences"
ABOUT = "200 M uint16 tokens, sequences of 2,048 and the shifted target, batch 16, global shuffle, int64"
CONTRACT = (("inputs", (LENGTH,), "int64"), ("targets", (LENGTH,), "int64"))
SEQUENCES, QUICK_SEQUENCES = 97_664, 2_048


def make_data(*, quick: bool) -> Path:
    """The data set's directory, made if it is not there."""
    sequences = QUICK_SEQUENCES if quick else SEQUENCES
    return made_once(f"tokens-{sequences}", lambda to: write_tokens(to, sequences))


def samples(data: Path) -> int:
    """Sequences in the data set."""
    return (data / "tokens.bin").stat().st_size // 2 // LENGTH


def count(batch: Any) -> int:
    """Samples of a batch (limits give the number itself)."""
    return batch if isinstance(batch, int) else len(batch[0])


def ids(batch: Any) -> np.ndarray:
    """Which sequences a batch holds."""
    first = batch[0][:, :2].numpy()
    return first[:, 0] + 32_768 * first[:, 1]


class Oracle:
    """The ids themselves: what a loader gives is compared with the file."""

    def __init__(self, data: Path) -> None:
        self._tokens = open_tokens(data)

    def faults(self, batch: Any) -> list[str]:
        """Where a batch differs from the file."""
        inputs, targets = (part.numpy() for part in batch)
        for row, number in enumerate(ids(batch)):
            start = int(number) * LENGTH
            expected = self._tokens[start : start + LENGTH + 1].astype(np.int64)
            if not (np.array_equal(inputs[row], expected[:-1]) and np.array_equal(targets[row], expected[1:])):
                return [f"sequence {number} differs from the file"]
        return []
