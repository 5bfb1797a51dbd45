"""The arena: one piece of memory that a loader shares with its workers, cut into slots.

It has no name, so nothing is left behind whoever is killed when; it is one file descriptor and one mapping, however many
batches pass. A slot is a range of addresses; the memory behind it is added when a batch needs it and stays. So a slot can
grow while a batch is being written, and never moves.

    | a byte for each slot: 0 free, 1 taken; a byte that says "stop" | worker 0: slot 0, slot 1, ... | worker 1: ... |
"""

import contextlib
import ctypes
import mmap
import os
import tempfile
from dataclasses import dataclass, field
from multiprocessing.reduction import DupFd
from typing import Any

from forebay.loaders.shared_room import SHM

_PAGE = mmap.PAGESIZE
_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE (Linux 5.14): allocate and map a range, or fail; a write to memory that is not there is SIGBUS."""
_NO_RESERVE = 0x4000
"""MAP_NORESERVE: addresses are not memory."""

FREE, TAKEN = 0, 1


@dataclass(slots=True)
class Arena:
    """Shared slots. A worker turns a slot's byte to TAKEN when it sends it; the loader turns it back when the batch is gone.

    A store of one byte is whole on every machine, and no slot is written by two sides, so there is no lock that a killed
    process could keep.
    """

    workers: int
    slots: int
    """Of each worker."""
    slot_bytes: int
    """Addresses of a slot: the most that one batch may need."""
    fd: int
    _map: mmap.mmap | None = field(default=None, repr=False)

    @classmethod
    def create(cls, workers: int, slots: int, slot_bytes: int) -> "Arena | None":
        """An arena, or None where the system has no shared memory without a name."""
        slot_bytes = -(-slot_bytes // _PAGE) * _PAGE
        try:
            fd = _nameless_file()
        except OSError:
            return None
        arena = cls(workers, slots, slot_bytes, fd)
        try:
            os.ftruncate(fd, arena.nbytes)
            arena._mapped()
            arena.grow(-1, 0, arena._first_slot)
        except (OSError, ValueError, OverflowError):
            os.close(fd)
            return None
        return arena

    @property
    def nbytes(self) -> int:
        """Addresses in all."""
        return self._first_slot + self.workers * self.slots * self.slot_bytes

    @property
    def _first_slot(self) -> int:
        return -(-(self.workers * self.slots + 1) // _PAGE) * _PAGE

    def offset(self, worker: int, slot: int) -> int:
        """Where a slot begins."""
        return self._first_slot + (worker * self.slots + slot) * self.slot_bytes

    def flags(self) -> memoryview:
        """The slots' bytes, and at the end the one that tells workers to stop."""
        return memoryview(self._mapped())[: self.workers * self.slots + 1]

    def export(self, offset: int, nbytes: int) -> "ctypes.Array[ctypes.c_char]":
        """Memory of the arena. Whatever views it keeps this very object alive: the one thing a lease may be tied to."""
        return (ctypes.c_char * nbytes).from_buffer(self._mapped(), offset)

    def grow(self, offset: int, old: int, new: int) -> None:
        """Put memory behind bytes [old, new) of a slot (offset -1: of the arena itself).

        Raises:
            OSError: there is not so much memory.
        """
        start = max(offset, 0) + old
        size = new - old
        try:
            self._mapped().madvise(_POPULATE_WRITE, start // _PAGE * _PAGE, size + start % _PAGE)
        except OSError:
            # an older kernel, or no memory: fallocate tells which
            os.posix_fallocate(self.fd, start, size)

    def close(self) -> None:
        """Give the descriptor back. Memory stays until the last view of it is gone."""
        fd, self.fd, self._map = self.fd, -1, None
        if fd >= 0:
            os.close(fd)

    def __getstate__(self) -> tuple[Any, ...]:
        """For a spawned worker: the descriptor travels by multiprocessing's own means."""
        return self.workers, self.slots, self.slot_bytes, DupFd(self.fd)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.workers, self.slots, self.slot_bytes, fd = state
        self.fd, self._map = fd.detach(), None

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            flags = mmap.MAP_SHARED | _NO_RESERVE
            self._map = mmap.mmap(self.fd, self.nbytes, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        return self._map


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.memfd_create("forebay", os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix="forebay-", dir=SHM)
    os.unlink(path)
    return fd
