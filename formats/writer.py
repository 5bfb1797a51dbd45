"""Shards: files of bounded size that are either absent or whole, and the same bytes for the same rows."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from forebay.formats.checksum import Checksum
from forebay.formats.errors import StorageError
from forebay.formats.manifest import ShardInfo
from forebay.formats.store import Store

ROW_GROUP_BYTES = 16 << 20
"""Bytes in memory of a row group, if its rows allow: chosen with `python -m forebay.bench.shards`. Smaller ones cost a
reader that takes whole row groups more requests and more decoding set-up; larger ones cost memory and mixing."""

MAX_GROUP_ROWS = 131_072
MIN_GROUP_ROWS = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOptions:
    """How shards are cut."""

    format: Literal["parquet", "arrow"] = "parquet"
    max_rows: int | None = None
    """Most rows in a shard."""
    max_bytes: int = 256_000_000
    """Bytes in memory at which a shard is closed (at the end of a row group)."""
    row_group_rows: int | None = None
    """Rows of a row group; None takes ROW_GROUP_BYTES by the size of the first rows."""


class ShardWriter:
    """Writes batches as `PREFIX-00000.parquet`, `PREFIX-00001.parquet`, …

    Row groups are cut by rows alone, whatever the sizes of the batches that come, so the bytes depend on the rows only.
    """

    def __init__(self, store: Store, directory: str, prefix: str, schema: pa.Schema, options: ShardOptions) -> None:
        self._store, self._directory, self._prefix = store, directory, prefix
        self._schema, self._options = schema, options
        self._group_rows = options.row_group_rows
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._shard: _OpenShard | None = None
        self._done: list[ShardInfo] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Take in rows of exactly the writer's schema.

        Raises:
            StorageError: no space, no permission.
        """
        if batch.num_rows == 0:
            return
        if self._group_rows is None:
            self._group_rows = _rows_for(batch)
        self._held.append(batch)
        self._held_rows += batch.num_rows
        while self._held_rows >= self._next_cut():
            self._write_group(self._next_cut())

    def close(self) -> list[ShardInfo]:
        """Write what is held, publish the last shard, and tell of all."""
        if self._held_rows:
            self._write_group(self._held_rows)
        self._close_shard()
        return self._done

    def abort(self) -> None:
        """Drop the shard that is being written; those already published stay."""
        if self._shard:
            self._shard.abort()
            self._shard = None

    def _next_cut(self) -> int:
        rows = self._group_rows or MAX_GROUP_ROWS
        if self._options.max_rows is not None:
            written = self._shard.rows if self._shard else 0
            rows = min(rows, self._options.max_rows - written)
        return rows

    def _write_group(self, rows: int) -> None:
        table = pa.Table.from_batches(self._take(rows), schema=self._schema)
        if self._shard is None:
            name = f"{self._prefix}-{len(self._done):05d}.{self._options.format}"
            self._shard = _OpenShard(self._store, f"{self._directory}/{name}", self._schema, self._options.format)
        self._shard.write_group(table)
        full = self._options.max_rows is not None and self._shard.rows >= self._options.max_rows
        if full or self._shard.bytes_in_memory >= self._options.max_bytes:
            self._close_shard()

    def _take(self, rows: int) -> list[pa.RecordBatch]:
        taken = []
        self._held_rows -= rows
        while rows:
            first = self._held.pop(0)
            if first.num_rows > rows:
                self._held.insert(0, first.slice(rows))
                first = first.slice(0, rows)
            taken.append(first)
            rows -= first.num_rows
        return taken

    def _close_shard(self) -> None:
        if self._shard:
            self._done.append(self._shard.close(self._group_rows or 0))
            self._shard = None


class _OpenShard:
    def __init__(self, store: Store, path: str, schema: pa.Schema, format: str) -> None:
        self._name = path.rpartition("/")[2]
        self._path = path
        self._stack = ExitStack()
        self.rows = self.bytes_in_memory = self._groups = 0
        stream = self._stack.enter_context(store.publish(path))
        self._checksum = Checksum()
        sink = pa.PythonFile(_Tee(stream, self._checksum), mode="w")
        self._writer = _parquet(sink, schema) if format == "parquet" else pa.ipc.new_file(sink, schema)
        self._parquet = format == "parquet"

    def write_group(self, table: pa.Table) -> None:
        try:
            if self._parquet:
                self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
            else:
                self._writer.write_batch(table.combine_chunks().to_batches()[0])
        except OSError as error:
            self.abort()
            raise StorageError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        self.rows += table.num_rows
        self.bytes_in_memory += table.nbytes
        self._groups += 1

    def close(self, group_rows: int) -> ShardInfo:
        try:
            self._writer.close()
            self._stack.close()
        except OSError as error:
            self.abort()
            raise StorageError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        return ShardInfo(self._name, self.rows, self._checksum.nbytes, self._groups, group_rows, self._checksum.text())

    def abort(self) -> None:
        # leaving the block of `publish` by an exception is what makes it take the temporary file away
        self._stack.__exit__(StorageError, StorageError("aborted"), None)


class _Tee:
    """A file for Arrow's writers that counts and hashes what passes, so that a shard need not be read again."""

    closed = False

    def __init__(self, stream: Any, checksum: Checksum) -> None:
        self._stream, self._checksum = stream, checksum

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self._checksum.update(data)
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self._checksum.nbytes

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _parquet(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [path for field in schema for path in _text_paths(field)]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        # A dictionary pays for repeated text; for numbers it is built, found too large and thrown away.
        use_dictionary=texts or False,
        write_statistics=True,
        write_page_index=True,
        data_page_size=1 << 20,
        store_schema=True,
    )


def _text_paths(field: pa.Field) -> Iterator[str]:
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        yield field.name


def _rows_for(batch: pa.RecordBatch) -> int:
    per_row = max(batch.nbytes / batch.num_rows, 1 / 8)
    rows = int(ROW_GROUP_BYTES / per_row)
    # a power of two, so that a slightly different first batch gives the same cut
    return max(MIN_GROUP_ROWS, min(MAX_GROUP_ROWS, 1 << max(rows, 1).bit_length() - 1))
