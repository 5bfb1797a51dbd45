"""What runs in a worker process: torch's own worker loop, with three hooks around it.

1. Tasks and results go through our pipes (`queues`).
2. `default_collate` stacks tensors in the slot that the batch will travel in, instead of in a new shared-memory file.
3. The data set's state is told beside its batches (`worker_state`).

The hooks are set in this process only, which exists for nothing else.
"""

import contextlib
import faulthandler
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.utils.data
from torch._utils import ExceptionWrapper
from torch.utils.data import _DatasetKind
from torch.utils.data._utils import collate
from torch.utils.data._utils.worker import _IterableDatasetStopIteration

from forebay.formats.errors import WorkerError
from forebay.loaders.arena import Arena
from forebay.loaders.leaves import SMALL_LEAF
from forebay.loaders.note import Note
from forebay.loaders.packing import Packer
from forebay.loaders.pipes import FrameWriter, pipe_bytes
from forebay.loaders.queues import FarEnds, ResultOutlet, TaskInlet
from forebay.loaders.shared_room import check_shm
from forebay.loaders.slot_claims import SlotClaims
from forebay.loaders.slot_writer import SlotWriter
from forebay.loaders.worker_state import WorkerState

if TYPE_CHECKING:
    from forebay.loaders.replay import Replay


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker needs beside torch's own arguments."""

    worker: int
    ends: FarEnds
    arena: Arena | None
    arena_bytes: int
    """Bytes that the slots of all workers may have."""
    workers: int = 1
    pinned: bool = False
    """Whether the loader page-locks slots for a device."""
    restore: bytes | None = None
    """State of the data set to begin from, pickled."""
    generation: int = 0
    """Epochs of this iterator before."""
    dump_signal: int = 0
    """At this signal the worker writes the stacks of its threads to standard error; 0: it knows none."""
    replay: "Replay | None" = None
    """Where a worker that died was, whose place this one takes."""
    sample_seed: int | None = None
    """Tasks are keys, not indices, and each sample is made with generators seeded from this and its key."""


class TaskSlot:
    """Stands in torch's arguments for the queue of tasks until the worker has started."""


class ResultSlot:
    """Stands in torch's arguments for the queue of results until the worker has started."""


def run_worker(target: Callable[..., None], args: tuple[Any, ...], setup: WorkerSetup) -> None:
    """Run torch's worker loop."""
    for fd in setup.ends.near:
        if fd >= 0:
            os.close(fd)
    # What was inherited stays where it is: a collection would write to all of it, and so copy the loader's memory.
    gc.freeze()
    _let_the_trainer_run()
    if setup.dump_signal:
        faulthandler.register(setup.dump_signal, file=2, all_threads=True)
    session = _Session(setup)
    session.install()
    queues = {TaskSlot: session.inlet, ResultSlot: session.outlet}
    target(*(queues.get(type(arg), arg) for arg in args))
    if not session.outlet.abandoned:
        session.outlet.flush()


