"""Readers: one for each file format, chosen by suffix."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from forebay.formats.errors import SourceError, UnknownNameError
from forebay.formats.fragment import Fragment
from forebay.formats.store import Store

if TYPE_CHECKING:
    import pyarrow.compute as pc

OnBadRow = Callable[[int, str, str], None]
"""Called for a row that does not parse: (its position in the fragment, reason, its text)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What one look at a file tells."""

    schema: pa.Schema
    fragments: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What is wanted of a fragment."""

    schema: pa.Schema
    """The data set's schema, narrowed to the columns that are wanted, in their order."""
    filter: "pc.Expression | None" = None
    """A hint: a reader that has statistics may give no rows at all where none can match. It never drops single rows;
    the filter stage does, so that counts are right."""
    on_bad_row: OnBadRow | None = None
    """Called for rows that do not parse, which are then left out. None: the first one raises."""
    fill_missing: bool = True
    """Whether a column that the file lacks is null there (schema="union"), or the file is refused."""
    at_once: bool = False
    """A hint: no row is used before all of the fragment are there, so they may be decoded in fewer, larger steps."""


class Reader(Protocol):
    """Reads one format. Safe to call from several threads at once."""

    def layout(self, store: Store, path: str) -> Layout:
        """Schema and fragments of one file, from as few bytes as the format allows.

        Raises:
            CorruptError: the file is not of this format, or cut short.
        """

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """The fragment's rows, in order, as batches of exactly `request.schema`.

        Raises:
            CorruptError: the bytes are not what the format says; names file and place.
            DataError: a row does not parse and `request.on_bad_row` is None.
        """


class RandomAccess(Protocol):
    """What a reader offers as well if rows can be taken in any order at no cost: memory-mapped Arrow."""

    def open_batches(self, store: Store, path: str) -> list[pa.RecordBatch]:
        """All record batches of the file, zero copy."""


class RowRanges(Protocol):
    """What a reader offers as well if some rows of a fragment can be fetched without the others: raw Arrow in object stores."""

    def rows_a_step(self, store: Store, fragment: Fragment, request: ReadRequest) -> int:
        """How many rows are worth a read of their own; 0: this fragment is read as a whole."""

    def read_rows(
        self, store: Store, fragment: Fragment, request: ReadRequest, rows: tuple[int, int]
    ) -> Iterator[pa.RecordBatch]:
        """Rows (first, one past the last) of a fragment, the first a multiple of eight, as `Reader.read` would give them."""


READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    # format -> (class in forebay.formats, suffixes)
    "parquet": ("parquet.ParquetReader", (".parquet", ".pq")),
    "arrow": ("arrow_ipc.ArrowReader", (".arrow", ".feather", ".ipc")),
    "jsonl": ("jsonl.JsonlReader", (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".ndjson.gz", ".ndjson.zst")),
    "csv": ("csv_text.CsvReader", (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst")),
    "images": ("image_folder.ImageFolderReader", (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")),
    "webdataset": ("webdataset.WebDatasetReader", (".tar",)),
}


def known_format(path: str) -> str:
    """The format that a file's suffix names, or ""."""
    lower = path.lower()
    return next((format for format, (_, suffixes) in READERS.items() if lower.endswith(suffixes)), "")


def format_of(path: str) -> str:
    """The format that a file's suffix names.

    Raises:
        SourceError: no reader knows the suffix.
    """
    format = known_format(path)
    if format:
        return format
    known = ", ".join(suffix for _, suffixes in READERS.values() for suffix in suffixes)
    raise SourceError(f"{path}: no reader for this suffix (known: {known}); if you know the format, give format=...")


def reader_for(format: str, options: Mapping[str, Any] | None = None) -> Reader:
    """The reader of a format, with the options it takes (CSV: delimiter, null values, ...).

    Raises:
        UnknownNameError: no such format, or no such option.
    """
    if format not in READERS:
        raise UnknownNameError.of("format", format, READERS)
    module, _, name = READERS[format][0].partition(".")
    cls = getattr(importlib.import_module(f"forebay.formats.{module}"), name)
    given = dict(options or {})
    known = [name for name, one in getattr(cls, "__dataclass_fields__", {}).items() if one.init]
    for key in given:
        if key not in known:
            raise UnknownNameError.of(f"{format} option", key, known, where="scan")
    made: Reader = cls(**given)
    return made


def only(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """`schema` narrowed to `columns`, in the schema's order; all of it when None."""
    if columns is None:
        return schema
    wanted = set(columns)
    return pa.schema([field for field in schema if field.name in wanted], metadata=schema.metadata)
