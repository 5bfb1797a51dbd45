"""torch's iterator with workers, with another transport and a state. The iterating itself is torch's."""

import time
import weakref
from typing import TYPE_CHECKING, Any

from torch.utils.data import _DatasetKind, _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from forebay.loaders.loader_view import PROFILE_NAME, LoaderView, State
from forebay.loaders.order_torch import ResumableIndices
from forebay.loaders.restore import Undrawn, generator_state, run_again, say_replay
from forebay.loaders.snapshots import Snapshots
from forebay.loaders.stateful import BASE_SEED, LEN_CALLED, NUM_WORKERS, SHARED_SEED, Stateful
from forebay.loaders.worker_context import WorkerContext

if TYPE_CHECKING:
    from forebay.loaders.recovery import Recovery
    from forebay.loaders.resume import Resume


class _RestoredSeed:
    """A seed that torch's iterator draws; when a state is loaded, its seed is used instead."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get__(self, iterator: Any, owner: type) -> Any:
        return iterator.__dict__[self._key]

    def __set__(self, iterator: Any, drawn: Any) -> None:
        resume = iterator.__dict__.get("_resume")
        iterator.__dict__[self._key] = drawn if resume is None else resume.main.get(self._key, drawn)


class MultiProcessIter(_MultiProcessingDataLoaderIter):
    """The iterator with workers."""

    def __init__(self, loader: Any, state: State | None = None) -> None:
        self._resume = None if state is None else _read(state, loader.num_workers)
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
        self._recovery = _recovery(self._context) if loader.on_worker_death == "restart" else None
        if self._resume is not None:
            self._context.restore = self._resume.worker_states
        self._undrawn = Undrawn(loader.generator)
        try:
            super().__init__(LoaderView(loader, multiprocessing_context=self._context, _index_sampler=self._indices))
        except BaseException:
            self._context.close()
            raise
        self._context.all_started()
        self._profile_name = PROFILE_NAME.format("_MultiProcessingDataLoaderIter")
        resume, self._resume = self._resume, None
        if resume is not None:
            self._replay(resume)

    # The seeds that workers start from: torch draws them, a state overrides them.
    _base_seed = _RestoredSeed(BASE_SEED)
    _shared_seed = _RestoredSeed(SHARED_SEED)

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

    def _replay(self, resume: "Resume") -> None:
        """Make again, and drop, the batches between the snapshot and the state (or since the beginning)."""
        if resume.replay_all:
            say_replay(resume.step)
        run_again(self, resume.step * resume.replay_all + resume.steps_since, finished=resume.finished)
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


# A loop that begins at its beginning, and whose workers are not replaced, does without these.


def _read(state: State, workers: int) -> "Resume":
    from forebay.loaders.resume import Resume

    return Resume.of(state, workers)


def _recovery(context: WorkerContext) -> "Recovery":
    from forebay.loaders.recovery import Recovery

    return Recovery.of(context)