def _let_the_trainer_run() -> None:
    """Take no CPU from the trainer by being woken: on Linux a process of SCHED_BATCH has its share like any other, but who
    sends it a task keeps the CPU. Where that is not allowed, nothing changes but speed."""
    if not hasattr(os, "SCHED_BATCH"):
        return
    with contextlib.suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class _Session:
    """One worker's life."""

    def __init__(self, setup: WorkerSetup) -> None:
        slots = None
        if setup.arena is not None:
            claims = SlotClaims(
                setup.arena, setup.worker, setup.workers, limit=setup.arena_bytes, releases=not setup.pinned
            )
            slots = SlotWriter(setup.arena, claims)
        self._worker = setup.worker
        self._generation = setup.generation
        self._seed = setup.sample_seed
        self._packer = Packer(slots, in_frame=pipe_bytes(setup.ends.results) // 2)
        self._state = WorkerState(setup.worker, setup.restore)
        self._replay = setup.replay
        self._replaceable = setup.dump_signal != 0
        self._failed: str | None = None
        """Why the data set cannot be gone on with where a worker that died was."""
        self._snapshot = False
        self._slots = slots
        self.inlet = TaskInlet(setup.ends.tasks, self._begin, self._sent)
        self.outlet = ResultOutlet(FrameWriter(setup.ends.results), self._frame)

    def install(self) -> None:
        """Set the hooks."""
        kinds: Any = torch.utils.data._DatasetKind
        kinds.create_fetcher = staticmethod(partial(self._create_fetcher, kinds.create_fetcher))
        known = collate.default_collate_fn_map
        if known.get(torch.Tensor) is collate.collate_tensor_fn:
            known[torch.Tensor] = partial(collate_in_slot, self._packer)

    def _create_fetcher(self, make: Callable[..., Any], kind: int, *args: Any) -> Any:
        state, replay, self._replay = None, self._replay, None
        if replay is not None:
            replay.begin()
        # an iterable's batches come from what its generators were; others are asked for by number
        generators = _generators() if self._replaceable and kind == _DatasetKind.Iterable else None
        try:
            fetcher = self._state.create_fetcher(make, kind, *args)
            fetcher = fetcher if self._seed is None else _seeded(fetcher, self._seed)
            if replay is not None:
                self._failed = replay.run(fetcher, lambda: self._tell(Note(self._worker, -1, None)))
            state = self._state.changed(again=replay is not None)
            return fetcher
        finally:
            again = replay is not None
            self._tell(Note(self._worker, self._generation, state, generators=generators, again=again))
            self._generation += 1

    def _tell(self, note: Note) -> None:
        self.outlet.writer.send(self._packer.pack(note))

    def _begin(self, task: int, snapshot: bool) -> None:
        self._snapshot = snapshot
        self._packer.begin()

    def _sent(self) -> None:
        """torch's loop has dropped the batch that it has sent."""
        if self._slots is not None:
            self._slots.sent()

    def _frame(self, message: tuple[Any, Any]) -> bytes:
        task, data = message
        note, ends = None, isinstance(data, _IterableDatasetStopIteration)
        if self._failed is not None and isinstance(task, int):
            data = self._error(WorkerError(self._failed))
        elif self._snapshot or ends:
            try:
                state = self._state.changed()
                tells = self._replaceable and self._state.iterable and (ends or self._state.stateful)
                generators = _generators() if tells else None
                if state is not None or tells:
                    note = Note(self._worker, self._generation - 1, state, task, generators)
            except Exception:  # noqa: BLE001  # whatever the data set's state_dict raises is told like an error of its items
                data = self._error()
        try:
            return self._packer.pack((task, data, note))
        except Exception:  # noqa: BLE001  # torch would print this and wait for ever
            return self._packer.pack((task, self._error(), note))

    def _error(self, error: Exception | None = None) -> Any:
        """An error on its way to the loader: this one, or the one that is being handled."""
        wrapper: Any = ExceptionWrapper
        where = f"in DataLoader worker process {self._worker}"
        return wrapper(where=where) if error is None else wrapper((type(error), error, None), where)


# Only workers that may be replaced, or whose samples have seeds of their own, need these.


def _generators() -> bytes:
    from forebay.loaders.generator_states import generator_states

    return generator_states()


def _seeded(fetcher: Any, seed: int) -> Any:
    from forebay.loaders.sample_seeds import SeededFetcher

    return SeededFetcher(fetcher, seed, put_back=False)


def collate_in_slot(packer: Packer, batch: Any, *, collate_fn_map: Any = None) -> torch.Tensor:
    """torch's `collate_tensor_fn`, stacking into this batch's slot where that is possible; torch's own where it is not."""
    first = batch[0]
    if type(first) is torch.Tensor and first.is_cpu and not first.is_nested and first.layout is torch.strided:
        # torch also stacks into memory of the first one's type here, so that types mix as they do there
        with contextlib.suppress(RuntimeError):
            if first.nbytes * len(batch) < SMALL_LEAF:
                return torch.stack(batch, 0, out=first.new_empty((len(batch), *first.shape)))
            made = packer.stack(batch)
            if made is not None:
                return made
        check_shm(first.nbytes * len(batch))
    return collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)
