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

from torch.utils.data import IterableDataset, _utils

from forebay.formats.errors import SpecError, WorkerError
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
    _in_a_row: dict[int, int] = field(default_factory=dict)
    _in_all: int = 0

    @classmethod
    def of(cls, on_worker_death: str, context: WorkerContext) -> "Recovery | None":
        """None where a death is to end the loop, as it does in torch. Before the first worker is made."""
        if on_worker_death != "restart":
            return None
        context.dump_signal = _DUMP_SIGNAL
        return cls(context)

    def watch(self, iterator: Any) -> None:
        """From the first task on, note what is out, and let no handler of SIGCHLD end the loop."""
        for tasks in self.context.tasks:
            tasks.sent = {}
        self.context.results.on_answer, self.context.results.recovers = self._answered, True
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

    def _answered(self, worker: int, task: Any) -> bool:
        self._in_a_row[worker] = 0
        sent = self.context.tasks[worker].sent
        return sent is None or sent.pop(task, None) is not None

    def _end_stuck(self, iterator: Any) -> None:
        """Replace the worker that has the oldest task, after it has written its stack to standard error."""
        oldest = {number: min(tasks.numbers) for number, tasks in enumerate(self.context.tasks) if tasks.numbers}
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
            raise WorkerError(
                f"{told}, {again}: it is not replaced once more. Get these samples from the data set in the main process "
                "(num_workers=0) to see what they do, or leave them out"
            )
        _LOG.warning("%s: replaced", told)
        tasks = self.context.tasks[number]
        resuming = tasks.resuming
        process = self.context.again(
            number,
            restore=iterator.progress.last_state(number),
            generation=iterator.progress.generation - resuming,  # it begins the epoch when it starts, then once more
        )
        process.daemon = True
        process.start()
        self.context.all_started()
        iterator._workers[number] = process
        tasks.send_again()

    def _doing(self, number: int) -> str:
        """What a worker was at: the first of its tasks that it has not answered."""
        tasks = self.context.tasks[number]
        if not tasks.numbers or tasks.sent is None:
            return "between two batches"
        task = min(tasks.numbers)
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


def check_deaths(on_worker_death: str, dataset: Any) -> None:
    """Refuse what cannot be done after a worker's death.

    Raises:
        SpecError: unknown words, or a data set whose worker cannot begin again in the middle.
    """
    if on_worker_death not in ("raise", "restart"):
        raise SpecError(f"on_worker_death is {on_worker_death!r}; expected 'raise' (as torch does) or 'restart'")
    if on_worker_death == "restart" and isinstance(dataset, IterableDataset):
        raise SpecError(
            f"on_worker_death='restart' asks for samples by their number once more; {type(dataset).__name__} can only be "
            "iterated. Leave it out, save state_dict() now and then, and go on from that"
        )
