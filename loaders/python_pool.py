"""The pool of processes for users' Python functions, as the loader sees it."""

import multiprocessing
import os
import pickle
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.engine.dataset import Dataset
from forebay.engine.run_stages import split_id
from forebay.formats.errors import LoaderError, SpecError, WorkerError
from forebay.loaders.arena import Arena
from forebay.loaders.python_process import INPUT, Done, Failed, Job, Part, serve
from forebay.loaders.shared_batch import batch_bytes, read_batch, write_batch
from forebay.loaders.stage_writer import RunStages
from forebay.transforms.stage import Stage
from forebay.transforms.transform import Rows

_RESULTS = 4
"""Slots of a process for results: a chunk holds some while the next are made. When all are out, a result comes by the pipe."""
_SLOT_BYTES = 1 << 30
"""Addresses of a slot; memory is added when a batch needs it."""


class PythonPool:
    """Spawned processes that run the stages of data sets, up to the one that writes to slots. Thread-safe.

    They start when the first batch is wanted, and end with this object or with its process, however that ends: each waits
    on a pipe that nobody else holds.
    """

    def __init__(self, datasets: Sequence[Dataset], processes: int) -> None:
        """
        Raises:
            SpecError: a function cannot be sent to another process.
        """
        self._parts = packed(datasets)
        self._count = processes
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._started: list[_Process] = []
        self._broken: WorkerError | None = None
        self._end = weakref.finalize(self, _end, self._started, os.getpid())

    def runner(self, member: int) -> RunStages:
        """What runs the stages of data set number `member`, as a `StageWriter` asks for it."""

        def run(
            stages: Sequence[Stage], batch: pa.RecordBatch, rows: Rows, path_of: Callable[[int], str]
        ) -> pa.RecordBatch:
            return self._run(member, batch, rows, path_of)

        return run

    def start(self) -> None:
        """Start the processes. Called by one thread, before others use the pool."""
        if self._started:
            return
        context = multiprocessing.get_context("spawn")
        arena = Arena.create(self._count * (1 + _RESULTS), _SLOT_BYTES)
        for number in range(self._count):
            here, there = context.Pipe()
            first = number * (1 + _RESULTS)
            process = context.Process(
                target=serve, args=(there, arena, first, self._parts), name=f"forebay-python-{number}", daemon=True
            )
            process.start()
            there.close()  # so that the end of either side is seen by the other
            self._started.append(_Process(first, process, here, arena))
            self._idle.put(self._started[-1])

    def _run(self, member: int, batch: pa.RecordBatch, rows: Rows, path_of: Callable[[int], str]) -> pa.RecordBatch:
        one = self._idle.get()
        try:
            if self._broken is not None:
                raise self._broken
            paths = {at: path_of(at) for at in np.unique(rows.ids >> np.uint64(32)).tolist()}
            job = Job(member, one.send_batch(batch), one.free_slot(), rows.ids, rows.seed, rows.epoch, paths)
            answer = one.ask(job)
        except (EOFError, OSError) as error:
            self._broken = self._died(one, rows, path_of)
            raise self._broken from error
        finally:
            self._idle.put(one)
        if isinstance(answer, Failed):
            one.give_slot(job.result)
            raise _raised(answer)
        return one.result(answer, job.result)

    def _died(self, one: "_Process", rows: Rows, path_of: Callable[[int], str]) -> WorkerError:
        one.process.join(5)
        code = one.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        fragment, row = split_id(int(rows.ids[0]))
        guard = (
            "; a script that makes a loader with python_processes= must do so under `if __name__ == '__main__':`"
            if code == 1
            else ""
        )
        return WorkerError(
            f"the Python process {one.process.pid} ended {how} while it ran the functions of map_batches on {len(rows.ids)} rows "
            f"from {path_of(fragment)}, fragment {fragment}, row {row} on{guard}"
        )


@dataclass(slots=True)
class _Process:
    """One process and its shared slots. Used by one thread at a time, but results are given back by any."""

    first: int
    """Its first slot in the arena."""
    process: SpawnProcess
    link: Connection
    arena: Arena | None
    slots: deque[int] = field(default_factory=lambda: deque(range(1, 1 + _RESULTS)))
    """Free slots for results."""

    def send_batch(self, batch: pa.RecordBatch) -> int | bytes:
        """Write a batch to the input slot; returns its bytes, or the batch itself where it does not fit."""
        size = batch_bytes(batch)
        if self.arena is None or size > self.arena.slot_bytes:
            memory = bytearray(size)
            write_batch(batch, memory)
            return bytes(memory)
        offset = self.arena.offset(self.first + INPUT)
        self.arena.back(offset, size)
        write_batch(batch, self.arena.export(offset, size))
        return size

    def free_slot(self) -> int:
        try:
            return self.slots.popleft()
        except IndexError:
            return -1

    def give_slot(self, slot: int) -> None:
        if slot >= 0:
            self.slots.append(slot)

    def ask(self, job: Job) -> Done | Failed:
        self.link.send(job)
        answer: Done | Failed = self.link.recv()
        return answer

    def result(self, done: Done, slot: int) -> pa.RecordBatch:
        """The batch of an answer. Its slot is free again when its last column is gone."""
        if isinstance(done.result, bytes):
            self.give_slot(slot)
            return read_batch(done.result)
        assert self.arena is not None
        memory = self.arena.export(self.arena.offset(self.first + slot), done.result)
        weakref.finalize(memory, self.slots.append, slot).atexit = False
        return read_batch(memory)


def packed(datasets: Sequence[Dataset]) -> bytes:
    """What a process must know of these data sets.

    Raises:
        SpecError: a function cannot be sent to another process; says which, and why.
    """
    parts = [Part(one.source.schema, one.graph, one.first_op) for one in datasets]
    try:
        return pickle.dumps(parts)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        for one in datasets:
            for transform in one.graph.transforms:
                _check_sendable(transform)
        raise SpecError(f"python_processes: the data set cannot be sent to another process: {error}") from error


def _check_sendable(transform: Any) -> None:
    try:
        pickle.dumps(transform)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        name = getattr(transform, "function", type(transform).__name__)
        raise SpecError(
            f"python_processes: the function {name!r} cannot be sent to another process ({error}); lambdas and functions inside "
            "functions cannot: define it at the top level of a module, or leave python_processes out, which runs it in threads"
        ) from error


def _raised(failed: Failed) -> BaseException:
    """What the process raised, with its traceback there."""
    error: BaseException
    if failed.error:
        error = pickle.loads(failed.error)
    else:
        error = LoaderError(f"a Python process raised {failed.kind}: {failed.text}")
    error.add_note(f"in a Python process of the loader:\n{failed.trace}")
    return error


def _end(started: Sequence[_Process], pid: int) -> None:
    if os.getpid() != pid:  # a copy in a forked process, which has no part in this
        return
    for one in started:
        one.link.close()
    for one in started:
        one.process.join(2)
        if one.process.is_alive():  # in the middle of a function
            one.process.terminate()
            one.process.join()
    for one in started[:1]:
        if one.arena is not None:
            one.arena.close()
