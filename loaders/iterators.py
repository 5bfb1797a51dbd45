"""torch's iterators, with another transport and a state. The iterating itself is torch's."""

import contextlib
import time
import weakref
from collections.abc import Iterator
from typing import Any

from torch.utils.data import _DatasetKind, _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter, _SingleProcessDataLoaderIter

from forebay.loaders.collate_here import in_spare_memory
from forebay.loaders.order_torch import ResumableIndices
from forebay.loaders.recovery import Recovery
from forebay.loaders.restore import RestoredSeed, Resume, Undrawn, check_single, generator_state, say_replay
from forebay.loaders.sample_seeds import SeededFetcher
from forebay.loaders.snapshots import Snapshots
from forebay.loaders.spare_memory import SpareMemory
from forebay.loaders.stateful import (
    BASE_SEED,
    DATASET,
    DATASET_ITER,
    ENDED,
    FETCHER,
    FINISHED,
    LEN_CALLED,
    NUM_WORKERS,
    NUM_YIELDED,
    SHARED_SEED,
    Stateful,
    fetcher_states,
)
from forebay.loaders.worker_context import WorkerContext

State = dict[str, Any]

_PROFILE_NAME = "enumerate(DataLoader)#{}.__next__"
"""What profiles call a step; tools look for torch's names."""


class LoaderView:
    """A loader as its iterator sees it: with our indices and our context."""

    def __init__(self, loader: Any, **instead: Any) -> None:
        self.__dict__.update(instead, _loader=loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_loader"], name)


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
            self._dataset_fetcher = SeededFetcher(self._dataset_fetcher, loader.sample_seed, put_back=True)
        self._profile_name = _PROFILE_NAME.format("_SingleProcessDataLoaderIter")
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
                for _ in range(state[NUM_YIELDED]):
                    next(self)
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


class MultiProcessIter(_MultiProcessingDataLoaderIter):
    """The iterator with workers."""

    def __init__(self, loader: Any, state: State | None = None) -> None:
        self._resume = Resume.of(state, loader.num_workers)
        self._indices = ResumableIndices(loader._index_sampler)
        self._drawn = 0
        self._holding = False
        self._generator = loader.generator
        self._snapshots = Snapshots(
            workers=loader.num_workers,
            every=loader.snapshot_every_n_steps or 0,
            prefetch=loader.num_workers * (loader.prefetch_factor or 0),
            iterable=loader._dataset_kind == _DatasetKind.Iterable,
        )
        self._snapshots.generator = loader.generator
        self._snapshots.listen = weakref.WeakMethod(self.wait_for_states)
        self._context = WorkerContext.of(loader)
        self._recovery = Recovery.of(loader.on_worker_death, self._context)
        if self._resume is not None:
            self._context.restore = self._resume.worker_states
        self._undrawn = Undrawn(loader.generator)
        try:
            super().__init__(LoaderView(loader, multiprocessing_context=self._context, _index_sampler=self._indices))
        except BaseException:
            self._context.close()
            raise
        self._context.all_started()
        self._profile_name = _PROFILE_NAME.format("_MultiProcessingDataLoaderIter")
        resume, self._resume = self._resume, None
        if resume is not None:
            self._replay(resume)

    # The seeds that workers start from: torch draws them, a state overrides them.
    _base_seed = RestoredSeed(BASE_SEED)
    _shared_seed = RestoredSeed(SHARED_SEED)

    def _reset(self, loader: Any, first_iter: bool = False) -> None:
        """Begin an epoch, here or where the state says; torch's `_reset` would already send the first tasks."""
        self._holding = True
        if not first_iter:
            self._snapshots.generation += 1
        elif self._recovery is not None:
            self._recovery.watch(self)
        super()._reset(loader, first_iter)
        self._holding = False
        self._drawn = 0
        resume = self._resume
        if resume is not None:
            self._undrawn.restore(resume.main)
        if resume is None or resume.replay_all:
            self._snapshots.begin(self._main_state())
        else:
            self._sampler_iter, self._drawn = self._indices.restored(resume.main)
            self._IterableDataset_len_called = resume.main[LEN_CALLED]
            self._num_yielded = resume.step
            self._snapshots.begin(resume.main, step=resume.step, last_worker=resume.last_worker)
            for _ in range(resume.last_worker + 1):
                next(self._worker_queue_idx_cycle)
        for _ in range(self._prefetch_factor * self._num_workers):
            self._try_put_index()

    def _next_index(self) -> Any:
        index = super()._next_index()  # type: ignore[no-untyped-call]  # torch gives it no types
        self._drawn += 1
        return index

    def _try_put_index(self) -> None:
        if self._holding:
            return
        main, worker = self._snapshots.wanted(self._drawn + 1)
        for tasks in self._context.tasks:
            tasks.snapshot = worker
        task = self._send_idx
        super()._try_put_index()
        if main and self._send_idx > task:
            self._snapshots.sent(task, self._main_state())

    def _next_data(self) -> Any:
        try:
            return super()._next_data()  # type: ignore[no-untyped-call]  # torch gives it no types
        except StopIteration:
            self._snapshots.finish(self._indices.draws_globally)
            raise

    def _process_data(self, data: Any, worker_idx: int) -> Any:
        # raises what the worker raised; such a step does not count
        data = super()._process_data(data, worker_idx)  # type: ignore[no-untyped-call]  # torch gives it no types
        self._snapshots.hear(self._context.results.notes)
        self._snapshots.deliver(self._rcvd_idx - 1, worker_idx, in_order=self._in_order)
        return data

    def _main_state(self) -> State:
        return {
            NUM_WORKERS: self._num_workers,
            **self._indices.states(self._sampler_iter, self._drawn),
            LEN_CALLED: self._IterableDataset_len_called,
            SHARED_SEED: self._shared_seed,
            BASE_SEED: self._base_seed,
            **generator_state(self._generator),
        }

    def _replay(self, resume: Resume) -> None:
        """Make again, and drop, the batches between the snapshot and the state (or since the beginning)."""
        if resume.replay_all:
            say_replay(resume.step)
        for _ in range(resume.step * resume.replay_all + resume.steps_since):
            next(self)
        if resume.finished:
            self._snapshots.finish(self._indices.draws_globally)

    def _try_get_data(self, timeout: float = _utils.MP_STATUS_CHECK_INTERVAL) -> Any:
        if self._recovery is not None:
            return self._recovery.get(self, timeout)
        return super()._try_get_data(timeout)  # type: ignore[no-untyped-call]  # torch gives it no types

    def wait_for_states(self, seconds: float = _utils.MP_STATUS_CHECK_INTERVAL) -> None:
        """Until all workers have told the state of their data set, or so long."""
        end = time.monotonic() + seconds
        while True:
            self._snapshots.hear(self._context.results.notes)
            if self._snapshots.complete or time.monotonic() > end or not all(w.is_alive() for w in self._workers):
                return
            if self._pin_memory:
                time.sleep(0.01)  # the pin thread reads
            else:
                self._context.results.listen(0.1)

    @property
    def progress(self) -> Snapshots:
        """What is known of the loop, also when this iterator is gone."""
        return self._snapshots

    def begin_order(self) -> None:
        """Draw the epoch's seed now: done, the first tasks have been sent."""

    def _shutdown_workers(self) -> None:
        # The loop may be left before each worker has told its first state, and somebody may still ask for it.
        running = getattr(self, "_worker_pids_set", False) and _utils.python_exit_status is False
        if running and (self._snapshots.iterable or isinstance(self._dataset, Stateful)):
            self.wait_for_states()
        super()._shutdown_workers()
        if getattr(self, "_shutdown", False):
            self._context.close()
