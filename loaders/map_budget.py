"""How much of the slots a worker maps.

A page is filled by a store to it, once it is mapped, or by a write to the file behind it. Mapping a page takes as long as
copying two, and from then on it counts as the process's memory; a store to a mapped one takes half of what a write does. So
slots are written to, except by workers that do nothing but copy: those map a batch each. All of that is for small pages; see
`huge_pages` for others.
"""

import time
from dataclasses import dataclass, field

from forebay.loaders.arena import Arena

_COPIED_A_S = 1e9
"""Bytes in slots by CPU second: a worker that passes on less has better things to do than to copy."""
_BUSY_BATCHES = 32
"""How long it must have been so: until then mapping costs more than it saves."""
_PATIENCE = 8
"""By how much more a batch that was waited for counts than one that was not."""
_SHARE = 1.0
"""Batches that are mapped, by workers: torch's loader maps one for each."""


@dataclass(slots=True)
class MapBudget:
    """What this worker maps of each slot."""

    arena: Arena
    workers: int
    _began: float = 0.0
    _began_cpu: float = 0.0
    _done: float = 0.0
    _busy: int = 0
    _mapped: set[int] = field(default_factory=set)
    """Slots that stay mapped."""

    def done(self) -> None:
        """The worker is done with a batch, and looks for the next."""
        self._done = time.perf_counter()

    def begin(self, last_size: int) -> None:
        """A batch begins; the last one had so many bytes in its slot."""
        now, cpu = time.perf_counter(), time.thread_time()
        waited = 2 * (now - self._done) > now - self._began
        copied = last_size > _COPIED_A_S * (cpu - self._began_cpu)
        if copied and not waited:
            self._busy = min(self._busy + 1, 2 * _BUSY_BATCHES)
        else:  # a single wait is no reason to map everything anew
            self._busy = max(self._busy - _PATIENCE, 0)
        self._began, self._began_cpu = now, cpu
        while self._mapped and not self._busy:
            self.arena.unmap(self.arena.offset(self._mapped.pop()), self.arena.slot_bytes)

    def of(self, slot: int, nbytes: int) -> int:
        """How many of `nbytes` bytes in a slot are stored through the mapping: most in the slots that are taken first."""
        if self._busy < _BUSY_BATCHES:
            return 0
        left = int(self.workers * nbytes * _SHARE) - slot * nbytes
        if left <= 0:
            return 0
        self._mapped.add(slot)
        return min(left, nbytes)

    def let_go(self, slot: int, nbytes: int, *, huge: bool = False) -> None:
        """The worker is done with a slot: unless it stays mapped, which nothing is gained by where its pages are huge, take it
        out of the page table."""
        if huge or self._busy < _BUSY_BATCHES:
            self.arena.unmap(self.arena.offset(slot), nbytes)
