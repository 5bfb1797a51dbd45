"""Leases: the loader's side of the slots. A slot is the worker's again when the last view of its batch is gone."""

import ctypes
import os
import time
from collections import deque
from dataclasses import dataclass, field

from forebay.loaders import device
from forebay.loaders.arena import Arena
from forebay.loaders.slot_table import SlotTable
from forebay.loaders.when_gone import when_gone

_UNMAPPED_LEAST = 1 << 22
"""Bytes of a slot for which it is worth the call."""
_UNMAPPED_A_S = 1e9
"""Bytes by second that a batch was held: where they are fewer, taking its pages out of the page table, and mapping them
again, is little beside the trainer's step."""


@dataclass(slots=True)
class Leases:
    """Hands out slots that workers sent, and takes them back.

    A lease is tied to the object that exports the memory (see `Arena.export`): NumPy and torch may drop every view in
    between, that one they keep.
    """

    arena: Arena
    pinned: bool = False
    """Page-lock slots for the device; such a slot is free only when the device has read it, too."""
    gpu: int | None = None
    """Number of the GPU that the trainer uses; None: the one in use."""
    out: set[int] = field(default_factory=set)
    """Slots that a batch of the user's holds."""
    _table: SlotTable = field(init=False, repr=False)
    _locked: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    """Slot -> address and bytes of it that are page-locked."""
    _unread: deque[tuple[int, device.Marks | None]] = field(default_factory=deque, repr=False)
    """Slots that wait for the device."""
    _closing: bool = False
    _pid: int = field(default_factory=os.getpid, repr=False)

    def __post_init__(self) -> None:
        self._table = self.arena.table()

    def lease(self, number: int, nbytes: int) -> "ctypes.Array[ctypes.c_char]":
        """The memory of a slot, `nbytes` of which exist."""
        memory = self.arena.export(self.arena.offset(number), nbytes)
        if self.pinned:
            self._lock(number, ctypes.addressof(memory), nbytes)
        self.out.add(number)
        when_gone(memory, self._ended, number, nbytes, time.monotonic())
        return memory

    def settle(self) -> None:
        """Free the slots that the device has read meanwhile."""
        for _ in range(len(self._unread)):
            number, marks = self._unread.popleft()
            if marks is None:
                marks = self._marks()
            if marks is not None and all(mark.query() for mark in marks):
                self._table.reading[number] = 0
            else:
                self._unread.append((number, marks))

    def reclaim(self, worker: int) -> None:
        """Free what a dead worker had taken and never sent, or sent in vain."""
        busy = self.out | {number for number, _ in self._unread}
        for number in self._table.last_of(worker):
            if number not in busy:
                # nobody knows how much of its memory there is: none, except where it is locked for a device
                if not self.pinned:
                    self.arena.release(self.arena.offset(number), self._table.capacity[number])
                    self._table.emptied(number)
                self._table.reading[number] = 0
            self._table.writing[number] = 0

    def close(self) -> None:
        """Unlock the memory, once the last batch is gone. Batches that are still held stay whole."""
        self.pinned, self._closing = False, True
        if not self.out:
            self._unlock()

    def _ended(self, number: int, nbytes: int, since: float) -> None:
        # A forked process has copies of our leases: they end there, too, and mean nothing.
        if os.getpid() != self._pid:
            return
        self.out.discard(number)
        if number not in self._locked:
            if _UNMAPPED_LEAST < nbytes < _UNMAPPED_A_S * (time.monotonic() - since):
                # what the next batch of this slot holds is this process's memory only from when it is read
                self.arena.unmap(self.arena.offset(number), nbytes)
            self._table.reading[number] = 0
            return
        # A copy to the device may still be under way: torch learns from its own host memory, but not from ours, when it ends.
        self._unread.append((number, self._marks()))
        if self._closing and not self.out:
            self._unlock()

    def _marks(self) -> device.Marks | None:
        with device.on(self.gpu):  # the last view may die in any thread
            return device.work_queued()

    def _lock(self, number: int, address: int, nbytes: int) -> None:
        """Page-lock a slot, once, and anew when it has grown."""
        locked = self._locked.get(number)
        if locked and nbytes <= locked[1]:
            return
        if locked:
            device.unpin(address)
            del self._locked[number]
        if device.pin(address, nbytes):
            self._locked[number] = address, nbytes
        else:
            self.pinned = False

    def _unlock(self) -> None:
        if self._locked:
            with device.on(self.gpu):
                device.wait()
        for address, _ in self._locked.values():
            device.unpin(address)
        self._locked.clear()
