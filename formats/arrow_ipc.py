"""Arrow IPC files: fragments are record batches; local ones are mapped into memory and never copied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from forebay.formats.errors import CorruptError, DataError, ForebayError
from forebay.formats.fragment import Fragment
from forebay.formats.ipc_header import read_header
from forebay.formats.ipc_rows import ROWS_ALIGNED, BatchPlaces, batch_places, fixed_bits, supposed_places
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.remote_layout import Block, arrow_blocks, arrow_ranges
from forebay.formats.schemas import conform
from forebay.formats.store import Store

_MAGIC = b"ARROW1"

STEP_BYTES = 16 << 20
"""Rows of a large fragment are fetched by about so many bytes: requests long enough to cost little each, and a window that
takes a little of many fragments does not wait for all of each (`python -m forebay.bench.remote`)."""

_HEADER_BYTES = 4 << 10
"""Bytes that are fetched for the header of a record batch, which takes about a hundred for each column."""
_FOOTER = ("footer",)
_HEADERS_AT_ONCE = 16
"""Neighbours whose headers are fetched side by side: whoever reads one of them will read others."""


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

    def rows_a_step(self, store: Store, fragment: Fragment, request: ReadRequest) -> int:
        """See `RowRanges`."""
        names, widths = request.schema.names, [fixed_bits(one.type) for one in request.schema]
        if store.local or not all(widths) or not widths or _places(store, fragment, names)[0] is None:
            return 0
        return max(1, 8 * STEP_BYTES // (sum(widths) * ROWS_ALIGNED)) * ROWS_ALIGNED

    def read_rows(
        self, store: Store, fragment: Fragment, request: ReadRequest, rows: tuple[int, int]
    ) -> Iterator[pa.RecordBatch]:
        """See `RowRanges`."""
        first, stop, names = *rows, request.schema.names
        places, supposed = _places(store, fragment, names)
        if places is None:
            for whole in self.read(store, fragment, request):
                yield whole.slice(first, stop - first)
            return
        if places.rows != fragment.rows:
            raise DataError(
                f"{fragment.path}: record batch {fragment.start} has {places.rows} rows, which is not what was found when the "
                f"data set was opened ({fragment.rows}); the file is not the one that the manifest names"
            )
        if supposed is None:
            found = places.read(store.open_ranges(fragment.path, places.ranges(first, stop)), first, stop)
        else:
            found = _supposed_rows(store, fragment, places, block=supposed, rows=rows, names=names)
        if found is None:
            yield from self.read_rows(store, fragment, request, rows)
            return
        yield conform(found, request.schema, path=fragment.path, fill_missing=False)

    def open_batches(self, store: Store, path: str) -> list[pa.RecordBatch]:
        return list(_batches(store, path, None, None))


def _look(store: Store, path: str) -> tuple[pa.Schema, list[int]]:
    """Schema, and rows of each batch: of a file from the headers, without loading a batch."""
    schema = _schema(store, path)
    file = store.memory_map(path)
    if _has_footer(file):
        starts = [start for start, _ in arrow_ranges(file, path)]
        if not store.local:
            file = store.open_ranges(path, [(start, start + _HEADER_BYTES) for start in starts])
        return schema, [read_header(file, start, path).rows for start in starts]
    return schema, [batch.num_rows for batch in _batches(store, path, None, None)]


def _places(store: Store, fragment: Fragment, names: Sequence[str]) -> tuple[BatchPlaces | None, Block | None]:
    """Where the columns of a fragment lie, if some of its rows can be fetched without the others; and its block, where that
    is only supposed and the header is to be fetched with the first rows, rather than before them."""
    path, learned = fragment.path, store.learned(fragment.path)
    key = ("places", fragment.start, *names)
    # what is kept of an object is known by its bytes: with a header once and without it later, it would not be found
    if not learned.knows(key) and store.remote is not None and store.remote.cache is None:
        schema, blocks = learned.get(_FOOTER, lambda: {_FOOTER: _footer(store, path)})
        block = blocks[fragment.start] if fragment.start < len(blocks) else None
        places = supposed_places(block, fragment.rows or 0, schema=schema, names=names) if block else None
        if block and places:
            return places, block
    return learned.get(key, lambda: _places_found(store, fragment, names)), None


def _supposed_rows(
    store: Store,
    fragment: Fragment,
    places: BatchPlaces,
    *,
    block: Block,
    rows: tuple[int, int],
    names: Sequence[str],
) -> pa.RecordBatch | None:
    """Rows of a record batch whose header has not been seen; None where that tells that they lie elsewhere."""
    learned, path, key = store.learned(fragment.path), fragment.path, ("places", fragment.start, *names)
    # one of the steps that are under way brings the header for all of them
    header, brings = learned.promised(("header", *key))
    own = [(block.start, block.body)]

    def look() -> dict[Any, BatchPlaces | None]:
        schema, _ = learned.get(_FOOTER, dict)
        seen = file if brings else store.open_ranges(path, own)
        return {key: batch_places(seen, block.start, path, schema=schema, names=names)}

    try:
        file = store.open_ranges(path, [*(own if brings else ()), *places.ranges(*rows)])
        # before the header is looked at, and others of this file are made to wait for that: by then it is here
        found = places.read(file, *rows)
        if not brings:
            header.result()
        told = learned.get(key, look)
    finally:
        if brings:
            header.set_result(None)
    return found if told == places else None


def _footer(store: Store, path: str) -> tuple[pa.Schema, list[Block]]:
    """Schema and record batches, as the footer tells; none of a file without one."""
    try:
        file = store.open_input(path)
        return (pa.ipc.open_file(file).schema, arrow_blocks(file, path)) if _has_footer(file) else (pa.schema([]), [])
    except ForebayError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: {error}") from error


def _places_found(store: Store, fragment: Fragment, names: Sequence[str]) -> dict[Any, BatchPlaces | None]:
    path = fragment.path
    try:
        file = store.open_input(path)
        if not _has_footer(file):
            return {("places", fragment.start, *names): None}
        schema = pa.ipc.open_file(file).schema
        starts = [start for start, _ in arrow_ranges(file, path)]
        first = fragment.start // _HEADERS_AT_ONCE * _HEADERS_AT_ONCE
        some = dict(enumerate(starts[first : first + _HEADERS_AT_ONCE], first))
        heads = store.open_ranges(path, [(start, start + _HEADER_BYTES) for start in some.values()])
        return {
            ("places", index, *names): batch_places(heads, start, path, schema=schema, names=names)
            for index, start in some.items()
        }
    except ForebayError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: {error}") from error


def _schema(store: Store, path: str) -> pa.Schema:
    try:
        file = store.memory_map(path)
        return (_opened(file) if _has_footer(file) else pa.ipc.open_stream(file)).schema
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
                elif not read_header(file, ranges[indices.start][0], path).compressed:
                    fields = None  # what is mapped costs nothing; Arrow copies it when fields are named
            yield from _from_file(file, path, indices, fields)
        else:
            yield from _from_stream(file, indices)
    except ForebayError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: not a whole Arrow IPC file: {error}") from error


def _from_file(file: Any, path: str, indices: range | None, names: set[str] | None) -> Iterator[pa.RecordBatch]:
    opened = _opened(file)
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


def _opened(file: Any) -> Any:
    """For what is mapped: Arrow's own allocator would take four megabytes for the headers."""
    return pa.ipc.open_file(file, memory_pool=pa.system_memory_pool())


def _from_stream(file: Any, indices: range | None) -> Iterator[pa.RecordBatch]:
    for index, batch in enumerate(pa.ipc.open_stream(file)):
        if indices is None or index in indices:
            yield batch
        elif index >= indices.stop:
            return


def _has_footer(file: Any) -> bool:
    """Whether it is the file format, whole or cut short: the end tells it, which holds the footer and is needed next."""
    size = file.size()
    if size > 2 * len(_MAGIC) and bytes(file.read_at(len(_MAGIC), size - len(_MAGIC))) == _MAGIC:
        return True
    return bytes(file.read_at(len(_MAGIC), 0)) == _MAGIC
