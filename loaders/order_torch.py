"""torch's order of indices, without its lists, and with a position that can be saved and restored.

`RandomSampler` makes a Python integer for every sample of an epoch: 180 million of them are 5 GB. Here the permutation
stays an array, and only the indices of one batch become integers. The order, and what is drawn from which generator when,
are torch's.
"""

import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler
from torch.utils.data.dataloader import _InfiniteConstantSampler

from forebay.loaders.stateful import (
    INDEX_SAMPLER,
    SAMPLER_EPOCH,
    SAMPLER_ITER,
    SAMPLER_YIELDED,
    Stateful,
    is_stateful,
    state_of,
)

_CHUNK = 1 << 12
"""Indices that are integers at the same time."""
_NARROW = 1 << 20
"""Permutations of so many are kept in 32 bits."""


class RandomIndices:
    """What iterating torch's `RandomSampler` gives. Draws nothing before the first index is asked for."""

    def __init__(self, sampler: RandomSampler) -> None:
        self._sampler = sampler
        self._generator: torch.Generator | None = None
        self._start: torch.Tensor | None = None
        self._arrays: Iterator[torch.Tensor] = iter(())
        self._chunk: list[int] = []
        self._at = 0
        self._yielded = 0
        self._begun = False

    def __iter__(self) -> "RandomIndices":
        return self

    def __next__(self) -> int:
        taken = self.take(1)
        if not taken:
            raise StopIteration
        return taken[0]

    def take(self, count: int) -> list[int]:
        """The next `count` indices, fewer at the end."""
        taken: list[int] = []
        while len(taken) < count:
            if self._at == len(self._chunk):
                self._begin()
                piece = next(self._arrays, None)
                if piece is None:
                    break
                self._chunk, self._at = piece.tolist(), 0
            more = self._chunk[self._at : self._at + count - len(taken)]
            self._at += len(more)
            taken += more
        self._yielded += len(taken)
        return taken

    def state_dict(self) -> dict[str, Any]:
        """How many were drawn, and the generator before the first. Begins the epoch, since only then there is one."""
        self._begin()
        return {"yielded": self._yielded, "generator": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state says."""
        self._start = state_dict["generator"]
        self._generator = self._sampler.generator or torch.Generator()
        self._generator.set_state(self._start)
        self._begun, self._chunk, self._at = True, [], 0
        self._arrays = self._draw(skip=state_dict["yielded"])
        self._yielded = state_dict["yielded"]

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._generator = self._sampler.generator
        if self._generator is None:
            seed = int(torch.empty((), dtype=torch.int64).random_().item())
            self._generator = torch.Generator()
            self._generator.manual_seed(seed)
        self._start = self._generator.get_state()
        self._arrays = self._draw()

    def _draw(self, skip: int = 0) -> Iterator[torch.Tensor]:
        """Indices in pieces, none of them empty, without the first `skip`."""
        for drawn, wanted in self._drawn():
            begin, skip = min(skip, wanted), max(0, skip - wanted)
            for start in range(begin, wanted, _CHUNK):
                yield drawn[start : min(start + _CHUNK, wanted)]

    def _drawn(self) -> Iterator[tuple[torch.Tensor, int]]:
        """What torch draws, in its order, and how much of each it uses: of the last permutation often nothing."""
        count, n, generator = self._sampler.num_samples, len(self._sampler.data_source), self._generator
        if self._sampler.replacement:
            sizes = itertools.chain(itertools.repeat(32, count // 32), [count % 32])
            for size in sizes:
                yield torch.randint(high=n, size=(size,), dtype=torch.int64, generator=generator), size
            return
        for size in itertools.chain(itertools.repeat(n, count // n), [count % n]):
            drawn = torch.randperm(n, generator=generator)
            yield drawn.to(torch.int32) if _NARROW <= n < 1 << 31 else drawn, size


class BatchIndices:
    """What iterating torch's `BatchSampler` gives."""

    def __init__(self, sampler: BatchSampler) -> None:
        self._batches = sampler
        self._samples: Iterator[Any] | None = None
        self._yielded = 0
        self._failed = False

    def __iter__(self) -> "BatchIndices":
        return self

    def __next__(self) -> list[Any]:
        if self._failed:  # torch's is a generator, which ends with its first error
            raise StopIteration
        try:
            samples, size = self._iterator(), self._batches.batch_size
            batch = samples.take(size) if isinstance(samples, RandomIndices) else [*itertools.islice(samples, size)]
        except BaseException:
            self._failed = True
            raise
        self._yielded += len(batch)
        if not batch or (self._batches.drop_last and len(batch) < size):
            raise StopIteration
        return batch

    def state_dict(self) -> dict[str, Any]:
        """How many samples were drawn, and the states of the sampler and its iterator where they have some."""
        state: dict[str, Any] = {"samples_yielded": self._yielded}
        samples = self._iterator()
        if is_stateful(self._batches.sampler):
            state["sampler_state"] = _copied(self._batches.sampler.state_dict())
        if isinstance(samples, RandomIndices):
            state["sampler_iter_state"] = samples.state_dict()
        elif is_stateful(samples):
            state["sampler_iter_state"] = _copied(samples.state_dict())
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state says; a sampler without a state is run up to there."""
        self._yielded = state_dict["samples_yielded"]
        sampler = self._batches.sampler
        if isinstance(sampler, Stateful) and "sampler_state" in state_dict:
            sampler.load_state_dict(state_dict["sampler_state"])
        samples = self._samples = _iterate(sampler)
        if isinstance(samples, Stateful) and "sampler_iter_state" in state_dict:
            samples.load_state_dict(state_dict["sampler_iter_state"])
        elif not isinstance(sampler, Stateful | _InfiniteConstantSampler):
            next(itertools.islice(samples, self._yielded, self._yielded), None)

    def _iterator(self) -> Iterator[Any]:
        # not before the first batch is asked for, like torch: some samplers draw when they are iterated
        if self._samples is None:
            self._samples = _iterate(self._batches.sampler)
        return self._samples


class ResumableIndices:
    """Stands for a loader's index sampler in its iterators."""

    def __init__(self, index_sampler: Any) -> None:
        self.sampler = index_sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        return _iterate(self.sampler)

    def states(self, iterator: Any, yielded: int) -> dict[str, Any]:
        """The part of a state that says where in the order the loader is."""
        return {
            SAMPLER_ITER: iterator.state_dict() if is_stateful(iterator) else None,
            INDEX_SAMPLER: _copied(state_of(self.sampler)),
            SAMPLER_YIELDED: yielded,
            **({} if self.epoch is None else {SAMPLER_EPOCH: self.epoch}),
        }

    @property
    def epoch(self) -> int | None:
        """What a DistributedSampler below was last set to; None where there is none."""
        sampler = getattr(self.sampler, "sampler", self.sampler)
        return sampler.epoch if isinstance(sampler, DistributedSampler) else None

    def set_epoch(self, state: dict[str, Any]) -> None:
        """Set a DistributedSampler below to the epoch of the state. Lightning does it only when the resumed order has begun,
        Fabric does not know the epoch, and users forget it."""
        saved, sampler = state.get(SAMPLER_EPOCH), getattr(self.sampler, "sampler", self.sampler)
        if saved is not None and isinstance(sampler, DistributedSampler):
            sampler.set_epoch(saved)

    @property
    def draws_globally(self) -> bool:
        """Whether the order of an epoch comes from torch's global generator."""
        sampler = self.sampler.sampler if type(self.sampler) is BatchSampler else self.sampler
        return type(sampler) is RandomSampler and sampler.generator is None

    def restored(self, state: dict[str, Any]) -> tuple[Iterator[Any], int]:
        """An iterator that begins where `states` was taken, and how much was drawn until there."""
        yielded = state[SAMPLER_YIELDED]
        if isinstance(self.sampler, Stateful) and state[INDEX_SAMPLER] is not None:
            self.sampler.load_state_dict(state[INDEX_SAMPLER])
        iterator = _iterate(self.sampler)
        if isinstance(iterator, Stateful) and state[SAMPLER_ITER] is not None:
            iterator.load_state_dict(state[SAMPLER_ITER])
        elif not isinstance(self.sampler, Stateful | _InfiniteConstantSampler):
            next(itertools.islice(iterator, yielded, yielded), None)
        return iterator, yielded


def _iterate(sampler: Any) -> Iterator[Any]:
    """`iter(sampler)`; torch's own samplers, but not subclasses of them, by the iterators above."""
    if type(sampler) is BatchSampler:
        return BatchIndices(sampler)
    if type(sampler) is RandomSampler:
        return RandomIndices(sampler)
    return iter(sampler)


def _copied(state: Any) -> Any:
    """A state that does not change when its owner goes on."""
    return None if state is None else pickle.loads(pickle.dumps(state))
