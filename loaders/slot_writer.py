"""A worker's side of the slots: take a free one, put a batch into it, send it."""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay.loaders.arena import HUGE, Arena, rounded_up
from forebay.loaders.huge_pages import HugePages
from forebay.loaders.map_budget import MapBudget
from forebay.loaders.slot_claims import SlotClaims

_ALIGN = 64
"""A cache line: vector instructions read whole ones."""

Memory = "ctypes.Array[ctypes.c_char]"


@dataclass(slots=True)
class SlotWriter:
    """Memory for the batch that the worker is making. A batch takes one slot, when it first needs memory."""

    arena: Arena
    claims: SlotClaims
    current: int = -1
    """The slot of this batch, -1 while it has none."""
    _budget: MapBudget = field(init=False, repr=False)
    _pages: HugePages = field(init=False, repr=False)
    _held: "dict[int, list[weakref.ref[ctypes.Array[ctypes.c_char]]]]" = field(default_factory=dict, repr=False)
    """Memory of slots that was handed out in this process: the user's code may have kept a view of it."""
    _used: int = 0
    """Bytes of the current slot that are handed out."""
    _capacity: int = 0
    """Bytes that the current slot may have."""
    _backed: int = 0
    """Bytes of it that exist."""
    _huge: int = 0
    """Bytes of it that lie in huge pages."""
    _unmapped: int = 0
    """Bytes of those that were taken out of the page table again."""
    _last_size: int = 0

    def __post_init__(self) -> None:
        self._budget = MapBudget(self.arena, self.claims.workers)
        self._pages = HugePages(self.arena, self.claims.table)

    def begin(self) -> None:
        """A new batch begins; what the last one took and did not send is free."""
        self._budget.begin(self._last_size)
        self._leave()
        self.settle()

    def sent(self) -> None:
        """The worker has dropped the batch that it sent, and waits for the next."""
        self._leave()
        self.settle()
        self._budget.done()

    def settle(self) -> None:
        """Let go of slots that this process is done with: nobody here has a view of them any more."""
        for slot, views in list(self._held.items()):
            if slot != self.current and all(one() is None for one in views):
                del self._held[slot]
                table = self.claims.table
                self._budget.let_go(slot, table.capacity[slot], huge=table.huge[slot] > 0)
                self.claims.let_go(slot)

    def allocate(self, nbytes: int) -> "ctypes.Array[ctypes.c_char] | None":
        """Room for a part of this batch, to be filled by `write`, or by stores after `back`; None when no slot has it."""
        if self.current < 0 and not self._claim(nbytes):
            return None
        self._drop_dead_end()
        start = -(-self._used // _ALIGN) * _ALIGN
        if start + nbytes > self._capacity:
            wanted = (self._pages.rounded(start + nbytes), start + nbytes)
            reserved = next((one for one in wanted if self.claims.reserve(self.current, one)), None)
            if reserved is None:
                return None
            self._capacity = rounded_up(reserved)
        self._huge = self._pages.behind(self.current, min(self._pages.rounded(start + nbytes), self._capacity))
        self._backed = max(self._backed, self._huge)
        memory = self.arena.export(self.arena.offset(self.current) + start, nbytes)
        self._used = start + nbytes
        self._held[self.current].append(weakref.ref(memory))
        return memory

    def offset_of(self, memory: "ctypes.Array[ctypes.c_char]") -> int:
        """Where in the slot of this batch memory lies."""
        base = self.arena.export(self.arena.offset(self.current), 1)
        return ctypes.addressof(memory) - ctypes.addressof(base)

    def write(self, memory: "ctypes.Array[ctypes.c_char]", at: int, pieces: Sequence[Any]) -> bool:
        """Write pieces (bytes, or memory) one behind the other, from byte `at` on. False when there is no more memory."""
        start = self.offset_of(memory) + at
        if not self._back_to(start):
            return False
        try:
            nbytes = self.arena.write(self.arena.offset(self.current) + start, pieces)
        except OSError:
            self._full()
            return False
        self._backed = max(self._backed, rounded_up(start + nbytes))
        return True

    def back(self, memory: "ctypes.Array[ctypes.c_char]", nbytes: int) -> bool:
        """Make sure that the first bytes of memory exist, for stores to them. False when there is no more memory."""
        return self._back_to(self.offset_of(memory) + nbytes)

    def mapped_bytes(self, memory: "ctypes.Array[ctypes.c_char]") -> int:
        """How many of its bytes are to be filled by stores; the others by `write`."""
        huge = self._huge - self.offset_of(memory)
        return min(huge, len(memory)) if huge > 0 else self._budget.of(self.current, len(memory))

    def stored(self, memory: "ctypes.Array[ctypes.c_char]", nbytes: int) -> None:
        """The first bytes of memory were stored: huge pages that are full are mapped again when somebody reads them."""
        full = min(self.offset_of(memory) + nbytes, self._huge) // HUGE * HUGE
        if full > self._unmapped:
            self.arena.unmap(self.arena.offset(self.current) + self._unmapped, full - self._unmapped)
            self._unmapped = full

    def send(self) -> tuple[int, int]:
        """The slot now belongs to the loader, too. Returns its number and the bytes it has."""
        slot, self._last_size = self.current, self._used
        nbytes = self._leave()
        self.claims.table.reading[slot] = 1
        return slot, nbytes

    def _claim(self, nbytes: int) -> bool:
        """The size of the last batch stands for that of this one, of which only the first part is known."""
        slot = self.claims.claim(max(nbytes, self._last_size))
        if slot < 0:
            return False
        self.current, self._used, self._huge, self._unmapped = slot, 0, 0, 0
        self._capacity = self._backed = self.claims.table.capacity[slot]
        self._held[slot] = []
        return True

    def _leave(self) -> int:
        """This batch has what it needs. Returns the bytes that its slot has."""
        if self.current >= 0 and self._backed != self._capacity:
            self.claims.table.capacity[self.current] = self._backed
        backed, self.current, self._backed, self._capacity = self._backed, -1, 0, 0
        return backed

    def _back_to(self, end: int) -> bool:
        if end <= self._backed:
            return True
        try:
            self.arena.back(self.arena.offset(self.current) + self._backed, rounded_up(end) - self._backed)
        except OSError:
            self._full()
            return False
        self._backed = rounded_up(end)
        return True

    def _full(self) -> None:
        self._capacity = self._backed
        self.claims.full(self.current, self._backed)

    def _drop_dead_end(self) -> None:
        """Use memory at the end again when its views are gone: some data sets collate on the way to their samples."""
        held, dropped = self._held[self.current], False
        while held and held[-1]() is None:
            held.pop()
            dropped = True
        if dropped:
            last = held[-1]() if held else None
            self._used = 0 if last is None else self.offset_of(last) + len(last)
