"""Random numbers that belong to the sample: each is made with the generators seeded from (seed, epoch, index).

So a sample is the same whatever worker makes it, when, and after which others.
"""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

_EPOCH = 1 << 48
"""A key is `epoch * _EPOCH + index`: one number, so that a task is no larger than torch's."""
_WORD32 = (1 << 32) - 1


def key_of(epoch: int, index: int) -> int:
    """What a sampler gives for a sample of an epoch."""
    return epoch * _EPOCH + index


def index_of(key: int) -> int:
    """The sample of a key."""
    return key % _EPOCH


class SeededFetcher:
    """Stands for torch's fetcher of a map-style data set, and takes keys where that takes indices.

    `random`, NumPy's global generator and torch's are seeded before each sample, and before a batch is collated from its
    first sample. What a data set draws elsewhere (`np.random.default_rng()` without a seed) is its own matter.
    """

    def __init__(self, fetcher: Any, seed: int, *, put_back: bool) -> None:
        """`put_back`: leave the generators as they were, in a process that is not only there for this."""
        # imported here: it brings numba, which no other worker needs
        from forebay.engine.order import mix_key

        self._mix_key = mix_key
        self._fetcher, self._seed, self._put_back = fetcher, seed, put_back
        # one at a time also here: how many are asked for at once depends on batch size and rank
        self._many = getattr(fetcher.dataset, "__getitems__", None)

    def fetch(self, keys: list[int]) -> Any:
        """The batch of these samples."""
        with _put_back() if self._put_back else contextlib.nullcontext():
            samples = [self._sample(*divmod(key, _EPOCH)) for key in keys]
            _seed_all(self._mix_key(self._seed, *divmod(keys[0], _EPOCH), 1))
            return self._fetcher.collate_fn(samples)

    def _sample(self, epoch: int, index: int) -> Any:
        _seed_all(self._mix_key(self._seed, epoch, index))
        return self._fetcher.dataset[index] if self._many is None else self._many([index])[0]


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed((seed & _WORD32, seed >> 32))
    torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def _put_back() -> Iterator[None]:
    pythons, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
        torch.set_rng_state(torchs)
