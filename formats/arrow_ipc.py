"""Arrow IPC files: fragments are record batches; local ones are mapped into memory and never copied."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc

from forebay.formats.errors import CorruptError
from forebay.formats.fragment import Fragment
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.schemas import conform
from forebay.formats.store import Store


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads files of the IPC file format, plain or with compressed buffers (LZ4, ZSTD)."""

    def layout(self, store: Store, path: str) -> Layout:
        file = _open(store, path)
        size = store.info(path).size
        count = file.num_record_batches
        fragments = tuple(
            Fragment(
                path=path,
                format="arrow",
                start=index,
                stop=index + 1,
                rows=_batch(file, index, path).num_rows,
                nbytes=size // max(count, 1),
            )
            for index in range(count)
        )
        return Layout(file.schema, fragments)

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        file = _open(store, fragment.path)
        for index in range(fragment.start, fragment.stop):
            batch = _batch(file, index, fragment.path)
            names = [name for name in request.schema.names if name in batch.schema.names]
            yield conform(batch.select(names), request.schema)

    def open_batches(self, store: Store, path: str) -> list[pa.RecordBatch]:
        file = _open(store, path)
        return [_batch(file, index, path) for index in range(file.num_record_batches)]


def _open(store: Store, path: str) -> pa.ipc.RecordBatchFileReader:
    try:
        return pa.ipc.open_file(store.memory_map(path))
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: {error}") from error


def _batch(file: pa.ipc.RecordBatchFileReader, index: int, path: str) -> pa.RecordBatch:
    try:
        return file.get_batch(index)
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: record batch {index} cannot be read: {error}") from error
