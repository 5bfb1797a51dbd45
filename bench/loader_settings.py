"""Settings and data sets of `loader_torch`: what both loaders are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from forebay.bench.workloads.python_samples import SlowSamples

LOADERS = ("torch", "forebay")
IMAGE_BYTES = 3 * 224 * 224 * 4
GRID_BYTES = (1 << 10, 16 << 10, 128 << 10, IMAGE_BYTES, 2 << 20)
GRID_BATCHES = (1, 8, 64, 512)
LARGEST_BATCH = 256 << 20
_SLOW_SECONDS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table."""

    name: str
    sample_bytes: int
    """0: samples of `SlowSamples`."""
    batch: int
    workers: int = 2
    steps: int = 128
    """Batches of an epoch."""
    kind: str = ""
    """Key of `KINDS`, instead of arrays of so many bytes."""
    persistent: bool = True
    trainer_s: float = 0.0
    """What the trainer takes for a batch, without work of the CPU. It looks at every page of it."""
    method: str | None = None
    """How workers are started; None: as the system does."""
    starts: int = 0
    """Only time to the first batch, so many times; 0: whole epochs."""

    @property
    def ideal(self) -> float | None:
        """Samples a second that the workers make at most; None: nothing but moving limits it."""
        return None if self.sample_bytes else self.workers / _SLOW_SECONDS


class ReadySamples:
    """A map-style data set of float32 arrays that are there already, with their numbers."""

    def __init__(self, count: int, nbytes: int) -> None:
        self._count = count
        kept = max(1, min(64, (64 << 20) // nbytes))
        shape = (3, 224, 224) if nbytes == IMAGE_BYTES else (nbytes // 4,)
        self._arrays = np.random.default_rng(0).random((kept, *shape), np.float32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._arrays[index % len(self._arrays)], index


class _Made:
    """A map-style data set of what `make` gives for an index, with the index."""

    def __init__(self, count: int, make: Callable[[int], Any]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._make(index), index


_SMALL = np.zeros(8, np.float32)
KINDS: dict[str, Callable[[int], Any]] = {
    "tensors": lambda index: {f"field{number}": _SMALL for number in range(30)},
    "text": lambda index: f"sample {index} " * 20,
    "lists": lambda index: np.ones(1000 + index % 500, np.float32),
    "start": lambda index: _SMALL,
}


def as_lists(samples: list[Any]) -> Any:
    """A collate function that leaves samples as they are."""
    return [one for one, _ in samples], [index for _, index in samples]


def samples_of(setting: Setting, count: int) -> Any:
    """The data set of a setting."""
    if setting.kind:
        return _Made(count, KINDS[setting.kind])
    return ReadySamples(count, setting.sample_bytes) if setting.sample_bytes else SlowSamples(count, _SLOW_SECONDS)


def _grid(quick: bool) -> Iterator[Setting]:
    for nbytes in GRID_BYTES[:2] if quick else GRID_BYTES:
        for batch in GRID_BATCHES[:2] if quick else GRID_BATCHES:
            if nbytes * batch <= LARGEST_BATCH:
                steps = max(32, min(2048, (512 << 20) // (nbytes * batch)))
                yield Setting(name=f"grid {nbytes >> 10} KB x {batch}", sample_bytes=nbytes, batch=batch, steps=steps)


def _first(quick: bool) -> Iterator[Setting]:
    yield Setting(name="first, 0 workers", sample_bytes=IMAGE_BYTES, batch=64, workers=0, steps=4, starts=5)
    for method in ("fork",) if quick else ("fork", "spawn"):
        for workers in (1, 2):
            yield Setting(
                name=f"first, {workers} {method}",
                sample_bytes=IMAGE_BYTES,
                batch=64,
                workers=workers,
                steps=4,
                persistent=False,
                method=method,
                starts=2 if quick or method == "spawn" else 5,
            )


SETS: dict[str, Callable[[bool], list[Setting]]] = {
    "ready": lambda quick: [Setting(name="ready", sample_bytes=IMAGE_BYTES, batch=64, steps=8 if quick else 128)],
    "trainer": lambda quick: [
        Setting(name="trainer", sample_bytes=IMAGE_BYTES, batch=64, steps=8 if quick else 32, trainer_s=0.1)
    ],
    "slow": lambda quick: [Setting(name="slow", sample_bytes=0, batch=32, steps=8 if quick else 64)],
    "grid": lambda quick: list(_grid(quick)),
    "first": lambda quick: list(_first(quick)),
    "kinds": lambda quick: [
        Setting(
            name=f"kinds, {kind}",
            sample_bytes=1,
            kind=kind,
            batch=32,
            steps=8 if quick or kind == "start" else 256,
            persistent=kind != "start",
        )
        for kind in KINDS
    ],
}
