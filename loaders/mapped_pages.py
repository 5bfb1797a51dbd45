"""Pages of mapped files whose rows were copied out are given back to the system: a process does not grow with its data.

They stay in the page cache of the system; to touch them again takes a page fault. That is nothing beside decoding an image or
splitting text, and as much as copying tokens, so it is done where encoded bytes and text are copied out. Often, since one fault
maps two megabytes where the system keeps the file in pages of that size.
"""

import mmap
import threading
from collections.abc import Iterator, Sequence

import pyarrow as pa

from forebay.loaders.advice import advise

MOST_BYTES = 256 << 10
"""Copied out before pages are given back."""

Span = tuple[int, int]
"""(first address, one past the last)."""


class MappedPages:
    """The mappings that some record batches lie in. Thread-safe. Hold the batches for as long as this."""

    def __init__(self) -> None:
        self._buffers: list[Span] = []
        self._spans: list[Span] | None = None
        self._copied = 0
        self._lock = threading.Lock()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in a record batch, which may be mapped or not."""
        buffers = [one for column in batch.columns for one in column.buffers() if one is not None and one.size]
        with self._lock:
            self._buffers += [(one.address, one.address + one.size) for one in buffers]
            self._spans = None

    def copied(self, nbytes: int) -> None:
        """So many bytes were copied out: they are not needed for the time being."""
        with self._lock:
            self._copied += nbytes
            if self._copied < MOST_BYTES:
                return
            self._copied = 0
            if self._spans is None:
                self._spans = mapped_spans(self._buffers)
            spans = self._spans
        for start, stop in spans:
            advise(start, stop - start, mmap.MADV_DONTNEED)


def mapped_spans(buffers: Sequence[Span]) -> list[Span]:
    """Whole pages from the first to the last of the buffers in each mapping of a file that is not writable.

    Of other memory what is given back would be lost. Between two buffers in one mapping there is nothing but that file.
    """
    found: list[Span] = []
    left, at = sorted(buffers), 0
    for start, stop in _read_only_files():
        while at < len(left) and left[at][0] < start:
            at += 1
        first = at
        while at < len(left) and left[at][0] < stop:
            at += 1
        if first < at:
            low = -(-left[first][0] // mmap.PAGESIZE) * mmap.PAGESIZE
            high = min(max(end for _, end in left[first:at]), stop) // mmap.PAGESIZE * mmap.PAGESIZE
            if low < high:
                found.append((low, high))
    return found


def _read_only_files() -> Iterator[Span]:
    try:
        with open("/proc/self/maps") as file:
            for line in file:  # ascending: address-address permissions offset device inode path
                span, permissions, _, _, inode = line.split(maxsplit=5)[:5]
                if permissions[:3] == "r--" and inode != "0":
                    start, _, stop = span.partition("-")
                    yield int(start, 16), int(stop, 16)
    except OSError:
        return  # no Linux
