"""Ranges of objects of an S3 server, from its socket straight into the memory where they belong.

pyarrow's client copies what comes twice on its way and tells no etag with it, so that each read costs a second request that
asks for the etag (`python -m forebay.bench.remote`). These requests name the version that they want, and compare it with
the one that the answer names. They are for servers over plain HTTP, whose keys stand in the environment or the URL; all
others are read through pyarrow.
"""

import os
import re
import socket
import struct
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow.fs as pafs

from forebay.formats.remote_ranges import Range
from forebay.formats.s3_signature import Keys, signed

_CONNECT_SECONDS, _SILENT_SECONDS = 10, 30
"""How long a connection may take, and an answer may stand still."""
_HEAD_BYTES, _MOST_HEAD = 16 << 10, 64 << 10
_REPLACED, _MISSING, _NO_RANGE, _PASSING = 412, 404, 416, (408, 429, 500, 502, 503, 504)
"""Statuses: If-Match does not hold, there is no such object, nor such a range, and those that may pass."""


class ReplacedError(Exception):
    """The object has another etag than was asked for."""


class NotServedError(Exception):
    """The server does not answer as it should; pyarrow's client may get on with it, or says why not."""


class S3Gets:
    """Requests to one server. Thread-safe; each thread that asks has a connection of its own meanwhile."""

    def __init__(self, place: tuple[str, int], keys: Keys, region: str) -> None:
        """`place`: host and port."""
        self._place, self._keys, self._region = place, keys, region
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        self._host = f"{host}:{place[1]}" if place[1] != 80 else host
        self._idle: deque[socket.socket] = deque()
        weakref.finalize(self, _close, self._idle)
        self.serves = True
        """Whether it answers as it should; else no more is asked of it."""

    def read_into(self, path: str, part: Range, target: memoryview, *, etag: str) -> int:
        """One range of an object into memory; the bytes that came.

        Raises:
            ReplacedError: the object has another etag.
            NotServedError: the server does not answer as it should.
            OSError: it was not reached, broke off, or is overloaded.
        """
        with self._asked(path, {"range": f"bytes={part[0]}-{part[1] - 1}", "if-match": etag}) as answer:
            if answer.headers["etag"] != etag:  # a server that does not know If-Match
                raise ReplacedError("the object has another etag")
            return answer.into(target)

    def ending(self, path: str, nbytes: int) -> tuple[int, str, bytearray]:
        """(size, etag, last bytes, at most `nbytes`) of an object.

        Raises:
            NotServedError: the server does not answer as it should.
            OSError: it was not reached, broke off, or is overloaded.
        """
        with self._asked(path, {"range": f"bytes=-{nbytes}"}) as answer:
            size = answer.headers.get("content-range", "").rpartition("/")[2]
            if not size.isdigit() or answer.length > nbytes:
                raise NotServedError("the answer tells no size")
            data = bytearray(answer.length)
            if answer.into(memoryview(data)) < answer.length:
                raise ConnectionResetError("the server broke off in its answer")
            return int(size), answer.headers["etag"], data

    @contextmanager
    def _asked(self, path: str, wanted: dict[str, str]) -> Iterator["_Answer"]:
        """The answer to a request, whose connection is used again if all of it was read."""
        url = "/" + quote(path, safe="/-_.~")
        headers = signed(url, {"host": self._host, **wanted}, self._keys, region=self._region)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        answer = self._answered(f"GET {url} HTTP/1.1\r\n{lines}\r\n".encode())
        try:
            self._judge(answer, of_a_version="if-match" in wanted)
            yield answer
        except BlockingIOError as error:
            raise _silent() from error
        finally:
            if answer.whole:
                self._idle.append(answer.connection)
            else:
                answer.connection.close()

    def _judge(self, answer: "_Answer", *, of_a_version: bool) -> None:
        # some look at the range first: it lies within the version that is wanted
        if of_a_version and answer.status in (_REPLACED, _NO_RANGE):
            raise ReplacedError("the object has another etag")
        if answer.status == _MISSING:
            raise FileNotFoundError("the server has no such object")
        if answer.status in _PASSING:
            raise OSError(f"the server answers with status {answer.status}")
        if answer.status != 206 or answer.length < 0 or not answer.headers.get("etag", "").startswith('"'):
            self.serves = answer.status == _NO_RANGE  # an empty object, of which there is none
            code = re.search(rb"<Code>(\w+)</Code>", answer.begun)  # what stands beside it tells whose key it was
            raise NotServedError(f"status {answer.status} {code[1].decode() if code else ''}")

    def _answered(self, request: bytes) -> "_Answer":
        with suppress(IndexError):
            connection = self._idle.pop()
            try:
                return _answer(connection, request)
            except OSError:  # the server has left a connection that nobody used: this one tells nothing
                connection.close()
        connection = _connected(self._place)
        with ExitStack() as failed:
            failed.callback(connection.close)
            found = _answer(connection, request)
            failed.pop_all()
        return found


