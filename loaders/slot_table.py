"""What all processes of a loader know of its slots: numbers in the first pages of the arena, and the right to change them.

A slot is free when neither a worker nor the loader has it. Each number has one writer at a time, and a store of eight bytes
is whole on every machine. Only to take a slot, or memory for it, a worker must be alone, by a lock that the kernel keeps
for it and ends with it: a killed process leaves none behind.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_WORD = 8
_NUMBERS = 6
"""Numbers of a slot."""
_TRIES, _PAUSE_S = 100, 1e-4
"""A worker that was stopped while it had the lock must not hold up the others: after 10 ms they do without a slot."""


@dataclass(slots=True)
class SlotTable:
    """Numbers of all slots."""

    memory: memoryview
    """Of `table_bytes(slots)` bytes."""
    slots: int
    claimed_by: memoryview = field(init=False)
    """1 + the worker that had the slot last."""
    writing: memoryview = field(init=False)
    """1 while that worker writes to it, or still has a view of it."""
    reading: memoryview = field(init=False)
    """1 from when it is sent until the loader, and its user, have no view of it."""
    capacity: memoryview = field(init=False)
    """Bytes that exist."""
    huge: memoryview = field(init=False)
    """Bytes from its start that lie in huge pages."""
    claimed_at: memoryview = field(init=False)
    """Value of `claims` when it was last taken."""
    _own: memoryview = field(init=False)

    def __post_init__(self) -> None:
        words = self.memory.cast("q")
        parts = [words[number * self.slots : (number + 1) * self.slots] for number in range(_NUMBERS)]
        self.claimed_by, self.writing, self.reading, self.capacity, self.huge, self.claimed_at = parts
        self._own = words[_NUMBERS * self.slots :]

    @property
    def stopped(self) -> bool:
        """Whether workers are to stop."""
        return self._own[0] == 1

    def stop(self) -> None:
        """Tell workers to stop."""
        self._own[0] = 1

    @property
    def claims(self) -> int:
        """Times that any slot was taken."""
        return int(self._own[1])

    def is_free(self, slot: int) -> bool:
        """Whether nobody has it."""
        return not self.writing[slot] and not self.reading[slot]

    def claim(self, slot: int, worker: int) -> None:
        """Take a free slot. For who is alone."""
        self._own[1] += 1
        self.claimed_at[slot] = self._own[1]
        self.claimed_by[slot] = worker + 1
        self.writing[slot] = 1

    def emptied(self, slot: int) -> None:
        """Its memory was given back."""
        self.capacity[slot] = self.huge[slot] = 0

    def last_of(self, worker: int) -> list[int]:
        """Slots that a worker had last."""
        return [slot for slot in range(self.slots) if self.claimed_by[slot] == worker + 1]


def table_bytes(slots: int) -> int:
    """Bytes of a table."""
    return _WORD * (_NUMBERS * slots + 2)


@contextlib.contextmanager
def alone(fd: int) -> Iterator[bool]:
    """Keep all other workers of an arena out; gives False where that did not succeed.

    Raises:
        OSError: the system has no such locks.
    """
    for _ in range(_TRIES):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
            break
        except (BlockingIOError, PermissionError):  # POSIX leaves open which
            time.sleep(_PAUSE_S)
    else:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.lockf(fd, fcntl.LOCK_UN, 1)


def has_locks(fd: int) -> bool:
    """Whether `alone` works here."""
    try:
        with alone(fd):
            return True
    except OSError:
        return False
