"""`on_worker_death="restart"`: a worker that dies, or is stuck, is replaced, and what it was to do is asked for again.

Tasks go out in order, and a batch counts only when it has arrived whole, so nothing is lost or given twice. torch itself
ends the loop in either case, from a handler of SIGCHLD or when it has waited long enough.
"""

import logging
import os
import queue
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import IterDataPipe, _DatasetKind, _utils

from forebay.formats.errors import SpecError, WorkerError
from forebay.loaders.answered import Answered
from forebay.loaders.note import Note
from forebay.loaders.sample_seeds import index_of
from forebay.loaders.worker_context import WorkerContext

_LOG = logging.getLogger(__name__)

IN_A_ROW, IN_ALL = 3, 32
"""Deaths of a worker without a batch between them, and of all workers of an iterator, that end the loop."""
_DUMP_SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR2) + 5
"""One that nobody else is likely to use."""
_LOOK_S = 0.1
"""How often workers are looked at while nothing comes."""
_DUMP_S = 0.5
"""What a stuck worker gets to write down where it is."""
_NAMED = 16
"""Samples that a message names."""


@dataclass(slots=True)
class Recovery:
    """Stands between torch's iterator and its queue of results."""

    context: WorkerContext
    _workers: list[Answered] = field(default_factory=list)
    _heard: float = 0.0
    """When a worker that comes to where another was last said that it is at work."""
    _in_a_row: dict[int, int] = field(default_factory=dict)
    _in_all: int = 0

    @classmethod
    def of(cls, context: WorkerContext) -> "Recovery":
        """Before the first worker is made."""
        context.dump_signal = _DUMP_SIGNAL
        return cls(context)

    def watch(self, iterator: Any) -> None:
        """From the first task on, note what is out, and let no handler of SIGCHLD end the loop."""
        iterable = iterator._dataset_kind == _DatasetKind.Iterable
        self._workers = [Answered(iterable, state) for state in self.context.restore]
        for tasks in self.context.tasks:
            tasks.sent = {}
        results = self.context.results
        results.on_answer, results.on_note, results.recovers = self._answered, self._noted, True
        signals: Any = _utils.signal_handling
        signals._remove_worker_pids(id(iterator))
        signals._set_worker_pids(id(iterator), ())  # torch removes them once more at the end

    def get(self, iterator: Any, timeout: float) -> tuple[bool, Any]:
        """What torch's `_try_get_data` gives: whether something came in time, and what.

        Raises:
            WorkerError: workers die again and again.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = _next(iterator, min(_LOOK_S, deadline - time.monotonic()))
            if found is not None:
                return True, found
            deadline = max(deadline, self._heard + timeout)
            workers, expected = iterator._workers, iterator._workers_status
            dead = [number for number, one in enumerate(workers) if expected[number] and not one.is_alive()]
            if dead:
                found = _next(iterator, _LOOK_S)  # what it had sent before
                if found is not None:
                    return True, found
                for number in dead:
                    self._replace(iterator, number, _end_of(workers[number]))
            elif time.monotonic() < deadline:
                continue
            elif not iterator._timeout:
                return False, None
            else:
                self._end_stuck(iterator)
            deadline = time.monotonic() + timeout

    def _answered(self, worker: int, task: Any, data: Any, note: Note | None) -> bool:
        self._in_a_row[worker] = 0
        tasks, one = self.context.tasks[worker], self._workers[worker]
        if tasks.sent is None:
            return True
        if one.in_order and isinstance(task, int) and tasks.numbers[:1] != [task]:
            return False  # the one before could not be read, for its worker is gone: both are made again
        sent = tasks.sent.pop(task, None)
        if sent is None:
            return False
        if isinstance(task, int):
            one.answered(sent[0], told=sent[1], data=data, note=note)
            if one.ended:
                tasks.forget_tasks()
        else:
            tasks.forget_tasks()  # of the epoch before, whose end the worker had reached
            one.resumed = task
        return True

    def _noted(self, note: Note) -> None:
        if note.generation < 0:
            self._heard = time.monotonic()
        elif note.task is None:
            self._workers[note.worker].begun(note)

    def _end_stuck(self, iterator: Any) -> None:
        """Replace the worker that has the oldest task, after it has written its stack to standard error."""
        working = zip(self.context.tasks, iterator._workers_status, strict=True)
        oldest = {
            number: min(tasks.numbers) for number, (tasks, works) in enumerate(working) if works and tasks.numbers
        }
        number = min(oldest, key=oldest.__getitem__) if oldest else 0
        stuck = iterator._workers[number]
        os.write(2, f"DataLoader worker {number} (pid {stuck.pid}) is stuck; its stacks:\n".encode())
        os.kill(stuck.pid, self.context.dump_signal)
        stuck.join(_DUMP_S)
        stuck.kill()
        self._replace(iterator, number, f"gave nothing for timeout={iterator._timeout:g} seconds and was ended")

    def _replace(self, iterator: Any, number: int, end: str) -> None:
        old = iterator._workers[number]
        old.join()
        self._in_all += 1
        self._in_a_row[number] = self._in_a_row.get(number, 0) + 1
        told = f"DataLoader worker {number} (pid {old.pid}) {end}, {self._doing(number)}"
        if self._in_a_row[number] >= IN_A_ROW or self._in_all >= IN_ALL:
            times = self._in_a_row[number]
            again = f"{times} times in a row" if times >= IN_A_ROW else f"as {self._in_all} workers before did"
            see = "Iterate" if self._workers[number].iterable else "Get these samples from"
            raise WorkerError(
                f"{told}, {again}: it is not replaced once more. {see} the data set in the main process (num_workers=0) to see "
                "what happens, or leave such samples out"
            )
        _LOG.warning("%s: replaced", told)
        tasks, answered = self.context.tasks[number], self._workers[number]
        process = self.context.again(number, answered)
        process.daemon = True
        process.start()
        self.context.all_started()
        iterator._workers[number] = process
        if answered.resumed is not None:  # it has yet to begin the epoch whose beginning the other has acknowledged
            tasks.write(answered.resumed)
        elif answered.ended:
            tasks.forget_tasks()
        tasks.send_again()

    def _doing(self, number: int) -> str:
        """What a worker was at: the first of its tasks that it has not answered."""
        tasks = self.context.tasks[number]
        if not tasks.numbers or tasks.sent is None:
            return "between two batches"
        task = min(tasks.numbers)
        if self._workers[number].iterable:
            return f"at batch {task}"
        index = tasks.sent[task][0]
        samples = list(index) if isinstance(index, list | tuple) else [index]
        if self.context.sample_seed is not None:
            samples = [index_of(key) for key in samples]
        more = f", ... {len(samples)} in all" if len(samples) > _NAMED else ""
        return f"at batch {task} of samples [{', '.join(map(str, samples[:_NAMED]))}{more}]"


def _next(iterator: Any, seconds: float) -> Any:
    try:
        return iterator._data_queue.get(timeout=max(0.0, seconds))
    except queue.Empty:
        return None


def _end_of(process: Any) -> str:
    code = process.exitcode
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    names = {one.value: one.name for one in signal.Signals}
    hint = " (the kernel does that where memory runs out)" if code == -signal.SIGKILL else ""
    return f"was killed by {names.get(-code, f'signal {-code}')}{hint}"


def check_deaths(on_worker_death: str, dataset: Any, *, persistent: bool) -> None:
    """Refuse what cannot be done after a worker's death.

    Raises:
        SpecError: unknown words, or a data set whose worker cannot come to where another was.
    """
    if on_worker_death not in ("raise", "restart"):
        raise SpecError(f"on_worker_death is {on_worker_death!r}; expected 'raise' (as torch does) or 'restart'")
    if on_worker_death == "restart" and isinstance(dataset, IterDataPipe) and persistent:
        raise SpecError(
            f"on_worker_death='restart' cannot give a new worker the random numbers of {type(dataset).__name__}: torch seeds "
            "data pipes anew in each epoch of persistent workers. Leave out persistent_workers=True, or take an IterableDataset"
        )
