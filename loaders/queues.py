"""The queues between a loader and its workers, in the shape that torch's iterator and worker loop expect.

    loader: IndexQueue.put  ->  pipe  ->  TaskInlet.get      (torch's worker loop reads it)
    loader: ResultQueue.get <-  pipe  <-  ResultOutlet.put   (torch's worker loop writes it)

Every worker has a pair of pipes of its own. With one common pipe, as in torch, a worker that is killed while it writes
takes the lock with it, and all others with them.
"""

import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any

from forebay.loaders.leases import Leases
from forebay.loaders.note import Note, OnAnswer
from forebay.loaders.pipes import FrameReader, FrameWriter
from forebay.loaders.unpacking import unpack


@dataclass(slots=True)
class FarEnds:
    """A worker's ends of its pipes, on their way to it: inherited by fork, duplicated by spawn and forkserver."""

    tasks: int
    results: int
    near: tuple[int, int] = (-1, -1)
    """The loader's ends, which a forked worker has inherited and does not need."""

    def close(self) -> None:
        """The worker has them now."""
        for fd in (self.tasks, self.results):
            os.close(fd)

    def __getstate__(self) -> tuple[Any, ...]:
        return DupFd(self.tasks), DupFd(self.results)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        tasks, results = state
        self.tasks, self.results, self.near = tasks.detach(), results.detach(), (-1, -1)


class IndexQueue:
    """The loader's end of the pipe that takes tasks to one worker, with the methods of a queue that torch calls."""

    def __init__(self) -> None:
        self._writer: FrameWriter | None = None
        self.snapshot = False
        """Whether the next task's state is wanted."""
        self.sent: dict[Any, tuple[Any, bool]] | None = None
        """Task (or torch's signal that an epoch begins) -> index and snapshot, of those not answered yet; kept only where a
        worker may have to be replaced."""

    def connect(self, fd: int) -> None:
        """Write to this pipe from now on."""
        if self._writer is not None:
            self._writer.close()
        self._writer = FrameWriter(fd)

    def put(self, message: Any) -> None:
        """Send `(task, index)`, torch's signals, or None. Never blocks; a worker that is gone is somebody else's matter."""
        if isinstance(message, tuple):
            task, index = message
            if self.sent is not None:
                self.sent.pop(task, None)  # numbers begin again with each epoch, and order counts
                self.sent[task] = index, self.snapshot
            message = task, index, self.snapshot
        elif message is not None and self.sent is not None:
            self.sent[message] = None, False
        self.write(message)

    def forget_tasks(self) -> None:
        """The tasks that were not answered will not be."""
        self.sent = {task: sent for task, sent in (self.sent or {}).items() if not isinstance(task, int)}

    def send_again(self) -> None:
        """Send what was not answered once more, to a worker that knows nothing of it."""
        sent, self.sent = self.sent or {}, {}
        for task, (index, self.snapshot) in sent.items():
            self.put((task, index) if isinstance(task, int) else task)

    @property
    def numbers(self) -> list[int]:
        """Tasks that were not answered."""
        return [task for task in list(self.sent or ()) if isinstance(task, int)]

    @property
    def resuming(self) -> bool:
        """Whether the worker has yet to answer that it begins an epoch."""
        return any(not isinstance(task, int) for task in list(self.sent or ()))

    def write(self, message: Any) -> None:
        """Send a message as it is."""
        if self._writer is None:
            return
        try:
            self._writer.send(bytes(ForkingPickler.dumps(message)))
        except BrokenPipeError:
            self._writer.close()
            self._writer = None

    def cancel_join_thread(self) -> None:
        """Nothing is joined here: what is not written when the process ends is lost, as torch wants it."""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class ResultQueue:
    """The loader's end of all pipes that bring batches."""

    def __init__(self, leases: Leases | None) -> None:
        self._leases = leases
        self._poll = select.poll()
        self._readers: dict[int, tuple[int, FrameReader]] = {}
        self._ready: deque[tuple[int, bytearray]] = deque()
        self._own: deque[Any] = deque()
        self._wake, self._waker = os.pipe()
        self._poll.register(self._wake, select.POLLIN)
        self.notes: deque[Note] = deque()
        """What workers told; for the iterator to read."""
        self.lock = threading.RLock()
        """torch's pin thread reads here while the main thread may replace a worker."""
        self.recovers = False
        """Whether what a dead worker can no longer hand over is asked for again."""
        self.on_answer: OnAnswer | None = None
        """Asked for each batch that arrives: False drops it."""
        self.on_note: Callable[[Note], None] | None = None

    def connect(self, worker: int, fd: int) -> None:
        """Read this worker's pipe from now on, and no older one of its."""
        with self.lock:
            for old, (owner, reader) in list(self._readers.items()):
                if owner == worker:
                    self._forget(old, reader)
            self._ready = deque(one for one in self._ready if one[0] != worker)
            self._readers[fd] = worker, FrameReader(fd)
            self._poll.register(fd, select.POLLIN)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next `(task, data)` of any worker.

        Raises:
            queue.Empty: none came in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._leases is not None:
            self._leases.settle()
        while True:
            if self._own:
                return self._own.popleft()
            with self.lock:
                while self._ready:
                    answer = self._take()
                    if answer is not None:
                        return answer
            if not self._wait(0.0 if not block else None if deadline is None else deadline - time.monotonic()):
                raise queue.Empty

    def put(self, message: Any) -> None:
        """Put something in from this very process: torch wakes its pin thread so."""
        self._own.append(message)
        os.write(self._waker, b"!")

    def listen(self, seconds: float) -> None:
        """Wait for notes; batches that come meanwhile are kept for `get`."""
        if not self._ready:
            self._wait(seconds)
        while self._ready:
            answer = self._take()
            if answer is not None:
                self._own.append(answer)

    def cancel_join_thread(self) -> None:
        """There is no thread."""

    def close(self) -> None:
        self.on_answer = self.on_note = None  # who asked knows us: a circle
        for fd, (_, reader) in list(self._readers.items()):
            self._forget(fd, reader)
        if self._wake >= 0:
            os.close(self._wake)
            os.close(self._waker)
            self._wake = -1

    def _take(self) -> Any:
        """The next frame, unpacked: `(task, data)`, or None when it was something else."""
        worker, frame = self._ready.popleft()
        try:
            message = unpack(frame, self._leases)
        except (OSError, EOFError):
            # memory on torch's way is handed over by the worker itself, which is gone
            if self.recovers:
                return None
            raise
        if isinstance(message, Note):
            if self.on_note is not None:
                self.on_note(message)
            self.notes.append(message)
            return None
        task, data, note = message
        if self.on_answer is not None and not self.on_answer(worker, task, data, note):
            return None
        if note is not None:
            self.notes.append(note)
        return task, data

    def _wait(self, seconds: float | None) -> bool:
        """Read what is there, after at most so long. False when nothing came."""
        if self._wake < 0:
            return False
        if seconds is not None and seconds < 0:
            seconds = 0.0
        events = self._poll.poll(None if seconds is None else seconds * 1000)
        for fd, _ in events:
            if fd == self._wake:
                os.read(fd, 1)
                continue
            with self.lock:
                if fd not in self._readers:
                    continue
                worker, reader = self._readers[fd]
                self._ready.extend((worker, frame) for frame in reader.read())
                if reader.ended:
                    # whether that was to be expected, torch finds out: by SIGCHLD, or when it has waited long enough
                    self._forget(fd, reader)
        return bool(events)

    def _forget(self, fd: int, reader: FrameReader) -> None:
        self._poll.unregister(fd)
        del self._readers[fd]
        reader.close()


