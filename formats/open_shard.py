"""One shard while it is written."""

from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forebay.formats.checksum import Checksum
from forebay.formats.errors import SchemaError, SpecError, StorageError
from forebay.formats.manifest import ShardInfo
from forebay.formats.row_groups import size
from forebay.formats.store import Store

ZSTD_LEVEL = 1
PAGE_BYTES = 1 << 20
"""Both chosen with `python -m forebay.bench.shards`."""


class OpenShard:
    """A file that appears under its name when it is closed, and not at all when it is aborted."""

    def __init__(self, store: Store, path: str, schema: pa.Schema, format: str) -> None:
        self._name = path.rpartition("/")[2]
        self._path = path
        self.rows = self.bytes_in_memory = self._groups = 0
        self._stack = ExitStack()
        self._tee = _Tee(self._stack.enter_context(store.publish(path)))
        sink = pa.PythonFile(self._tee, mode="w")
        self._parquet = format == "parquet"
        try:
            self._writer = _parquet(sink, schema) if self._parquet else pa.ipc.new_file(sink, schema)
        except (pa.ArrowException, OSError) as error:
            self.abort()
            raise self._refused(error) from error

    def write_group(self, table: pa.Table) -> None:
        """Add one row group (record batch)."""
        # in one piece: how the rows came must not show in where pages end
        batches = table.combine_chunks().to_batches()
        if len(batches) != 1:
            self.abort()
            raise SpecError(
                f"{self._path}: a row group of {table.num_rows} rows takes more than 2 GB in one column; give fewer "
                "row_group_rows, or the column a large_ type"
            )
        try:
            if self._parquet:
                self._writer.write_batch(batches[0], row_group_size=table.num_rows)
            else:
                self._writer.write_batch(_canonical(batches[0]))
        except (pa.ArrowException, OSError) as error:
            self.abort()
            raise self._refused(error) from error
        self.rows += table.num_rows
        self.bytes_in_memory += size(table)
        self._groups += 1

    def close(self, group_rows: int) -> ShardInfo:
        """Publish it."""
        try:
            self._writer.close()
            self._stack.close()
        except (pa.ArrowException, OSError) as error:
            self.abort()
            raise self._refused(error) from error
        found = self._tee.checksum
        return ShardInfo(self._name, self.rows, found.nbytes, self._groups, group_rows, found.text())

    def abort(self) -> None:
        """Leave nothing behind."""
        self._tee.discard = True  # the writer puts a footer when it is closed or collected; it goes nowhere
        with suppress(pa.ArrowException, OSError, AttributeError):
            self._writer.close()
        # leaving the block of `publish` by an exception is what makes it take the temporary file away
        with suppress(_Aborted):
            self._stack.__exit__(_Aborted, _Aborted(), None)

    def _refused(self, error: Exception) -> Exception:
        if isinstance(error, StorageError):
            return error
        if isinstance(error, OSError):
            return StorageError(f"{self._path}: cannot be written: {error.strerror or error}")
        format = "Parquet" if self._parquet else "Arrow"
        return SchemaError(f"{self._path}: a column cannot be written as {format}: {error}")


class _Aborted(Exception):
    pass


class _Tee:
    """A file for Arrow's writers that counts and hashes what passes, so that a shard need not be read again."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream, self.checksum = stream, Checksum()
        self.discard = False

    def write(self, data: Any) -> int:
        if not self.discard:
            self._stream.write(data)
            self.checksum.update(data)
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self.checksum.nbytes

    def flush(self) -> None:
        if not self.discard:
            self._stream.flush()

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def stored_schema(schema: pa.Schema, format: str) -> pa.Schema:
    """The schema that a shard of these columns has when it is read: Parquet keeps no seconds, for one, but milliseconds."""
    if format != "parquet":
        return schema
    sink = pa.BufferOutputStream()
    _parquet(sink, schema).close()
    return pq.read_schema(pa.BufferReader(sink.getvalue()))


def _parquet(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        # A dictionary pays for repeated text; for numbers it is built, found too large and thrown away.
        use_dictionary=texts or False,
        # The bytes of numbers sorted by their place: zstd then takes about half the time to write and less to
        # read (`python -m forebay.bench.shards`). Columns of few distinct values get larger (docs/notes/performance.md).
        column_encoding=dict.fromkeys(_numbers(schema), "BYTE_STREAM_SPLIT") or None,
        write_statistics=True,
        write_page_index=True,
        data_page_size=PAGE_BYTES,
        store_schema=True,
    )


def _numbers(schema: pa.Schema) -> list[str]:
    """Paths of the leaf columns that hold numbers of four or eight bytes (or are stored as such)."""
    found = []
    for field in schema:
        type = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        path = field.name
        if pa.types.is_fixed_size_list(type):
            type, path = type.value_type, f"{field.name}.list.element"
        floats = pa.types.is_float32(type) or pa.types.is_float64(type)
        if floats or pa.types.is_integer(type) or pa.types.is_date(type) or pa.types.is_timestamp(type):
            found.append(path)
    return found


def _canonical(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Equal rows in equal bytes: Arrow writes what lies under nulls, and what lies behind a slice as padding.

    Concatenating with no rows copies just the rows into buffers of their own.
    """
    columns = [_zeroed(pa.concat_arrays([column, column.slice(0, 0)])) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _zeroed(array: pa.Array) -> pa.Array:
    plain = pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)
    if array.null_count == 0 or not plain:
        return array
    boolean = pa.types.is_boolean(array.type)
    values = pc.fill_null(array, pa.scalar(False if boolean else 0, array.type)).to_numpy(zero_copy_only=False)
    data = np.packbits(values, bitorder="little") if boolean else np.ascontiguousarray(values)
    valid = np.packbits(pc.is_valid(array).to_numpy(zero_copy_only=False), bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(data)]
    return pa.Array.from_buffers(array.type, len(array), buffers, array.null_count)
