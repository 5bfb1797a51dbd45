"""Frames over a pipe: written by the caller while the pipe has room, by a thread where it has none.

torch's queues hand every object to a feeder thread; between a trainer and its workers that is two thread switches and a
lock for each batch. Here a frame is one `write` and one `read`. Neither side ever blocks on the other, so a full pipe in
both directions cannot be a deadlock.
"""

import contextlib
import fcntl
import os
import select
import struct
import threading
from collections import deque

import numpy as np

_LENGTH = struct.Struct("<Q")
_READ_BYTES = 1 << 16
"""What a pipe holds: one read empties it."""


_WIDE_BYTES = 1 << 20
"""What Linux lets everybody's pipes hold."""


def widen(fd: int) -> None:
    """Let a pipe hold more, where the system allows it."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _WIDE_BYTES)


def pipe_bytes(fd: int) -> int:
    """What a pipe holds."""
    try:
        return int(fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ))
    except (OSError, AttributeError):
        return _READ_BYTES


class FrameWriter:
    """The writing end. `send` returns at once; what the pipe does not take is written by a thread, in order."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self._backlog: deque[memoryview] = deque()
        self._room = threading.Condition()
        self._thread: threading.Thread | None = None

    def send(self, frame: bytes | bytearray) -> None:
        """Send one frame.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        length = _LENGTH.pack(len(frame))
        with self._room:
            sent = 0 if self._backlog else self._write_now(length, frame)
            if sent < len(length) + len(frame):
                self._backlog.append(memoryview(length + frame)[sent:])
                self._start()
                self._room.notify_all()

    def flush(self) -> None:
        """Wait until all is written (or nobody reads any more)."""
        with self._room:
            while self._backlog:
                self._room.wait()

    def close(self) -> None:
        with self._room:
            self._backlog.clear()
            fd, self.fd = self.fd, -1
            self._room.notify_all()
        if fd >= 0:
            os.close(fd)

    def _write_now(self, length: bytes, frame: bytes | bytearray) -> int:
        """Bytes that the pipe took, of a frame and its length."""
        sent = 0
        with contextlib.suppress(BlockingIOError):
            sent = os.writev(self.fd, (length, frame))
        if len(length) <= sent < len(length) + len(frame):
            sent += _write(self.fd, memoryview(frame)[sent - len(length) :])
        return sent

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_backlog, name="forebay-pipe", daemon=True)
            self._thread.start()

    def _write_backlog(self) -> None:
        while True:
            with self._room:
                while not self._backlog:
                    if self.fd < 0:
                        return
                    self._room.wait()
                fd = self.fd
            with contextlib.suppress(OSError, ValueError):
                poll = select.poll()
                poll.register(fd, select.POLLOUT)
                poll.poll(1000)
            with self._room:
                if self.fd < 0:
                    return
                try:
                    while self._backlog and (sent := _write(fd, self._backlog[0])):
                        rest = self._backlog[0][sent:]
                        if rest:
                            self._backlog[0] = rest
                        else:
                            self._backlog.popleft()
                except OSError:
                    self._backlog.clear()
                if not self._backlog:
                    self._room.notify_all()


def _write(fd: int, message: memoryview) -> int:
    """Bytes that the pipe took."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(message):
            sent += os.write(fd, message[sent:])
    return sent


class FrameReader:
    """The reading end, for one thread."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self.ended = False
        self._buffer = np.empty(_READ_BYTES, np.uint8).data  # a bytearray would be zeroed, and all of it be there
        self._filled = 0
        self._large: bytearray | None = None
        self._large_filled = 0

    def read(self) -> list[bytearray]:
        """The frames that are complete with what the pipe holds. Sets `ended` when the writer is gone."""
        if self._large is not None:
            return self._read_large(self._large)
        try:
            got = os.readv(self.fd, [self._buffer[self._filled :]])
        except BlockingIOError:
            return []
        self.ended = got == 0
        self._filled += got
        found = self._frames()
        if self._large is not None:  # most often the pipe holds the rest, too
            found += self._read_large(self._large)
        return found

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _frames(self) -> list[bytearray]:
        found, at, view = [], 0, self._buffer
        while self._filled - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(view, at)
            start, end = at + _LENGTH.size, at + _LENGTH.size + length
            if end <= self._filled:
                found.append(bytearray(view[start:end]))
                at = end
                continue
            if end - at > _READ_BYTES:
                self._large = bytearray(length)
                self._large_filled = self._filled - start
                self._large[: self._large_filled] = view[start : self._filled]
                at = self._filled
            break
        rest = bytes(view[at : self._filled])
        view[: len(rest)] = rest
        self._filled = len(rest)
        return found

    def _read_large(self, frame: bytearray) -> list[bytearray]:
        try:
            got = os.readv(self.fd, [memoryview(frame)[self._large_filled :]])
        except BlockingIOError:
            return []
        self.ended = got == 0
        self._large_filled += got
        if self._large_filled < len(frame):
            return []
        self._large = None
        return [frame]