@dataclass(slots=True)
class _Answer:
    """What came so far of one."""

    connection: socket.socket
    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    begun: bytes
    """Of the body."""
    whole: bool = False
    """Whether all of it was read."""

    @property
    def length(self) -> int:
        """Bytes of the body; -1 where it does not tell."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isdigit() else -1

    def into(self, target: memoryview) -> int:
        """The body into memory; the bytes that came."""
        stop = min(self.length, len(target))
        filled = min(len(self.begun), stop)
        target[:filled] = self.begun[:filled]
        # waits for all of it without coming back for every packet, and other threads run meanwhile
        while filled < stop and (count := self.connection.recv_into(target[filled:stop], 0, socket.MSG_WAITALL)):
            filled += count
        self.whole = filled == self.length
        return filled


def gets_of(files: Any) -> S3Gets | None:
    """Direct requests to the server of a pyarrow file system; None where pyarrow itself is to ask."""
    s3: Any = getattr(pafs, "S3FileSystem", None)  # some builds have none
    if s3 is None or not isinstance(files, s3) or sys.platform != "linux":  # elsewhere sockets have other options
        return None
    options = files.__reduce__()[1][0]
    place = _place(options)
    keys = _keys(options)
    return S3Gets(place, keys, files.region) if place and keys else None


def _place(options: dict[str, Any]) -> tuple[str, int] | None:
    endpoint = options.get("endpoint_override") or ""
    url = endpoint if "://" in endpoint else f"{options.get('scheme') or 'https'}://{endpoint}"
    found = urlsplit(url)
    proxied = (options.get("proxy_options") or {}).get("host")
    if found.scheme != "http" or not found.hostname or found.path.strip("/") or proxied:
        return None
    # names of buckets are expected in the host there
    return None if options.get("force_virtual_addressing") else (found.hostname, found.port or 80)


def _keys(options: dict[str, Any]) -> Keys | None:
    """From the URL, else from where every client looks first."""
    if options.get("anonymous") or options.get("role_arn"):
        return None
    if options.get("access_key"):
        return Keys(options["access_key"], options["secret_key"], options.get("session_token") or "")
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return Keys(access, secret, os.environ.get("AWS_SESSION_TOKEN", "")) if access and secret else None


def _silent() -> TimeoutError:
    return TimeoutError(f"the server sent nothing for {_SILENT_SECONDS} seconds")


def _close(idle: deque[socket.socket]) -> None:
    while idle:
        idle.pop().close()


def _connected(place: tuple[str, int]) -> socket.socket:
    made = socket.create_connection(place, timeout=_CONNECT_SECONDS)
    made.settimeout(None)
    # the kernel's own time limit: Python's makes sockets give what has come so far, packet by packet
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SILENT_SECONDS, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _answer(connection: socket.socket, request: bytes) -> _Answer:
    connection.sendall(request)
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        try:
            got = connection.recv(_HEAD_BYTES)
        except BlockingIOError as error:
            raise _silent() from error
        if not got or len(data) > _MOST_HEAD:
            raise ConnectionResetError("the server broke off before it answered")
        data += got
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    status = first.split(" ", 2)[1] if first.startswith("HTTP/1.") else ""
    if not status.isdigit():
        raise ConnectionResetError("what the server answers is no HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return _Answer(connection, int(status), headers, bytes(data[end + 4 :]))
