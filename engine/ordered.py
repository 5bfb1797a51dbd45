"""Run a function over items in threads, and give the results in the items' order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_threads() -> int:
    """Processors this process may use: its affinity, not the machine's count (containers narrow it)."""
    return max(1, len(os.sched_getaffinity(0)))


def in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """`function(item)` for each item, in the items' order, at most `ahead` of them in progress or waiting to be taken.

    The first exception is raised where its result would have come; what has not started by then is cancelled.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def threads_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """`in_order` on a pool of its own; with one thread, in the caller's (easier to debug, nothing to start)."""
    count = threads or available_threads()
    if count == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(count, thread_name_prefix="forebay") as pool:
        yield from in_order(pool, function, items, ahead=2 * count)
