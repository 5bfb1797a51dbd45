"""A process that runs users' Python functions for a loader: gets a batch in shared memory, gives one back there.

It knows no torch: a spawned process imports this module first, and should be there at once.
"""

import pickle
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.graph import Graph
from forebay.engine.plan import make_plan
from forebay.loaders.arena import Arena
from forebay.loaders.shared_batch import batch_bytes, read_batch, write_batch
from forebay.loaders.stage_writer import StageWriter, run_here
from forebay.transforms.transform import Rows

INPUT = 0
"""Slot of a process that the loader writes to; results go to the others."""


@dataclass(frozen=True, slots=True)
class Job:
    """A batch to be run."""

    member: int
    """Which data set's stages."""
    source: int | bytes
    """Bytes of it in the input slot; or the batch itself, where it does not fit one."""
    result: int
    """Slot for the result; -1: none is free."""
    ids: NDArray[np.uint64]
    seed: int
    epoch: int
    paths: Mapping[int, str]
    """File of each fragment that has rows here, for messages."""


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a job."""

    result: int | bytes
    """Bytes of it in the result slot; or the batch itself."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What a job raised."""

    error: bytes
    """Pickled; empty when it cannot be."""
    kind: str
    text: str
    trace: str


@dataclass(frozen=True)
class Part:
    """All that a process must know to run the stages of one data set. Stages are bound here: they cannot travel."""

    schema: pa.Schema
    graph: Graph
    first_op: int

    @cached_property
    def writer(self) -> StageWriter:
        return StageWriter(make_plan(self.schema, self.graph, first_op=self.first_op), str)


def serve(link: Connection, arena: Arena | None, first: int, parts: bytes) -> None:
    """Run jobs until the loader, or its process, is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the loader's; it closes the link
    ready: list[Part] = []
    while True:
        try:
            job: Job = link.recv()
        except (EOFError, OSError):
            return
        try:
            ready = ready or pickle.loads(parts)
            answer: Done | Failed = _run(ready[job.member], job, arena, first)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised where the result would have come
            answer = _failed(error)
        try:
            link.send(answer)
        except OSError:
            return


def _run(part: Part, job: Job, arena: Arena | None, first: int) -> Done:
    if isinstance(job.source, bytes):
        batch = read_batch(job.source)
    else:
        assert arena is not None
        # a copy: the function may keep what it was given, and the slot is written again
        batch = read_batch(bytes(memoryview(arena.export(arena.offset(first + INPUT), job.source))))
    rows = Rows(job.ids, job.seed, job.epoch)
    path_of: Callable[[int], str] = job.paths.__getitem__
    made = run_here(part.writer.first, batch, rows, path_of)
    size = batch_bytes(made)
    if arena is None or job.result < 0 or size > arena.slot_bytes:
        memory = bytearray(size)
        write_batch(made, memory)
        return Done(bytes(memory))
    offset = arena.offset(first + job.result)
    arena.back(offset, size)
    write_batch(made, arena.export(offset, size))
    return Done(size)


def _failed(error: BaseException) -> Failed:
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:  # noqa: BLE001  # an error of the user's own may be anything; its text goes in any case
        pickled = b""
    trace = "".join(traceback.format_exception(error))
    return Failed(pickled, type(error).__name__, str(error), trace)
