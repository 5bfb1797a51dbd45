"""Filling a cache: all units of a data set, computed by the threads and processes that want them."""

import resource
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from forebay.engine.ordered import available_threads, threads_in_order
from forebay.engine.read_ahead import read_ahead
from forebay.formats.lent_memory import PIXELS

Unit = TypeVar("Unit")
Result = TypeVar("Result")


def fill(
    unit: Callable[[int], Unit],
    count: int,
    *,
    busy: Callable[[int], bool],
    local: bool,
    nbytes: Callable[[int], int],
) -> list[Unit]:
    """`unit(at)` for all `count` units.

    Args:
        unit: computes a unit, or maps it.
        count: of units.
        busy: whether another process is at a unit. Those are asked for last, so that processes which fill the same cache
            share the work instead of walking in step.
        local: whether the source lies on this machine. Else more units are under way than there are processors.
        nbytes: what a unit reads of its source.
    """
    _allow_open_files(count)
    made: dict[int, Unit] = {}

    def unless_busy(at: int) -> None:
        if not busy(at):
            made[at] = unit(at)

    def everywhere(work: Callable[[int], Result], ordinals: Sequence[int]) -> Iterator[Result]:
        if local:
            # no more threads than processors: they share the processors' caches, and none waits for the disk to write
            return threads_in_order(work, ordinals, threads=available_threads())
        return read_ahead(work, ordinals, size=nbytes)

    for _ in everywhere(unless_busy, range(count)):
        pass
    left = [at for at in range(count) if at not in made]
    made.update(zip(left, everywhere(unit, left), strict=True))
    PIXELS.let_go()
    return [made[at] for at in range(count)]


def _allow_open_files(units: int) -> None:
    """Each mapped unit holds a file open; a shell's usual limit of 1024 is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = units + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
