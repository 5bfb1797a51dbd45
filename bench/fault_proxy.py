"""A loopback TCP proxy for HTTP that fails, delays or cuts short one request in N, and can add latency to all."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Faults:
    """What goes wrong; may be changed while the proxy runs."""

    fail_every: int = 0
    """Each n-th GET is answered 503."""
    slow_every: int = 0
    """Each n-th GET waits `slow_seconds`."""
    slow_seconds: float = 1.0
    cut_every: int = 0
    """Each n-th GET ends after half of its body."""
    latency: float = 0.0
    """Seconds that every request waits."""
    gets: int = 0
    """GET requests so far."""
    nbytes: int = 0
    """Bytes of bodies given so far."""
    now: int = 0
    """Requests under way."""
    most: int = 0
    """Requests that were under way at once."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a request while it is answered."""
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self.lock:
                self.now -= 1


class FaultProxy:
    """Stands before 127.0.0.1:`port`. The Host header passes unchanged, so signatures stay valid."""

    def __init__(self, port: int) -> None:
        self.faults = Faults()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, self.faults))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(port: int, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _pass(self) -> None:
            with faults.under_way():
                self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            count = 0
            if self.command == "GET":
                with faults.lock:
                    faults.gets += 1
                    count = faults.gets
            time.sleep(faults.latency)
            if count and faults.slow_every and count % faults.slow_every == 0:
                time.sleep(faults.slow_seconds)
            if count and faults.fail_every and count % faults.fail_every == 0:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._relay(body, cut=bool(count and faults.cut_every and count % faults.cut_every == 0))

        def _relay(self, body: bytes, *, cut: bool) -> None:
            found = _asked(port, self, body)
            if found is None:
                self.close_connection = True
                return
            answer, data = found
            with faults.lock:
                faults.nbytes += len(data)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = cut

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

    return Handler


def _asked(port: int, request: Any, body: bytes) -> tuple[http.client.HTTPResponse, bytes] | None:
    """The server's answer and its body; None when it gives none."""
    upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        upstream.request(request.command, request.path, body=body or None, headers=dict(request.headers))
        answer = upstream.getresponse()
        return answer, answer.read()
    except OSError:
        return None
    finally:
        upstream.close()
