"""The ring: memory for batches, used again when the last view of it is gone."""

import sys
import threading
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forebay.loaders import device
from forebay.loaders.slot import ALIGN, Slot
from forebay.loaders.when_gone import when_gone


@dataclass(slots=True)
class Ring:
    """Slots whose memory is used again when their tensors are all gone; when none is free, a fresh one is made.

    Nothing that a trainer still holds is ever written again, unless `overwrite` says so: then a slot is free again when
    its holder calls `give_back`, whatever views there are. Pinned memory waits for the device as well, which may still be
    copying from it when the last view is gone (torch looks after its own host memory, but sees only views of ours).
    """

    pinned: bool = False
    """Whether memory is page-locked for copies to a GPU."""
    gpu: int | None = None
    """Number of the GPU that the trainer uses: threads would else work with the first, and take memory there."""
    keep: int = 8
    """Free slots that are kept; what a burst needed beyond them is given back to the system."""
    overwrite: bool = False
    least: int = 0
    """Bytes that a slot has room for at least: what the first, smaller chunks took can then be used again for whole ones."""
    made: int = 0
    """Slots made so far: how many were out at the same time, or had to grow."""
    _free: list[NDArray[np.uint8]] = field(default_factory=list)
    _unread: deque[tuple[NDArray[np.uint8], tuple[device.Passed, ...] | None]] = field(default_factory=deque)
    """Pinned memory that the device may still read, with marks behind the work it had been given; None: not marked yet."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, nbytes: int) -> Slot:
        """A slot of at least `nbytes` bytes to write to."""
        memory = self._reused(nbytes)
        if memory is None:
            with self._on_gpu():
                memory = _allocate(max(nbytes, self.least), self.pinned)
        if self.overwrite:
            return Slot(memory, memory)
        lease = np.frombuffer(memory.data, np.uint8)
        when_gone(lease, self._put, memory)
        return Slot(memory, lease)

    def give_back(self, slot: Slot) -> None:
        """The holder is done with a slot. Without `overwrite` that is known from its views, and this does nothing."""
        if self.overwrite:
            self._put(slot.memory)

    def _reused(self, nbytes: int) -> NDArray[np.uint8] | None:
        with self._lock:
            self._settle()
            for at, memory in enumerate(self._free):
                if len(memory) >= nbytes:
                    return self._free.pop(at)
            if self._free:  # all are too small: batches have grown
                self._free.pop(0)
            self.made += 1
        return None

    def _put(self, memory: NDArray[np.uint8]) -> None:
        # without the lock: the last view may die, and this run, while this very thread holds it
        if self.pinned:
            self._unread.append((memory, self._marks()))
        elif len(self._free) < self.keep:
            self._free.append(memory)

    def _marks(self) -> tuple[device.Passed, ...] | None:
        with self._on_gpu():
            return device.work_queued()

    def _on_gpu(self) -> AbstractContextManager[Any]:
        return device.on(self.gpu)

    def __del__(self) -> None:
        if self.pinned and not sys.is_finalizing():
            for memory, marks in self._unread:
                device.keep_until_read(memory, marks, self.gpu)

    def _settle(self) -> None:
        """Take back the memory that the device has read meanwhile."""
        device.let_go_of_read()
        for _ in range(len(self._unread)):
            memory, marks = self._unread.popleft()
            if marks is None:
                marks = self._marks()
            if marks is None or not all(mark.query() for mark in marks):
                self._unread.append((memory, marks))
            elif len(self._free) < self.keep:
                self._free.append(memory)


def _allocate(size: int, pinned: bool) -> NDArray[np.uint8]:
    if pinned:
        return torch.empty(max(size, 1), dtype=torch.uint8, pin_memory=True).numpy()
    size = max(size, 1)
    room = np.empty(size + ALIGN, np.uint8)  # NumPy begins 16 bytes into a page
    first = -room.ctypes.data % ALIGN
    return room[first : first + size]
