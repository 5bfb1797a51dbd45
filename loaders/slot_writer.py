"""A worker's side of its slots: find a free one, put a batch into it, send it."""

import ctypes
import weakref
from dataclasses import dataclass, field

from forebay.loaders.arena import FREE, TAKEN, Arena

_ALIGN = 64
"""A cache line: vector instructions read whole ones."""
_GRANULE = 1 << 16
"""Slots grow by whole granules: a batch that is a little larger than the last needs no system call."""

Memory = "ctypes.Array[ctypes.c_char]"


@dataclass(slots=True)
class _Slot:
    capacity: int = 0
    """Bytes that exist."""
    used: int = 0
    held: "list[weakref.ref[ctypes.Array[ctypes.c_char]]]" = field(default_factory=list)
    """Memory that was handed out in this process: the user's code may have kept a view of it."""


@dataclass(slots=True)
class SlotWriter:
    """Memory for the batch that the worker is making. A batch takes one slot, when it first needs memory."""

    arena: Arena
    worker: int
    limit: int
    """Bytes that all slots of this worker may have."""
    current: int = -1
    """The slot of this batch, -1 while it has none."""
    _slots: list[_Slot] = field(init=False, repr=False)
    _first_flag: int = field(init=False, repr=False)
    _flags: memoryview = field(init=False, repr=False)
    _last_size: int = 0

    def __post_init__(self) -> None:
        self._slots = [_Slot() for _ in range(self.arena.slots)]
        self._first_flag = self.worker * self.arena.slots
        self._flags = self.arena.flags()

    def begin(self) -> None:
        """A new batch begins; what the last one took and did not send is free."""
        self.current = -1

    def allocate(self, nbytes: int) -> "ctypes.Array[ctypes.c_char] | None":
        """Memory for a part of this batch; None when no slot can have it."""
        if self.current < 0 and not self._choose(nbytes):
            return None
        slot = self._slots[self.current]
        self._drop_dead_end(slot)
        start = -(-slot.used // _ALIGN) * _ALIGN
        if start + nbytes > slot.capacity and not self._grow(slot, start + nbytes):
            return None
        memory = self.arena.export(self.arena.offset(self.worker, self.current) + start, nbytes)
        slot.used = start + nbytes
        slot.held.append(weakref.ref(memory))
        return memory

    def offset_of(self, memory: "ctypes.Array[ctypes.c_char]") -> int:
        """Where in the slot of this batch memory lies."""
        base = self.arena.export(self.arena.offset(self.worker, self.current), 1)
        return ctypes.addressof(memory) - ctypes.addressof(base)

    def send(self) -> tuple[int, int]:
        """The slot now belongs to the loader. Returns its number and the bytes it has."""
        slot = self._slots[self.current]
        self._last_size = slot.used
        self._flags[self._first_flag + self.current] = TAKEN
        return self.current, slot.capacity

    def _choose(self, nbytes: int) -> bool:
        """Take the free slot that fits best: the smallest that holds the batch, else the largest.

        The size of the last batch stands for that of this one, of which only the first part is known.
        """
        wanted = max(nbytes, self._last_size)
        best, best_rank = -1, (True, 0)
        for number, slot in enumerate(self._slots):
            if self._flags[self._first_flag + number] != FREE or any(one() is not None for one in slot.held):
                continue
            small = slot.capacity < wanted
            rank = (small, -slot.capacity if small else slot.capacity)
            if best < 0 or rank < best_rank:
                best, best_rank = number, rank
        if best < 0:
            return False
        self._slots[best].used = 0
        self._slots[best].held.clear()
        self.current = best
        return True

    def _drop_dead_end(self, slot: _Slot) -> None:
        """Use memory at the end again when its views are gone: some data sets collate on the way to their samples."""
        dropped = False
        while slot.held and slot.held[-1]() is None:
            slot.held.pop()
            dropped = True
        if dropped:
            last = slot.held[-1]() if slot.held else None
            slot.used = 0 if last is None else self.offset_of(last) + len(last)

    def _grow(self, slot: _Slot, nbytes: int) -> bool:
        wanted = -(-nbytes // _GRANULE) * _GRANULE
        others = sum(one.capacity for one in self._slots) - slot.capacity
        if wanted > self.arena.slot_bytes or others + wanted > self.limit:
            return False
        try:
            self.arena.grow(self.arena.offset(self.worker, self.current), slot.capacity, wanted)
        except OSError:
            self.limit = others + slot.capacity  # the machine has no more: do not try for each batch
            return False
        slot.capacity = wanted
        return True
