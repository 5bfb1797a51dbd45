"""A unit of the cache on disk: an Arrow IPC file, then what its bytes hash to, and a trailer that says what it is.

    [Arrow IPC file, or plain bytes] [checksum of each block] [trailer, JSON] [its length, uint32] [seal, uint64] [magic, 8 bytes]

One file, so that a rename publishes bytes and checksums together. The payload comes first, so it keeps Arrow's alignment
when the file is mapped. The seal is the trailer's checksum, and the trailer has that of the blocks' checksums: these are looked
at whenever a unit is opened.
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
import xxhash

from forebay.engine.cache_blocks import BLOCK_BYTES, SUM_BYTES, BlockCheck, BlockSums, blocks_of
from forebay.engine.file_lock import share
from forebay.formats.checksum import Checksum
from forebay.formats.errors import CorruptError

MAGIC = b"FBUNIT2\n"
_END = struct.Struct("<IQ8s")
_LONGEST_TRAILER = 1 << 16
_BULK_BYTES = 1 << 20
"""Least bytes of a write that is told in the trailer, and so of what can be looked at row by row."""
_MOST_BULKS = 64
_AT_ONCE = 128 << 10
"""Bytes of one write. The system takes pages as large as the write for it, and large ones come from memory that nobody has used
for long: in a virtual machine the host has to give it first, which may take several times as long as the copy."""

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
    """Of the checksums of its blocks; see `cache_blocks`."""
    bulks: list[list[int]]
    """(first, one past the last) byte of parts of the payload that hold nothing but values of a column."""
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
    check: BlockCheck
    """What of the payload was looked at since it was mapped; see `Trust` for what this process knows of the file."""
    mark: tuple[int, int, int]
    """The file: inode, time and size."""

    def intact(self) -> bool:
        """Whether the payload still hashes to its checksums. Reads all of it that was not looked at."""
        return self.check.all_right(memoryview(self.payload))

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
    info, table = _trailer(whole, path)
    return Unit(whole.slice(0, info.nbytes), info, BlockCheck(table, info.nbytes), mark_of(os.fstat(descriptor)))


def mark_of(stat: os.stat_result) -> tuple[int, int, int]:
    """What says that a file is still the same."""
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _trailer(whole: pa.Buffer, path: str) -> tuple[UnitInfo, bytes]:
    """The trailer, and the checksums of the blocks."""
    length, seal, magic = _END.unpack(whole.slice(whole.size - _END.size).to_pybytes())
    start = whole.size - _END.size - length
    if magic != MAGIC or length > _LONGEST_TRAILER or start < 0:
        raise CorruptError(f"{path}: not a cache unit, or cut short: its last bytes are not the magic of one")
    text = whole.slice(start, length).to_pybytes()
    try:
        if xxhash.xxh3_64_intdigest(text) != seal:
            raise ValueError("it does not hash to its seal")
        info = UnitInfo(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise CorruptError(f"{path}: the trailer of this cache unit does not parse: {error}") from error
    if info.nbytes + SUM_BYTES * blocks_of(info.nbytes) != start:
        raise CorruptError(f"{path}: holds {start} bytes, its trailer says {info.nbytes} and the checksums of these")
    table = whole.slice(info.nbytes, start - info.nbytes).to_pybytes()
    if _checksum(table) != info.checksum:
        raise CorruptError(f"{path}: the checksums of this cache unit do not hash to {info.checksum}")
    return info, table


def _checksum(table: bytes) -> str:
    found = Checksum()
    found.update(table)
    return found.text()


class UnitSink:
    """File-like target of an Arrow writer: writes to a descriptor and hashes on the way, copying nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sums = BlockSums()
        self._bulks: list[list[int]] = []
        self.packed = False
        """Whether bytes are compressed: then nothing can be read before all is looked at."""
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if len(view) >= _BULK_BYTES and not self.packed and len(self._bulks) < _MOST_BULKS:
            self._bulks.append([self._sums.nbytes, self._sums.nbytes + len(view)])
        for at in range(0, len(view), BLOCK_BYTES):
            # what is hashed is still in the processor's cache when it is copied
            part = view[at : at + BLOCK_BYTES]
            self._sums.update(part)
            self._write_all(part)
        return len(view)

    def tell(self) -> int:
        return self._sums.nbytes

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def finish(self, key: str, kind: Literal["arrow", "bytes"], label: str) -> UnitInfo:
        """Write the trailer. The bytes are the system's then, not yet on the disk."""
        table = self._sums.table()
        info = UnitInfo(
            key=key,
            kind=kind,
            nbytes=self._sums.nbytes,
            checksum=_checksum(table),
            bulks=self._bulks,
            label=label,
            created_ns=time.time_ns(),
        )
        text = json.dumps({name: getattr(info, name) for name in UnitInfo.__dataclass_fields__}).encode()
        end = _END.pack(len(text), xxhash.xxh3_64_intdigest(text), MAGIC)
        self._write_all(memoryview(table + text + end))
        return info

    def _write_all(self, view: memoryview) -> None:
        written = 0  # a disk that fills up takes a part before it says no
        while written < len(view):
            written += os.write(self._descriptor, view[written : written + _AT_ONCE])


def write_batches(
    sink: UnitSink, batches: Sequence[pa.RecordBatch], schema: pa.Schema, *, compression: Compression
) -> None:
    """Write `batches` as an Arrow IPC file.

    Raises:
        OSError: no space, no permission.
    """
    sink.packed = compression is not None
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
