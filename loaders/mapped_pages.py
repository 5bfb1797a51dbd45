"""Pages of mapped files whose rows were copied out are given back to the system: a process does not grow with its data.

They stay in the page cache of the system; to touch them again takes a page fault. That is nothing beside decoding an image or
splitting text, so all are given back where encoded bytes and text were read; often, since one fault maps two megabytes where
the system keeps the file in pages of that size. It is as much as copying tokens, whose pages stay. In between are wide rows, such
as pictures that are decoded already: of their pages a few are given back all the time, by a hand that goes round.
"""

import mmap
import threading
from collections.abc import Iterator, Sequence

import pyarrow as pa

from forebay.loaders.advice import advise

MOST_BYTES = 256 << 10
"""Copied out before pages are given back."""
WIDE, SHARE, HAND_BYTES = 64 << 10, 32, 4 << 20
"""Bytes of a row from which on a part of what is read is given back elsewhere, some megabytes at a time, since each time the
other processors are told. A fault maps 64 KB, so of pictures of 200 KB about one in twelve takes one then, which is little beside
copying them, and some of the file is not mapped."""

Span = tuple[int, int]
"""(first address, one past the last)."""


class MappedPages:
    """The mappings that some record batches lie in. Thread-safe. Hold the batches for as long as this."""

    def __init__(self) -> None:
        self._buffers: list[Span] = []
        self._spans: list[Span] | None = None
        self._rows = self._width = 0
        self._copied = 0
        self._due = 0
        """Bytes that the hand is behind with."""
        self._hand = 0
        """Where in all spans together it is."""
        self._lock = threading.Lock()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in a record batch, which may be mapped or not."""
        buffers = [one for column in batch.columns for one in column.buffers() if one is not None and one.size]
        with self._lock:
            self._buffers += [(one.address, one.address + one.size) for one in buffers]
            self._rows += batch.num_rows
            self._spans = None

    def taken(self, rows: int) -> None:
        """So many rows were read where they lie, in any order; any may be wanted again at any time."""
        with self._lock:
            spans = self._known()
            if self._width < WIDE:
                return
            self._due += rows * self._width // SHARE
            if self._due < HAND_BYTES:
                return
            due, self._due = self._due, 0
            found, self._hand = pages_from(spans, self._hand, due)
        for start, stop in found:
            advise(start, stop - start, mmap.MADV_DONTNEED)

    def _known(self) -> list[Span]:
        if self._spans is None:
            self._spans = mapped_spans(self._buffers)
            self._width = sum(stop - start for start, stop in self._spans) // max(self._rows, 1)
        return self._spans

    def copied(self, nbytes: int) -> None:
        """So many bytes were copied out: they are not needed for the time being."""
        with self._lock:
            self._copied += nbytes
            if self._copied < MOST_BYTES:
                return
            self._copied = 0
            spans = self._known()
        for start, stop in spans:
            advise(start, stop - start, mmap.MADV_DONTNEED)


def pages_from(spans: Sequence[Span], hand: int, nbytes: int) -> tuple[list[Span], int]:
    """Whole pages from place `hand` of all spans together on, about `nbytes` of them, and the place behind them."""
    whole = sum(stop - start for start, stop in spans)
    found: list[Span] = []
    left = min(nbytes, whole) // mmap.PAGESIZE * mmap.PAGESIZE
    hand %= max(whole, 1)
    while left:
        begin = 0
        for start, stop in spans:
            if begin <= hand < begin + stop - start:
                first = start + hand - begin
                last = min(stop, first + left)
                found.append((first, last))
                left, hand = left - (last - first), (hand + last - first) % whole
                break
            begin += stop - start
    return found, hand


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
