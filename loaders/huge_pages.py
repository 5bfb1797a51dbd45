"""Huge pages behind slots.

A page of 4 KB costs as much to map as half of it to copy, and a `write` to it, which needs no mapping, half as much again as a
store. A page of 2 MB is mapped in the time of one of 4 KB: a worker can store to it and take it out of its page table at once,
so that a batch is neither copied slowly nor counted as the worker's memory. Linux makes one of what lies in shared memory when
it is asked to (MADV_COLLAPSE, from 6.1 on), whatever the machine's setting for shared memory is. Where it cannot, or where
memory is in such pieces that it has to tidy up first, slots keep small pages.
"""

import errno
import time
from dataclasses import dataclass, field

from forebay.loaders.arena import HUGE, Arena
from forebay.loaders.slot_table import SlotTable

_SMALL_S = 6e-4
"""CPU time of as many small pages, which a huge one saves."""
_SPENT_S, _SHARE = 2e-3, 0.1
"""CPU seconds, and a share of all that the worker uses, that may go into making pages beyond `_SMALL_S` each."""
_FAILED_S = 5e-2
"""What a page counts for that could not be had."""


@dataclass(slots=True)
class HugePages:
    """What this worker puts behind the slots that it has."""

    arena: Arena
    table: SlotTable
    spent_s: float = 0.0
    possible: bool = True
    """Whether the system can at all."""
    _began_s: float = field(default_factory=lambda: time.thread_time())

    def behind(self, slot: int, nbytes: int) -> int:
        """Bytes from the slot's start that lie in huge pages, after making as many of the first `nbytes` do as is cheap."""
        found = int(self.table.huge[slot])
        while self.possible and found + HUGE <= nbytes and self._cheap():
            began = time.thread_time()
            try:
                self.arena.make_huge(self.arena.offset(slot) + found)
            except OSError as error:
                self.possible = error.errno != errno.EINVAL
                self.spent_s += _FAILED_S
                break
            self.spent_s += max(0.0, time.thread_time() - began - _SMALL_S)
            found += HUGE
            self.table.huge[slot] = found
        return found

    def rounded(self, nbytes: int) -> int:
        """What a slot should have for so many bytes: a whole huge page at the end, where half of it is needed."""
        return max(nbytes, (nbytes + HUGE // 2) // HUGE * HUGE) if self.possible else nbytes

    def _cheap(self) -> bool:
        return self.spent_s <= _SPENT_S + _SHARE * (time.thread_time() - self._began_s)
