"""Shards: files of bounded size that are either absent or whole, and the same bytes for the same rows."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError
from forebay.formats.manifest import ShardInfo
from forebay.formats.open_shard import OpenShard
from forebay.formats.row_groups import rows_for
from forebay.formats.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOptions:
    """How shards are cut."""

    format: Literal["parquet", "arrow"] = "parquet"
    max_rows: int | None = None
    """Most rows in a shard."""
    max_bytes: int = 256_000_000
    """Bytes in memory at which a shard is closed (at the end of a row group)."""
    row_group_rows: int | None = None
    """Rows of a row group; None: as many as make `row_groups.TARGET_BYTES`, by the size of the first rows."""

    def __post_init__(self) -> None:
        if self.format not in ("parquet", "arrow"):
            raise SpecError(f"shard format is {self.format!r}; expected 'parquet' or 'arrow'")
        for name in ("max_rows", "max_bytes", "row_group_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SpecError(f"{name} is {value!r}; expected at least 1")


class ShardWriter:
    """Writes batches as `PREFIX-00000.parquet`, `PREFIX-00001.parquet`, …

    Row groups are cut by rows alone, whatever the sizes of the batches that come, so the bytes depend on the rows only.
    As a context manager it closes at the end of the block and aborts on an exception.
    """

    def __init__(self, store: Store, directory: str, prefix: str, schema: pa.Schema, options: ShardOptions) -> None:
        self._store, self._directory, self._prefix = store, directory, prefix
        self._schema, self._options = schema, options
        self._group_rows = options.row_group_rows
        self._held: deque[pa.RecordBatch] = deque()
        self._held_rows = 0
        self._shard: OpenShard | None = None
        self._done: list[ShardInfo] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Take in rows of exactly the writer's schema.

        Raises:
            SchemaError: the batch has other columns or types.
            StorageError: no space, no permission.
        """
        if not batch.schema.equals(self._schema):
            raise SchemaError(f"{self._prefix}: a batch of {batch.schema} was given to a writer of {self._schema}")
        if batch.num_rows == 0:
            return
        self._held.append(batch)
        self._held_rows += batch.num_rows
        if self._group_rows is None:
            self._group_rows = rows_for(self._held, self._held_rows, complete=False)
        while self._group_rows is not None and self._held_rows >= self._next_cut(self._group_rows):
            self._write_group(self._next_cut(self._group_rows))

    def close(self) -> list[ShardInfo]:
        """Write what is held, publish the last shard, and tell of all."""
        if self._held_rows and self._group_rows is None:
            self._group_rows = rows_for(self._held, self._held_rows, complete=True)
        while self._held_rows:
            self._write_group(min(self._held_rows, self._next_cut(self._group_rows or 1)))
        self._close_shard()
        return self._done

    def abort(self) -> None:
        """Drop the shard that is being written; those already published stay."""
        self._held.clear()
        self._held_rows = 0
        if self._shard:
            self._shard.abort()
            self._shard = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _next_cut(self, rows: int) -> int:
        if self._options.max_rows is None:
            return rows
        return min(rows, self._options.max_rows - (self._shard.rows if self._shard else 0))

    def _write_group(self, rows: int) -> None:
        table = pa.Table.from_batches(self._take(rows), schema=self._schema)
        if self._shard is None:
            name = f"{self._prefix}-{len(self._done):05d}.{self._options.format}"
            self._shard = OpenShard(self._store, f"{self._directory}/{name}", self._schema, self._options.format)
        self._shard.write_group(table)
        full = self._options.max_rows is not None and self._shard.rows >= self._options.max_rows
        if full or self._shard.bytes_in_memory >= self._options.max_bytes:
            self._close_shard()

    def _take(self, rows: int) -> list[pa.RecordBatch]:
        taken = []
        self._held_rows -= rows
        while rows:
            first = self._held.popleft()
            if first.num_rows > rows:
                self._held.appendleft(first.slice(rows))
                first = first.slice(0, rows)
            taken.append(first)
            rows -= first.num_rows
        return taken

    def _close_shard(self) -> None:
        if self._shard:
            self._done.append(self._shard.close(self._group_rows or 0))
            self._shard = None
