"""The arena: one piece of memory that a loader shares with its workers, cut into slots.

It has no name, so nothing is left behind whoever is killed when; it is one file descriptor and one mapping, however many
batches pass. A slot is a range of addresses; the memory behind it is added when a batch needs it and stays. So a slot can
grow while a batch is being written, and never moves. Any worker may take any slot, so that there are only as many with
memory as batches are on their way or with the user at a time.

    | less than a huge page, not mapped | table of slots (`slot_table`) | slot 0 | slot 1 | ... |

What is not mapped lets addresses and places in the file differ by whole huge pages, without which there are none.
"""

import contextlib
import ctypes
import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.reduction import DupFd
from typing import Any

from forebay.loaders.shared_room import SHM
from forebay.loaders.slot_table import SlotTable, table_bytes

_PAGE = mmap.PAGESIZE
_NO_RESERVE = 0x4000
"""MAP_NORESERVE: addresses are not memory."""
HUGE = 1 << 21
"""Bytes of a huge page."""
_MAPPINGS = 4
"""Mappings that are tried for an address that huge pages need."""
_COLLAPSE = 25
"""MADV_COLLAPSE: put a huge page where small ones are."""
_AT_ONCE = 1 << 30
"""Bytes of one write: Linux takes at most 2 GB."""
_PIECES = 512
"""Pieces of one write: Linux takes at most 1,024."""


@dataclass(slots=True)
class Arena:
    """Shared slots."""

    slots: int
    slot_bytes: int
    """Addresses of a slot: the most that one batch may need."""
    fd: int
    _map: mmap.mmap | None = field(default=None, repr=False)
    _skipped: int = field(default=0, repr=False)
    """Bytes of the file before the mapping."""

    @classmethod
    def create(cls, slots: int, slot_bytes: int) -> "Arena | None":
        """An arena, or None where the system has no shared memory without a name."""
        slot_bytes = rounded_up(slot_bytes)
        try:
            fd = _nameless_file()
        except OSError:
            return None
        arena = cls(slots, slot_bytes, fd)
        try:
            os.ftruncate(fd, HUGE + arena._end)
            arena._mapped()
            os.posix_fallocate(fd, HUGE, table_bytes(slots))
        except (OSError, ValueError, OverflowError):
            os.close(fd)
            return None
        return arena

    @property
    def _end(self) -> int:
        return self.offset(self.slots)

    def offset(self, slot: int) -> int:
        """Where in the file a slot begins."""
        return HUGE + rounded_up(table_bytes(self.slots), HUGE) + slot * rounded_up(self.slot_bytes, HUGE)

    def table(self) -> SlotTable:
        """What is known of the slots."""
        mapped = memoryview(self._mapped())[HUGE - self._skipped :]
        return SlotTable(mapped[: table_bytes(self.slots)], self.slots)

    def export(self, offset: int, nbytes: int) -> "ctypes.Array[ctypes.c_char]":
        """Memory of the arena. Whatever views it keeps this very object alive: the one thing a lease may be tied to."""
        return (ctypes.c_char * nbytes).from_buffer(self._mapped(), offset - self._skipped)

    def back(self, offset: int, nbytes: int) -> None:
        """Put memory behind a range: a store to memory that is not there is a bus error.

        Raises:
            OSError: there is not so much memory.
        """
        os.posix_fallocate(self.fd, offset, nbytes)

    def write(self, offset: int, pieces: Sequence[Any]) -> int:
        """Write pieces (bytes, or memory of one byte an item) one behind the other, without mapping the pages they come to.

        Returns:
            Bytes written.

        Raises:
            OSError: there is not so much memory.
        """
        at, start = 0, offset
        while at < len(pieces):
            end, nbytes = at, 0
            while end < len(pieces) and end - at < _PIECES and (end == at or nbytes + len(pieces[end]) <= _AT_ONCE):
                nbytes += len(pieces[end])
                end += 1
            self._write_all(offset, pieces[at:end], nbytes)
            offset, at = offset + nbytes, end
        return offset - start

    def _write_all(self, offset: int, pieces: Sequence[Any], nbytes: int) -> None:
        done = os.pwritev(self.fd, pieces, offset)
        if done < nbytes:  # more than Linux takes at once
            rest = memoryview(b"".join(pieces) if len(pieces) > 1 else pieces[0]).cast("B")
            while done < nbytes:
                done += os.pwrite(self.fd, rest[done:], offset + done)

    def make_huge(self, offset: int) -> None:
        """Put a huge page behind a range that begins at a multiple of one, with what is there already.

        Raises:
            OSError: the system does not do that (EINVAL), or has none left.
        """
        self.back(offset, 1)
        self._advise(_COLLAPSE, offset, HUGE)
        self.unmap(offset, HUGE)

    def unmap(self, offset: int, nbytes: int) -> None:
        """Take pages out of this process's page table: they stay, with what is in them, and come back when touched."""
        with contextlib.suppress(OSError):
            self._advise(mmap.MADV_DONTNEED, offset, nbytes)

    def release(self, offset: int, nbytes: int) -> None:
        """Give the memory behind a range back to the system."""
        with contextlib.suppress(OSError):
            self._advise(mmap.MADV_REMOVE, offset, nbytes)

    def close(self) -> None:
        """Give the descriptor back. Memory stays until the last view of it is gone."""
        fd, self.fd, self._map = self.fd, -1, None
        if fd >= 0:
            os.close(fd)

    def __getstate__(self) -> tuple[Any, ...]:
        """For a spawned worker: the descriptor travels by multiprocessing's own means."""
        return self.slots, self.slot_bytes, DupFd(self.fd)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.slots, self.slot_bytes, fd = state
        self.fd, self._map, self._skipped = fd.detach(), None, 0

    def _advise(self, what: int, offset: int, nbytes: int) -> None:
        mapped = self._mapped()
        mapped.madvise(what, offset - self._skipped, rounded_up(nbytes))

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            self._map, self._skipped = _map(self.fd, self._end)
        return self._map


def rounded_up(nbytes: int, page: int = _PAGE) -> int:
    """To whole pages."""
    return -(-nbytes // page) * page


def _map(fd: int, nbytes: int) -> tuple[mmap.mmap, int]:
    """A mapping of so many bytes of a file, and how many are left out before them, so that both lie in huge pages alike."""
    skipped = 0
    for _ in range(_MAPPINGS):
        flags, prot = mmap.MAP_SHARED | _NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        found = mmap.mmap(fd, nbytes, flags=flags, prot=prot, offset=skipped)
        address = ctypes.addressof(ctypes.c_char.from_buffer(found))
        if (address - skipped) % HUGE == 0:
            break
        # the next mapping mostly comes to the same place; where another thread took it, there will be small pages only
        skipped = address % HUGE
        found.close()
    else:
        found = mmap.mmap(fd, nbytes, flags=flags, prot=prot, offset=skipped)
    return found, skipped


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.memfd_create("forebay", os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix="forebay-", dir=SHM)
    os.unlink(path)
    return fd
