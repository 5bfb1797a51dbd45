"""A unit of the cache on disk: an Arrow IPC file, then a trailer that says what it is and what its bytes hash to.

    [Arrow IPC file, or plain bytes] [trailer, JSON] [length of the trailer, uint32] [magic, 8 bytes]

One file, so that a rename publishes bytes and checksum together. The payload comes first, so it keeps Arrow's alignment
when the file is mapped.
"""

import json
import mmap
import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.ipc

from forebay.engine.file_lock import share
from forebay.formats.checksum import Checksum
from forebay.formats.errors import CorruptError

MAGIC = b"FBUNIT1\n"
_END = struct.Struct("<I8s")
_LONGEST_TRAILER = 1 << 16

Compression = Literal["lz4"] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitInfo:
    """The trailer."""

    key: str
    """Key it was stored under: a file that was renamed by hand is not taken for another."""
    kind: Literal["arrow", "bytes"]
    nbytes: int
    """Length of the payload."""
    checksum: str
    """Of the payload; see `forebay.formats.checksum`."""
    label: str
    """What it belongs to, for people: a data set and its transforms."""
    created_ns: int


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit mapped into memory.

    The mapping holds a shared lock on the file for as long as any buffer of it lives, in a batch, an array or a tensor
    that the user kept: that is the lease, and no eviction by any process takes a leased unit.
    """

    payload: pa.Buffer
    info: UnitInfo

    def intact(self) -> bool:
        """Whether the payload still hashes to its checksum. Reads all of it."""
        found = Checksum()
        found.update(self.payload)
        return found.text() == self.info.checksum

    def batches(self) -> list[pa.RecordBatch]:
        """The record batches: views of the mapping where they were stored raw."""
        with pa.ipc.open_file(self.payload) as file:
            return [file.get_batch(index) for index in range(file.num_record_batches)]

    def schema(self) -> pa.Schema:
        return pa.ipc.open_file(self.payload).schema


def open_unit(path: str) -> Unit | None:
    """The unit at `path`, leased and mapped, its checksum not looked at yet; None where there is none.

    Raises:
        CorruptError: not a whole unit.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        share(descriptor)
        if os.fstat(descriptor).st_nlink == 0:  # evicted between the opening and the lock
            return None
        size = os.fstat(descriptor).st_size
        if size < _END.size:
            raise CorruptError(f"{path}: {size} bytes are too few for a cache unit")
        return map_unit(descriptor, path)
    finally:
        os.close(descriptor)


def map_unit(descriptor: int, path: str) -> Unit:
    """The unit in an open file on which a shared lock is held; the mapping takes that over when the descriptor is closed.

    Raises:
        CorruptError: not a whole unit.
    """
    # the mapping duplicates the descriptor, and a lock of flock belongs to both: it ends when the mapping is freed
    whole = pa.py_buffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    info = _trailer(whole, path)
    return Unit(whole.slice(0, info.nbytes), info)


def _trailer(whole: pa.Buffer, path: str) -> UnitInfo:
    length, magic = _END.unpack(whole.slice(whole.size - _END.size).to_pybytes())
    start = whole.size - _END.size - length
    if magic != MAGIC or length > _LONGEST_TRAILER or start < 0:
        raise CorruptError(f"{path}: not a cache unit, or cut short: its last bytes are not the magic of one")
    try:
        info = UnitInfo(**json.loads(whole.slice(start, length).to_pybytes()))
    except (ValueError, TypeError) as error:
        raise CorruptError(f"{path}: the trailer of this cache unit does not parse: {error}") from error
    if info.nbytes != start:
        raise CorruptError(f"{path}: holds {start} bytes, its trailer says {info.nbytes}")
    return info


class UnitSink:
    """File-like target of an Arrow writer: writes to a descriptor and hashes on the way, copying nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._checksum = Checksum()
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._checksum.update(view)
        return self._write_all(view)

    def tell(self) -> int:
        return self._checksum.nbytes

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def finish(self, key: str, kind: Literal["arrow", "bytes"], label: str) -> UnitInfo:
        """Write the trailer. The bytes are the system's then, not yet on the disk."""
        info = UnitInfo(
            key=key,
            kind=kind,
            nbytes=self._checksum.nbytes,
            checksum=self._checksum.text(),
            label=label,
            created_ns=time.time_ns(),
        )
        text = json.dumps({name: getattr(info, name) for name in UnitInfo.__dataclass_fields__}).encode()
        self._write_all(memoryview(text + _END.pack(len(text), MAGIC)))
        return info

    def _write_all(self, view: memoryview) -> int:
        written = 0  # a disk that fills up takes a part before it says no
        while written < len(view):
            written += os.write(self._descriptor, view[written:])
        return written


def write_batches(
    sink: UnitSink, batches: Sequence[pa.RecordBatch], schema: pa.Schema, *, compression: Compression
) -> None:
    """Write `batches` as an Arrow IPC file.

    Raises:
        OSError: no space, no permission.
    """
    options = pa.ipc.IpcWriteOptions(compression=compression)
    file = pa.PythonFile(sink, mode="w")
    with pa.ipc.new_file(file, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)


def paths_below(directory: str) -> Iterator[os.DirEntry[str]]:
    """The unit files of a cache; those that go away meanwhile are left out."""
    try:
        shelves = sorted(os.scandir(directory), key=lambda one: one.name)
    except FileNotFoundError:
        return
    for shelf in shelves:
        try:
            yield from (one for one in os.scandir(shelf.path) if one.name.endswith(".unit"))
        except (FileNotFoundError, NotADirectoryError):
            continue
