"""Checksums of files: xxh3, 128 bits, as many gigabytes a second as a disk gives."""

from collections.abc import Iterator

import pyarrow as pa
import xxhash

ALGORITHM = "xxh3_128"
_CHUNK = 4 << 20


class Checksum:
    """Takes in bytes as they are written, so that a finished file need not be read again."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()
        self.nbytes = 0

    def update(self, data: bytes | memoryview | pa.Buffer) -> None:
        self._state.update(data)
        self.nbytes += memoryview(data).nbytes

    def text(self) -> str:
        """`algorithm:hex digits`."""
        return f"{ALGORITHM}:{self._state.hexdigest()}"


def checksum(file: pa.NativeFile) -> str:
    """Checksum of the whole file."""
    found = Checksum()
    for chunk in _chunks(file):
        found.update(chunk)
    return found.text()


def _chunks(file: pa.NativeFile) -> Iterator[pa.Buffer]:
    while True:
        chunk = file.read_buffer(_CHUNK)
        if chunk.size == 0:
            return
        yield chunk
