"""Arrow IPC files: fragments are record batches; local ones are mapped into memory and never copied."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from forebay.formats.errors import CorruptError, ForebayError
from forebay.formats.fragment import Fragment
from forebay.formats.ipc_header import batch_header
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.remote_layout import arrow_ranges
from forebay.formats.schemas import conform
from forebay.formats.store import Store

_MAGIC = b"ARROW1"


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads the IPC file format and, since Hugging Face datasets keep it under the same suffix, the IPC stream format.

    Plain buffers of a local file are used where they lie; compressed ones (LZ4, ZSTD) are decompressed for the columns
    that are asked for.
    """

    def layout(self, store: Store, path: str) -> Layout:
        size = store.info(path).size
        schema, counts = _look(store, path)
        fragments = tuple(
            Fragment(
                path=path,
                format="arrow",
                start=index,
                stop=index + 1,
                rows=rows,
                nbytes=size // len(counts),
            )
            for index, rows in enumerate(counts)
        )
        return Layout(schema, fragments)

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        path = fragment.path
        wanted = set(request.schema.names)
        for batch in _batches(store, path, range(fragment.start, fragment.stop), wanted):
            kept = [name for name in batch.schema.names if name in wanted]
            yield conform(batch.select(kept), request.schema, path=path, fill_missing=request.fill_missing)

    def open_batches(self, store: Store, path: str) -> list[pa.RecordBatch]:
        return list(_batches(store, path, None, None))


def _look(store: Store, path: str) -> tuple[pa.Schema, list[int]]:
    """Schema, and rows of each batch: of a file from the headers, without loading a batch."""
    schema = _schema(store, path)
    file = store.memory_map(path)
    if _has_footer(file):
        return schema, [batch_header(file, start, path).rows for start, _ in arrow_ranges(file, path)]
    return schema, [batch.num_rows for batch in _batches(store, path, None, None)]


def _schema(store: Store, path: str) -> pa.Schema:
    try:
        file = store.memory_map(path)
        return (pa.ipc.open_file(file) if _has_footer(file) else pa.ipc.open_stream(file)).schema
    except ForebayError:
        raise  # of the store: the file may be whole
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: {error}") from error


def _batches(store: Store, path: str, indices: range | None, names: set[str] | None) -> Iterator[pa.RecordBatch]:
    """Batches at `indices` (None: all), with at least the columns `names` that the file has (None: all)."""
    try:
        file = store.memory_map(path)
        if _has_footer(file):
            fields = names
            if indices is not None:
                ranges = arrow_ranges(file, path)
                if not store.local:
                    file = store.open_ranges(path, [ranges[index] for index in indices])
                elif not batch_header(file, ranges[indices.start][0], path).compressed:
                    fields = None  # what is mapped costs nothing; Arrow copies it when fields are named
            yield from _from_file(file, path, indices, fields)
        else:
            yield from _from_stream(file, indices)
    except ForebayError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: {error}") from error


def _from_file(file: Any, path: str, indices: range | None, names: set[str] | None) -> Iterator[pa.RecordBatch]:
    opened = pa.ipc.open_file(file)
    if names is not None:
        fields = [at for at, name in enumerate(opened.schema.names) if name in names]
        # Arrow takes an empty list for all fields, so the first stands in for none
        options = pa.ipc.IpcReadOptions(included_fields=fields or [0], use_threads=False)
        opened = pa.ipc.open_file(file, options=options)
    for index in range(opened.num_record_batches) if indices is None else indices:
        try:
            yield opened.get_batch(index)
        except ForebayError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise CorruptError(f"{path}: record batch {index} cannot be read: {error}") from error


def _from_stream(file: Any, indices: range | None) -> Iterator[pa.RecordBatch]:
    for index, batch in enumerate(pa.ipc.open_stream(file)):
        if indices is None or index in indices:
            yield batch
        elif index >= indices.stop:
            return


def _has_footer(file: Any) -> bool:
    head = bytes(file.read(len(_MAGIC)))
    file.seek(0)
    return head == _MAGIC
