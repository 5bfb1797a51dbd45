"""A loopback relay that makes every request wait: `python -m forebay.bench.delay_relay PORT SECONDS` prints its own port.

Bytes from the client are held back for so long, as if they had a way to go; those from the server pass at once, from socket to
socket without a copy, in a process of its own: who measures through it pays for little beside the wait.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType

_PIPE_BYTES = 1 << 20


class DelayRelay:
    """The relay before 127.0.0.1:`port`, as a process that ends with the block."""

    def __init__(self, port: int, seconds: float) -> None:
        command = [sys.executable, "-m", "forebay.bench.delay_relay", str(port), str(seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def __enter__(self) -> "DelayRelay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def serve(port: int, seconds: float) -> None:
    """Relay connections until the process is ended."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        client, _ = listening.accept()
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.close()
            continue
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_held_back, args=(client, server, seconds), daemon=True).start()
        threading.Thread(target=_passed_on, args=(server, client), daemon=True).start()


def _held_back(client: socket.socket, server: socket.socket, seconds: float) -> None:
    try:
        while data := client.recv(1 << 16):
            time.sleep(seconds)
            server.sendall(data)
    except OSError:
        pass  # one side has gone: so does the other
    _end(server)


def _passed_on(server: socket.socket, client: socket.socket) -> None:
    out, into = os.pipe()
    try:
        while count := os.splice(server.fileno(), into, _PIPE_BYTES):
            while count:
                count -= os.splice(out, client.fileno(), count)
    except OSError:
        pass
    finally:
        os.close(out)
        os.close(into)
    _end(client)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
