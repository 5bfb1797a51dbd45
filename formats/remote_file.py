"""A remote object as a file: what is announced comes at once and side by side, the rest as it is asked for."""

import bisect
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from forebay.formats.errors import CorruptError, StateError, StorageError
from forebay.formats.lent_memory import SpanMemory
from forebay.formats.remote_fetch import ShortReadError
from forebay.formats.remote_object import EDGE, RemoteObject
from forebay.formats.remote_ranges import Range, coalesce, cut

_FIRST_AHEAD = 64 << 10
_MOST_AHEAD = 32 << 20
_GROWTH = 4
_HEAD, _MAGIC = 8 << 10, 16
"""Bytes of the beginning that are fetched with the end, and how short a first read is that looks for magic bytes."""


@dataclass(slots=True)
class _Span:
    """A run of bytes that was asked for, in parts that come side by side into one buffer."""

    start: int
    stop: int
    data: pa.Buffer
    parts: list[tuple[Range, Future[None]]]
    """Under way; empty once all came and the object was seen to be the same."""


class RemoteFile(io.RawIOBase):
    """Reads of one consumer. Not thread-safe, as files are not."""

    def __init__(self, source: RemoteObject) -> None:
        super().__init__()
        self._source, self._at = source, 0
        self._held: dict[int, _Span] = {}
        self._starts: list[int] = []
        self._ahead, self._expected_at = _FIRST_AHEAD, -1

    def will_need(self, ranges: Iterable[Range]) -> None:
        """Begin to fetch these ranges, side by side, before they are read."""
        limit, gap = self._source.size, self._source.fetcher.options.gap_bytes
        for start, stop in coalesce(((max(0, a), min(b, limit)) for a, b in ranges), gap=gap):
            if start not in self._held and self._source.edge(start, stop) is None:
                self._begin(start, stop)

    def read_buffer(self, size: int = -1) -> pa.Buffer:
        """The next bytes, without a copy where they lie in one part."""
        stop = self._source.size if size < 0 else min(self._at + size, self._source.size)
        start, self._at = self._at, stop
        return self._range(start, stop)

    def read(self, size: int = -1) -> bytes:
        return self.read_buffer(-1 if size is None else size).to_pybytes()

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        data = self.read_buffer(len(view))
        view[: data.size] = memoryview(data)
        return data.size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._source.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        for span in self._held.values():
            for _, future in span.parts:
                future.cancel()
        self._held.clear()
        self._starts.clear()
        super().close()

    def _range(self, start: int, stop: int) -> pa.Buffer:
        if start >= stop:
            return pa.py_buffer(b"")
        if stop - start <= _MAGIC and not self._source.edges:
            # who looks for magic bytes wants the footer next: both ends side by side, or the end where it is looked at first
            self._fetch_edges([one for one in _ends(self._source.size) if start == 0 or one[1] == stop])
        edge = self._source.edge(start, stop)
        if edge is not None:
            return edge
        pieces, at = [], start
        while at < stop:
            span = self._span_with(at, stop)
            upto = min(stop, span.stop)
            pieces.append(span.data.slice(at - span.start, upto - at))
            at = upto
        return pieces[0] if len(pieces) == 1 else pa.py_buffer(b"".join(map(memoryview, pieces)))

    def _fetch_edges(self, edges: Sequence[Range]) -> None:
        spans = [self._begin(*one) for one in edges if one[0] not in self._held]
        for span in spans:
            self._finish(span)
        if self._source.caches:  # else without a look at the version: reading rows compares it with that of the opening
            self._source.check_version()
        for span in spans:
            span.parts = []
            self._source.keep((span.start, span.stop), span.data)
            self._source.edges[span.start] = span.data
            del self._held[span.start]
            self._starts.remove(span.start)

    def _span_with(self, at: int, stop: int) -> _Span:
        index = bisect.bisect_right(self._starts, at) - 1
        if index >= 0 and at < self._held[self._starts[index]].stop:
            return self._landed(self._held[self._starts[index]])
        # not announced: take this and, where reads follow one another, more and more of what comes next
        self._ahead = min(_GROWTH * self._ahead, _MOST_AHEAD) if at == self._expected_at else _FIRST_AHEAD
        upto = min(max(stop, at + self._ahead), self._source.size)
        if index + 1 < len(self._starts):
            upto = min(upto, self._starts[index + 1])
        self._expected_at = upto
        # a long sequential read must not hold what it has passed; 1 MiB is kept for formats that step back a bit
        for passed in [one for one in self._starts if self._held[one].stop < at - (1 << 20)]:
            del self._held[passed]
            self._starts.remove(passed)
        span = self._landed(self._begin(at, upto))
        if upto - at <= EDGE and (at == 0 or upto == self._source.size):
            self._source.edges[at] = span.data
        return span

    def _begin(self, start: int, stop: int) -> _Span:
        found = self._source.cached((start, stop))
        if found is not None:
            span = _Span(start, stop, found, [])
        else:
            fetcher = self._source.fetcher
            data, view = fetcher.memory.take(stop - start)
            parts = cut([(start, stop)], part=fetcher.options.part_bytes)
            futures = [
                fetcher.start(self._source.read_into, one, view[one[0] - start : one[1] - start]) for one in parts
            ]
            span = _Span(start, stop, data, list(zip(parts, futures, strict=True)))
        self._held[start] = span
        bisect.insort(self._starts, start)
        return span

    def _landed(self, wanted: _Span) -> _Span:
        if wanted.parts:
            # all that is under way, then one look at the version for all of it: a look a part would double the requests
            coming = [span for span in self._held.values() if span.parts]
            for span in coming:
                self._finish(span)
            self._source.check_version()
            for span in coming:
                span.parts = []
                self._source.keep((span.start, span.stop), span.data)
        return wanted

    def _finish(self, span: _Span) -> None:
        source, rivals = self._source, []
        for part, future in span.parts:
            try:
                rival = source.fetcher.finish(source.read_into, part, future)
            except FileNotFoundError as error:
                raise StateError(f"{source.path}: deleted while it was being read; scan the data set again") from error
            except OSError as error:
                source.check_version()
                if isinstance(error, ShortReadError):
                    raise CorruptError(f"{source.path}: cut short: at byte {part[0]:,} {error}") from error
                place = f"bytes {part[0]:,} to {part[1]:,}"
                raise StorageError(f"{source.path}: {place} do not come: {error}") from error
            if rival is not None:
                rivals.append((part, rival))
        if rivals:
            _replace(span, rivals, memory=source.fetcher.memory)


def _ends(size: int) -> list[Range]:
    """The beginning and the end of an object of that many bytes."""
    head = min(_HEAD, size)
    return [one for one in ((0, head), (max(head, size - EDGE), size)) if one[0] < one[1]]


def _replace(span: _Span, rivals: Sequence[tuple[Range, bytearray]], *, memory: SpanMemory) -> None:
    """Take what rivals brought, in a new buffer: whom a rival beat may still write into the old one."""
    whole, view = memory.take(span.stop - span.start)
    view[:] = memoryview(span.data).cast("B")
    for (start, stop), rival in rivals:
        view[start - span.start : stop - span.start] = rival
    span.data = whole