class TaskInlet:
    """A worker's end of its tasks."""

    def __init__(self, fd: int, begin: Callable[[int, bool], None], wait: Callable[[], None]) -> None:
        """`begin`: told of each task and whether its state is wanted; `wait`: called before the next is looked for."""
        self._reader = FrameReader(fd)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._ready: deque[bytearray] = deque()
        self._begin, self._before = begin, wait

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next task or signal, as torch's worker loop wants it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._before()
        while not self._ready:
            left = 0.0 if not block else None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._poll.poll(None if left is None else left * 1000):
                raise queue.Empty
            self._ready.extend(self._reader.read())
            if self._reader.ended and not self._ready:
                # the loader is gone; torch's watchdog sees that, at its own pace
                self._poll.unregister(self._reader.fd)
                self._reader.ended = False
        message = ForkingPickler.loads(self._ready.popleft())
        if isinstance(message, tuple):
            task, index, snapshot = message
            self._begin(task, snapshot)
            return task, index
        return message


@dataclass(slots=True)
class ResultOutlet:
    """A worker's end of its results."""

    writer: FrameWriter
    frame: Callable[[Any], bytes]
    """Makes frames of what torch's worker loop puts."""
    abandoned: bool = False
    """Whether torch has said that nobody needs the rest."""

    def put(self, message: Any) -> None:
        self.writer.send(self.frame(message))

    def flush(self) -> None:
        """Wait until the loader has taken all."""
        self.writer.flush()

    def cancel_join_thread(self) -> None:
        """What is not written by then is lost, as torch wants it."""
        self.abandoned = True

    def close(self) -> None:
        """Torch closes the queue when all is over; the process ends next."""
