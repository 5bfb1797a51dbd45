"""Where an iterator with workers is: the loader's order and each worker's data set, as of the last batch delivered.

Workers run ahead. So the loader writes down its own part when it sends a task, a worker tells its part with the batch,
and both count only when that batch is delivered. A worker's part stays pickled until somebody asks for the state: it
cannot change meanwhile, and a step costs next to nothing.
"""

import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from forebay.loaders.note import Note
from forebay.loaders.restore import generator_state
from forebay.loaders.stateful import (
    DATASET,
    FETCHER,
    FINISHED,
    LAST_WORKER,
    MAIN,
    SNAPSHOT,
    SNAPSHOT_STEP,
    STEPS_SINCE,
    WORKER,
    WORKERS,
    worker_key,
)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A whole snapshot."""

    step: int
    last_worker: int
    main: dict[str, Any]
    workers: tuple[bytes | None, ...]


@dataclass(slots=True)
class Snapshots:
    """The state of one iterator. Outlives it: a loop that was left can still be saved."""

    workers: int
    every: int
    """Batches between two snapshots; what comes after the last is made again when the state is loaded. 0: none."""
    prefetch: int
    """Tasks that are out at the same time."""
    iterable: bool
    """Whether the data set is an IterableDataset."""
    yielded: int = 0
    """Batches delivered."""
    finished: bool = False
    generation: int = 0
    """Epochs before, of the same workers."""
    _first: list[bytes | None] = field(default_factory=list)
    """States of the workers before their first batch."""
    _latest: list[bytes | None] = field(default_factory=list)
    _unheard: set[int] = field(default_factory=set)
    _arrived: dict[int, Note] = field(default_factory=dict)
    _sent: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    _taken: _Taken | None = None
    _draws_globally: bool = False
    generator: torch.Generator | None = None
    """The loader's. At an epoch's end it has drawn once more since the last snapshot."""
    listen: "Callable[[], Callable[[], None] | None]" = lambda: None
    """Gives what waits for the workers' first states, while their iterator lives."""

    def begin(self, main: dict[str, Any], *, step: int = 0, last_worker: int | None = None) -> None:
        """An epoch begins, or goes on behind batch `step` of it."""
        self._first = [None] * self.workers
        self._latest = [None] * self.workers
        self._unheard = set(range(self.workers))
        self._arrived, self._sent = {}, deque()
        self.yielded, self.finished = step, False
        last = self.workers - 1 if last_worker is None else last_worker
        self._taken = _Taken(step, last, main, (None,) * self.workers)

    @property
    def complete(self) -> bool:
        """Whether every worker has told its first state."""
        return not self._unheard

    def hear(self, notes: deque[Note]) -> None:
        """Take in what workers told."""
        while notes:
            note = notes.popleft()
            if note.generation != self.generation:
                continue  # of the epoch before, which was left in the middle
            if note.task is not None:
                if note.state is not None:
                    self._arrived[note.task] = note
            elif note.worker in self._unheard:
                self._unheard.discard(note.worker)
                self._first[note.worker] = self._latest[note.worker] = note.state

    def wanted(self, drawn: int) -> tuple[bool, bool]:
        """Whether the task that is sent next, the `drawn`th of the order, needs the loader's part, and the worker's.

        Only tasks that can be the last before a snapshot do; with an IterableDataset, whose workers may end early, nobody
        knows exactly which that will be.
        """
        if not self.every:
            return False, False
        if self.iterable:
            reach = self.yielded % self.every + 1 + self.prefetch
            return reach >= self.every, reach + self.workers >= self.every
        return drawn % self.every == 0, (drawn - 1) % self.every + self.workers >= self.every

    def sent(self, task: int, main: dict[str, Any]) -> None:
        """The loader's part, after it has sent `task`."""
        self._sent.append((task, main))

    def deliver(self, task: int, worker: int, *, in_order: bool) -> None:
        """A batch is delivered. All tasks up to `task` are then done; without order, others may be, too."""
        self.yielded += 1
        for arrived in sorted(self._arrived):
            if not in_order or arrived <= task:
                note = self._arrived.pop(arrived)
                self._latest[note.worker] = note.state
        main = None
        while self._sent and self._sent[0][0] <= task:
            main = self._sent.popleft()[1]
        # Without order there may be none: then an older snapshot stands, and more steps are made again.
        if self.every and self.yielded % self.every == 0 and main is not None:
            self._taken = _Taken(self.yielded, worker, main, tuple(self._latest))

    def finish(self, draws_globally: bool) -> None:
        """The epoch is over. Where the next one's order comes from torch's global generator, states hold it from now on."""
        self.finished, self._draws_globally = True, draws_globally

    def state_dict(self) -> dict[str, Any]:
        """The state, in torchdata's layout."""
        wait = None if self.complete else self.listen()
        if wait is not None:
            wait()
        taken = self._taken
        assert taken is not None
        workers = {}
        for worker in range(self.workers):
            told = taken.workers[worker] or self._first[worker]
            nothing = {WORKER: worker, FETCHER: None, DATASET: None}
            workers[worker_key(worker)] = nothing if told is None else pickle.loads(told)
        snapshot = {
            SNAPSHOT_STEP: taken.step,
            LAST_WORKER: taken.last_worker,
            MAIN: {**taken.main, **(generator_state(self.generator, self._draws_globally) if self.finished else {})},
            WORKERS: workers,
        }
        return {SNAPSHOT: snapshot, STEPS_SINCE: self.yielded - taken.step, FINISHED: self.finished}
