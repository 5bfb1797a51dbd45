"""Token ids: one flat file of uint16, as pre-training corpora are kept."""

from pathlib import Path

import numpy as np

LENGTH = 2048
VOCABULARY = 50_257
_BLOCK = 1024


def write_tokens(directory: Path, sequences: int) -> None:
    """`tokens.bin` with sequences * LENGTH + 1 ids; the first two of each sequence hold its number, so it can be told apart."""
    rng = np.random.default_rng(0)
    with open(directory / "tokens.bin", "wb") as file:
        for start in range(0, sequences, _BLOCK):
            count = min(_BLOCK, sequences - start)
            tokens = rng.integers(0, VOCABULARY, (count, LENGTH), dtype=np.uint16)
            numbers = np.arange(start, start + count)
            tokens[:, 0], tokens[:, 1] = numbers % 32_768, numbers // 32_768
            file.write(tokens.tobytes())
        file.write(np.zeros(1, np.uint16).tobytes())


def open_tokens(directory: Path) -> np.ndarray:
    """The ids, memory-mapped: sequence i is [i * LENGTH : i * LENGTH + LENGTH + 1], inputs and shifted targets."""
    return np.memmap(directory / "tokens.bin", np.uint16, mode="r")
