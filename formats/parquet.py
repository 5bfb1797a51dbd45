"""Parquet: fragments are row groups."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from forebay.formats.errors import CorruptError
from forebay.formats.fragment import Fragment
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.schemas import conform
from forebay.formats.store import Store


@dataclass(frozen=True, slots=True)
class ParquetReader:
    """Reads the columns that are asked for, and no row group whose statistics exclude the filter."""

    batch_rows: int = 65_536
    """Rows decoded at a time: bounds memory where a file has row groups of a million rows."""

    def layout(self, store: Store, path: str) -> Layout:
        with _open(store, path) as file:
            metadata = file.metadata
            schema = file.schema_arrow
            fragments = []
            for group in range(metadata.num_row_groups):
                one = metadata.row_group(group)
                fragments.append(
                    Fragment(
                        path=path,
                        format="parquet",
                        start=group,
                        stop=group + 1,
                        rows=one.num_rows,
                        nbytes=sum(one.column(column).total_compressed_size for column in range(one.num_columns)),
                    )
                )
            return Layout(schema, tuple(fragments))

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        if request.filter is not None and not _can_match(store, fragment, request):
            return
        with _open(store, fragment.path) as file:
            missing = set(request.schema.names) - set(file.schema_arrow.names)
            columns = [name for name in request.schema.names if name not in missing]
            groups = list(range(fragment.start, fragment.stop))
            if not columns:  # nothing but the number of rows is asked for
                rows = sum(file.metadata.row_group(group).num_rows for group in groups)
                yield _no_columns(rows, request.schema)
                return
            try:
                for batch in file.iter_batches(self.batch_rows, row_groups=groups, columns=columns, use_threads=False):
                    yield conform(batch, request.schema)
            except (OSError, pa.ArrowException) as error:
                place = f"row groups {fragment.start} to {fragment.stop}"
                raise CorruptError(f"{fragment.path}: {place} cannot be read: {error}") from error


def _open(store: Store, path: str) -> pq.ParquetFile:
    try:
        # Buffered reads of whole column chunks from object stores, a mapping of the file from local disks.
        return pq.ParquetFile(store.memory_map(path), pre_buffer=not store.local)
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Parquet file: {error}") from error


def _can_match(store: Store, fragment: Fragment, request: ReadRequest) -> bool:
    made = pads.ParquetFileFormat().make_fragment(
        fragment.path, store.files, row_groups=list(range(fragment.start, fragment.stop))
    )
    try:
        left = made.subset(filter=request.filter, schema=made.physical_schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return True  # the filter compares types that statistics do not cover: let the filter stage decide
    return bool(left.row_groups)


def _no_columns(rows: int, schema: pa.Schema) -> pa.RecordBatch:
    if len(schema):
        return pa.RecordBatch.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema)
    # an Arrow batch without columns has no length, so a placeholder carries it
    return pa.RecordBatch.from_arrays([pa.nulls(rows)], names=[""]).select([])
