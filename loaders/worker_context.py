"""What torch's iterator takes for a multiprocessing context: it makes our queues, and workers that know them.

torch's iterator asks its context for a queue of results, an event, and for each worker a queue of tasks and a process.
That is where another transport fits in without touching the iterator or the worker loop.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from forebay.loaders import device
from forebay.loaders.arena import Arena
from forebay.loaders.leases import Leases
from forebay.loaders.pipes import widen
from forebay.loaders.queues import FarEnds, IndexQueue, ResultQueue
from forebay.loaders.shared_room import default_arena_bytes
from forebay.loaders.worker import ResultSlot, TaskSlot, WorkerSetup, run_worker

if TYPE_CHECKING:
    from forebay.loaders.answered import Answered

_SPARE_SLOTS = 8
"""Slots for each worker beyond those of its tasks: for batches that the user keeps."""


@dataclass(slots=True)
class StopFlag:
    """torch's `done_event`, as a number in the arena: there is no lock that a killed worker could keep."""

    arena: Arena

    def set(self) -> None:
        """Tell workers to stop."""
        self.arena.table().stop()

    def is_set(self) -> bool:
        """Whether they are to stop."""
        return self.arena.table().stopped


@dataclass(slots=True)
class _Started:
    process: Any
    target: Callable[..., None]
    args: tuple[Any, ...]
    setup: WorkerSetup


class WorkerContext:
    """The seam between torch's iterator and the transport."""

    def __init__(self, real: Any, *, workers: int, prefetch: int, arena_bytes: int, pinned: bool) -> None:
        self._real = real
        self._workers, self._bytes = workers, arena_bytes
        slots = workers * (prefetch + _SPARE_SLOTS)
        self._arena = Arena.create(slots, arena_bytes // workers) if arena_bytes // workers else None
        gpu = device.number() if pinned else None
        self.leases = Leases(self._arena, pinned, gpu) if self._arena is not None else None
        self.results = ResultQueue(self.leases)
        self.tasks: list[IndexQueue] = []
        self.started: list[_Started] = []
        self.restore: list[bytes | None] = [None] * workers
        """States that workers begin from."""
        self.sample_seed: int | None = None
        """Where each sample has random numbers of its own: what they come from."""
        self.dump_signal = 0
        """Where workers may be replaced: the signal at which they write their stacks to standard error."""
        self._queues_made = 0
        self._with_worker: FarEnds | None = None
        self._closed = False

    @classmethod
    def of(cls, loader: Any) -> "WorkerContext":
        """As a loader asks for it."""
        made = cls(
            loader.multiprocessing_context or torch.multiprocessing,
            workers=max(loader.num_workers, 1),
            prefetch=loader.prefetch_factor or 0,
            arena_bytes=default_arena_bytes() if loader.arena_bytes is None else loader.arena_bytes,
            pinned=bool(loader.pin_memory and device.number() is not None),
        )
        made.sample_seed = loader.sample_seed
        return made

    def Queue(self) -> Any:
        """First the queue of results, then one of tasks for each worker."""
        self._queues_made += 1
        if self._queues_made == 1:
            return self.results
        self.tasks.append(IndexQueue())
        return self.tasks[-1]

    def Event(self) -> Any:
        """The event that tells workers to stop."""
        return StopFlag(self._arena) if self._arena is not None else self._real.Event()

    def Process(self, target: Callable[..., None], args: tuple[Any, ...]) -> Any:
        """A worker, not yet started."""
        worker = len(self.started)
        if worker == 0 and self._real.get_start_method() == "fork":
            # each worker is about to import it, to seed it: 5 MB that forked ones can share
            importlib.import_module("numpy.random")
        setup = WorkerSetup(
            worker,
            self._connect(worker),
            self._arena,
            self._bytes,
            workers=self._workers,
            pinned=self.leases is not None and self.leases.pinned,
            restore=self.restore[worker],
            sample_seed=self.sample_seed,
            dump_signal=self.dump_signal,
        )
        stand_ins: dict[type, Any] = {IndexQueue: TaskSlot(), ResultQueue: ResultSlot()}
        args = tuple(stand_ins.get(type(one), one) for one in args)
        process = self._real.Process(target=run_worker, args=(target, args, setup))
        self.started.append(_Started(process, target, args, setup))
        return process

    def again(self, worker: int, answered: "Answered") -> Any:
        """A process in the place of one that has died, not yet started, with new pipes and the same slots."""
        old = self.started[worker]
        with self.results.lock:
            if self.leases is not None:
                self.leases.reclaim(worker)
            ends = self._connect(worker)
            replay, generation = answered.replay(), answered.generation
        setup = replace(old.setup, ends=ends, restore=replay.state, replay=replay, generation=generation)
        process = self._real.Process(target=run_worker, args=(old.target, old.args, setup))
        self.started[worker] = _Started(process, old.target, old.args, setup)
        return process

    def all_started(self) -> None:
        """The last worker that was made has been started: its ends of the pipes are its own now."""
        if self._with_worker is not None:
            self._with_worker.close()
            self._with_worker = None

    def close(self) -> None:
        """Give back all descriptors. Batches that the user holds stay whole."""
        if self._closed:
            return
        self._closed = True
        self.all_started()
        for queue in self.tasks:
            queue.close()
        self.results.close()
        if self.leases is not None:
            self.leases.close()
        if self._arena is not None:
            self._arena.close()

    def _connect(self, worker: int) -> FarEnds:
        """New pipes for a worker. Its ends stay open here until it has started, when the next one is made."""
        self.all_started()
        task_far, task_near = os.pipe()
        result_near, result_far = os.pipe()
        widen(result_far)
        self.tasks[worker].connect(task_near)
        self.results.connect(worker, result_near)
        self._with_worker = FarEnds(task_far, result_far, (task_near, result_near))
        return self._with_worker
