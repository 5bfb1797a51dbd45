"""How a worker comes by a slot, and by memory for it: as few slots as batches are on their way, as little as they need."""

import contextlib
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from forebay.loaders.arena import Arena, rounded_up
from forebay.loaders.slot_table import SlotTable, alone, has_locks

_IDLE_CLAIMS = 64
"""A slot that was not needed for so many batches gives its memory back."""
_LOOK_EVERY = 8
"""Claims from one look for such a slot to the next."""
_WAIT_S, _STEP_S = 5e-3, 1e-4
"""How long to wait for a slot that has memory before another one is given some, which takes longer than filling it."""
_NEW_A_S = 2e9
"""Bytes a second that a slot is given: where that takes longer, a large batch waits so long."""
_NO_WAIT = 64
"""Batches for which nothing is waited for, once waiting was in vain: the user keeps his."""


@dataclass(slots=True)
class SlotClaims:
    """What one worker takes of the slots that all share."""

    arena: Arena
    worker: int
    workers: int
    limit: int
    """Bytes that the slots of all workers may have together."""
    releases: bool = True
    """Whether idle slots give memory back. False where it is page-locked for a device, which would go on using it."""
    table: SlotTable = field(init=False)
    _alone: bool = field(init=False)
    """Whether the system has locks; without, each worker keeps to slots of its own."""
    _in_vain: int = 0

    def __post_init__(self) -> None:
        self.table = self.arena.table()
        self._alone = has_locks(self.arena.fd)

    def claim(self, wanted: int) -> int:
        """Take a free slot for a batch of about `wanted` bytes; -1: there is none.

        The smallest that holds it, else the largest, else the first that has no memory.
        """
        give_up = time.monotonic() + max(_WAIT_S, wanted / _NEW_A_S)
        while True:
            with self._nobody_else() as granted:
                slot = self._best(wanted) if granted else -1
                if slot < 0:
                    return -1
                if self.table.capacity[slot] >= wanted or not self._worth_waiting(wanted):
                    self.table.claim(slot, self.worker)
                    self._release_idle()
                    return slot
            if time.monotonic() > give_up:
                self._in_vain = _NO_WAIT
            time.sleep(_STEP_S)

    def reserve(self, slot: int, nbytes: int) -> bool:
        """Let a slot of this worker have so many bytes. False where it may not."""
        if nbytes > self.arena.slot_bytes:
            return False
        nbytes = rounded_up(nbytes)
        with self._nobody_else() as granted:
            others = sum(self.table.capacity) - self.table.capacity[slot]
            if not granted or others + nbytes > self.limit:
                return False
            self.table.capacity[slot] = nbytes
        return True

    def full(self, slot: int, backed: int) -> None:
        """The machine has no more memory: do not try for each batch."""
        self.table.capacity[slot] = backed
        self.limit = sum(self.table.capacity)

    def let_go(self, slot: int) -> None:
        """This worker has no view of a slot any more."""
        self.table.writing[slot] = 0

    def _best(self, wanted: int) -> int:
        best, best_rank = -1, (True, 0)
        mine = range(self.table.slots) if self._alone else range(self.worker, self.table.slots, self.workers)
        for slot in mine:
            if self.table.is_free(slot):
                capacity = self.table.capacity[slot]
                rank = (capacity < wanted, -capacity if capacity < wanted else capacity)
                if best < 0 or rank < best_rank:
                    best, best_rank = slot, rank
        return best

    def _worth_waiting(self, wanted: int) -> bool:
        """Whether slots that hold the batch are only just out: one for each worker and two with the user are no more than
        a loop needs, so that one of them is about to come back."""
        if self._in_vain:
            self._in_vain -= 1
            return False
        return sum(one >= wanted for one in self.table.capacity) >= self.workers + 2

    def _release_idle(self) -> None:
        """Give back the memory of one slot that nobody has needed for long."""
        if not self.releases or self.table.claims % _LOOK_EVERY:
            return
        old = self.table.claims - _IDLE_CLAIMS
        for slot in range(self.table.slots):
            if self.table.capacity[slot] and self.table.claimed_at[slot] < old and self.table.is_free(slot):
                self.arena.release(self.arena.offset(slot), self.table.capacity[slot])
                self.table.emptied(slot)
                return

    def _nobody_else(self) -> AbstractContextManager[bool]:
        return alone(self.arena.fd) if self._alone else contextlib.nullcontext(True)
