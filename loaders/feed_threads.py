"""The threads of a feed.

`ThreadPoolExecutor` makes a future with a condition for each task and looks after its threads each time: twenty microseconds
with the interpreter's lock, as long as several batches of small rows may take. Here a task that tells of its end by itself
is one entry of a queue.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

Task = Callable[[], Any]


class _Asked:
    """A task that somebody waits for."""

    __slots__ = ("call", "future")

    def __init__(self, call: Task) -> None:
        self.call, self.future = call, Future[Any]()

    def __call__(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class FeedThreads(Executor):
    """Threads that take tasks in the order in which they were given."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_serve, args=(self._tasks,), name=f"forebay-feed-{number}", daemon=True)
            for number in range(count)
        ]
        # A trainer may end in the middle of an epoch: threads are daemons, so that the process does not wait for them for ever,
        # and end here before the interpreter does, since they write to memory that it gives back.
        self._end = weakref.finalize(self, _end, self._tasks, self._threads)
        for one in self._threads:
            one.start()

    def begin(self, task: Task) -> None:
        """A task that raises nothing, and that nobody asks about."""
        self._tasks.put(task)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """As any executor's: the future has what `fn` returns or raises."""
        asked = _Asked(partial(fn, *args, **kwargs))
        self._tasks.put(asked)
        return asked.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads: when all tasks are done, or (`cancel_futures`) those that have begun. It is always waited for."""
        if cancel_futures:
            _drop(self._tasks)
        self._end()


def _serve(tasks: "SimpleQueue[Task | None]") -> None:
    while (task := tasks.get()) is not None:
        task()
        del task  # what it holds is free before the next one comes


def _drop(tasks: "SimpleQueue[Task | None]") -> None:
    with suppress(Empty):
        while True:
            task = tasks.get_nowait()
            if isinstance(task, _Asked):
                task.future.cancel()  # a task that has begun may wait for it


def _end(tasks: "SimpleQueue[Task | None]", threads: list[threading.Thread]) -> None:
    for _ in threads:
        tasks.put(None)
    for one in threads:
        if one is not threading.current_thread():  # whoever drops the last reference may be one of them
            one.join()
