"""torch's iterator without workers, with a state. The iterating itself is torch's."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch.utils.data import _DatasetKind
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter

from forebay.loaders.collate_here import in_spare_memory
from forebay.loaders.loader_view import PROFILE_NAME, LoaderView, State
from forebay.loaders.order_torch import ResumableIndices
from forebay.loaders.restore import Undrawn, check_single, generator_state, run_again, say_replay
from forebay.loaders.spare_memory import SpareMemory
from forebay.loaders.stateful import (
    DATASET,
    DATASET_ITER,
    ENDED,
    FETCHER,
    FINISHED,
    LEN_CALLED,
    NUM_YIELDED,
    SHARED_SEED,
    Stateful,
    fetcher_states,
)


class SingleProcessIter(_SingleProcessDataLoaderIter):
    """The iterator without workers."""

    def __init__(self, loader: Any, state: State | None = None) -> None:
        self._indices = ResumableIndices(loader._index_sampler)
        self._drawn = 0
        self._finished = False
        self._generator = loader.generator
        with _restoring(loader, state):
            super().__init__(LoaderView(loader, _index_sampler=self._indices))
        self._spare = SpareMemory()
        self._dataset_fetcher.collate_fn = in_spare_memory(self._dataset_fetcher.collate_fn, self._spare)
        if loader.sample_seed is not None:
            from forebay.loaders.sample_seeds import SeededFetcher

            self._dataset_fetcher = SeededFetcher(self._dataset_fetcher, loader.sample_seed, put_back=True)
        self._profile_name = PROFILE_NAME.format("_SingleProcessDataLoaderIter")
        if state is not None:
            self._restore(state)

    def _next_index(self) -> Any:
        index = super()._next_index()  # type: ignore[no-untyped-call]  # torch gives it no types
        self._drawn += 1
        return index

    def _next_data(self) -> Any:
        try:
            return super()._next_data()  # type: ignore[no-untyped-call]  # torch gives it no types
        except StopIteration:
            self._finished = True
            self._spare.clear()
            raise

    def begin_order(self) -> None:
        """Draw the epoch's seed now."""
        self._indices.states(self._sampler_iter, 0)

    def state_dict(self) -> State:
        """Where the loop is, in torchdata's layout."""
        order = self._indices.states(self._sampler_iter, self._drawn)  # first: it may draw the epoch's seed
        fetcher, dataset = fetcher_states(self._dataset_kind == _DatasetKind.Iterable, self._dataset_fetcher)
        return {
            **order,
            NUM_YIELDED: self._num_yielded,
            LEN_CALLED: self._IterableDataset_len_called,
            SHARED_SEED: self._shared_seed,
            FETCHER: fetcher,
            DATASET: dataset,
            FINISHED: self._finished,
            **generator_state(self._generator, self._finished and self._indices.draws_globally),
        }

    def _restore(self, state: State) -> None:
        """Go on where `state` says. The data set itself was restored before its iterator was made."""
        self._IterableDataset_len_called = state[LEN_CALLED]
        self._shared_seed = state[SHARED_SEED]
        if self._dataset_kind == _DatasetKind.Iterable:
            inner = self._dataset_fetcher.dataset_iter
            if not isinstance(inner, Stateful) and not isinstance(self._dataset, Stateful):
                say_replay(state[NUM_YIELDED])
                run_again(self, state[NUM_YIELDED], finished=state[FINISHED])
                self._finished = state[FINISHED]
                return
            told = state[FETCHER] or {}
            if told.get(DATASET_ITER) is not None and isinstance(inner, Stateful):
                inner.load_state_dict(told[DATASET_ITER])
            self._dataset_fetcher.ended = told.get(ENDED, False)
        self._sampler_iter, self._drawn = self._indices.restored(state)
        self._num_yielded = state[NUM_YIELDED]
        self._finished = state[FINISHED]


@contextlib.contextmanager
def _restoring(loader: Any, state: State | None) -> Iterator[None]:
    """Restore a data set before its iterator is made, which draws a seed: a resumed run must not see that draw twice."""
    if state is None:
        yield
        return
    check_single(state)
    if state[DATASET] is not None and isinstance(loader.dataset, Stateful):
        loader.dataset.load_state_dict(state[DATASET])
    undo = Undrawn(loader.generator)
    yield
    undo.restore(state)
