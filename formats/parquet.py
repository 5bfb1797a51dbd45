"""Parquet: fragments are row groups."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from forebay.formats.errors import CorruptError, ForebayError
from forebay.formats.footers import Footers
from forebay.formats.fragment import Fragment
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.remote_layout import parquet_ranges
from forebay.formats.schemas import conform
from forebay.formats.store import Store

if TYPE_CHECKING:
    import pyarrow.compute as pc

_NULL_TEST = re.compile(r"is_(null|valid)\(\w+(, \{nan_is_null=false\})?\)")
_NOT_PLAIN = re.compile(r"!=|nan|\w\(|\)\s*[=<>]|[=<>]=?\s*\(", re.IGNORECASE)


_COLUMNS = 12
"""Columns decoded side by side, where all rows are: each holds the page that it is in, unpacked."""
_AT_ONCE_BYTES = 32 << 20
"""Decoded in one step where all of a fragment is wanted: a column of a row group in one go costs less than the same in parts
(`python -m forebay.bench tabular`)."""


@dataclass(frozen=True, slots=True)
class ParquetReader:
    """Reads the columns that are asked for, and no row group whose statistics exclude the filter."""

    batch_rows: int = 32_768
    """Rows decoded at a time: bounds memory where a file has row groups of a million rows, and who needs the first rows of
    a group gets them sooner."""
    _footers: Footers = field(default_factory=Footers, init=False, repr=False, compare=False)

    def layout(self, store: Store, path: str) -> Layout:
        with self._open(store, path) as file:
            metadata = file.metadata
            groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
            fragments = [
                Fragment(
                    path=path,
                    format="parquet",
                    start=group,
                    stop=group + 1,
                    rows=one.num_rows,
                    nbytes=sum(one.column(column).total_compressed_size for column in range(one.num_columns)),
                )
                for group, one in enumerate(groups)
            ]
            return Layout(file.schema_arrow, tuple(fragments))

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        groups = list(range(fragment.start, fragment.stop))
        with self._open(store, fragment.path) as file:
            if request.filter is not None:
                groups_left = self._matching(store, fragment.path, file, request.filter)
                groups = [one for one in groups if one in groups_left]
                if not groups:
                    return
            present = set(file.schema_arrow.names)
            columns = [name for name in request.schema.names if name in present]
            path, fill = fragment.path, request.fill_missing
            if not columns:  # nothing but the number of rows is asked for
                rows = sum(file.metadata.row_group(group).num_rows for group in groups)
                yield conform(_no_columns(rows), request.schema, path=path, fill_missing=fill)
                return
            if not store.local:
                ranges = parquet_ranges(file.metadata, groups, columns)
                file = pq.ParquetFile(store.open_ranges(path, ranges), metadata=file.metadata)
            try:
                step = (
                    max(self.batch_rows, _rows_at_once(file.metadata, groups)) if request.at_once else self.batch_rows
                )
                for batch in _decoded(file, groups, columns, step):
                    yield conform(batch, request.schema, path=path, fill_missing=fill)
            except ForebayError:
                raise
            except (OSError, pa.ArrowException) as error:
                place = f"row groups {fragment.start} to {fragment.stop - 1}"
                raise CorruptError(f"{path}: {place} cannot be read: {error}") from error

    def _open(self, store: Store, path: str) -> pq.ParquetFile:
        try:
            # Buffered reads of whole column chunks from object stores, a mapping of the file from local disks.
            known = self._footers.get(store, path)
            file = pq.ParquetFile(store.memory_map(path), metadata=known, pre_buffer=not store.local)
        except ForebayError:
            raise  # of the store: the file may be whole
        except (OSError, pa.ArrowException) as error:
            raise CorruptError(f"{path}: not a whole Parquet file: {error}") from error
        if known is None:
            self._footers.put(store, path, file.metadata)
        return file

    def _matching(self, store: Store, path: str, file: pq.ParquetFile, filter: "pc.Expression") -> frozenset[int]:
        """Row groups that can hold a row for which `filter` is true; found once for a file and filter."""
        return self._footers.once(store, path, str(filter), lambda: _row_groups(store, path, file, filter))


def _rows_at_once(metadata: pq.FileMetaData, groups: list[int]) -> int:
    """Rows that make `_AT_ONCE_BYTES`, told from all columns, of which a part may be wanted."""
    found = [metadata.row_group(one) for one in groups]
    rows, nbytes = sum(one.num_rows for one in found), sum(one.total_byte_size for one in found)
    return _AT_ONCE_BYTES * rows // max(nbytes, 1)


def _decoded(file: pq.ParquetFile, groups: list[int], columns: list[str], step: int) -> Iterator[pa.RecordBatch]:
    """Rows of row groups, `step` at a time; all at once some columns after others."""
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    if step < rows or len(columns) <= _COLUMNS:
        yield from file.iter_batches(step, row_groups=groups, columns=columns, use_threads=False)
        return
    parts: dict[str, pa.ChunkedArray] = {}
    for first in range(0, len(columns), _COLUMNS):
        some = file.read_row_groups(groups, columns=columns[first : first + _COLUMNS], use_threads=False)
        parts.update(zip(some.column_names, some.columns, strict=True))
    yield from pa.table(parts).to_batches()


def _row_groups(store: Store, path: str, file: pq.ParquetFile, filter: "pc.Expression") -> frozenset[int]:
    import pyarrow.dataset as pads  # and pandas with it, where that is installed: only where there is a filter

    everything = frozenset(range(file.metadata.num_row_groups))
    schema = file.schema_arrow
    if _NOT_PLAIN.search(_NULL_TEST.sub("", str(filter))):
        # Statistics leave NaN out, so a group of 5.0 and NaN says "all are 5.0", and `x != 5` or `not x <= 5`, which
        # are true for NaN, would lose rows. Without the floating columns a filter that names one does not bind.
        schema = pa.schema([one for one in schema if not _may_hold_nan(one.type)])
    made = pads.ParquetFileFormat().make_fragment(path, store.files)
    try:
        return frozenset(one.id for one in made.subset(filter=filter, schema=schema).row_groups)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return everything  # it compares what statistics do not cover: let the filter stage decide


def _may_hold_nan(type: pa.DataType) -> bool:
    return pa.types.is_floating(type) or pa.types.is_nested(type)


def _no_columns(rows: int) -> pa.RecordBatch:
    # an Arrow batch without columns has no length, so a placeholder carries it
    return pa.RecordBatch.from_arrays([pa.nulls(rows)], names=[""]).select([])
