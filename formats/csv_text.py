"""CSV and TSV with a header line; plain, .gz or .zst."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from forebay.formats.column_types import arrow_types
from forebay.formats.csv_rows import CsvBlock, parse
from forebay.formats.errors import CorruptError, DataError, SourceError, SpecError, UnknownNameError
from forebay.formats.fragment import Fragment
from forebay.formats.lines import blocks, first_row, sample, split_lines
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.schemas import conform
from forebay.formats.store import Store

_HEAD_BYTES = 64 << 10
_NULLS = ("", "NA", "N/A", "NULL", "null")


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Column types come from the first 4 MB of each file, or from `types`; a later value that does not fit is a bad
    row. NaN and inf are numbers, not nulls."""

    delimiter: str = ""
    """One character; "" takes a tab for .tsv and a comma else."""
    null_values: tuple[str, ...] = _NULLS
    """Fields that mean null, in text columns too (an empty quoted string stays a string)."""
    newlines_in_values: bool = False
    """Whether quoted fields may hold newlines: then a file is one fragment, since a row's start cannot be told."""
    types: dict[str, str] = field(default_factory=dict)
    """Column -> Arrow type name ("int64", "string", "timestamp[us]"), where the first 4 MB would mislead."""

    def __post_init__(self) -> None:
        if len(self.delimiter) > 1:
            raise SpecError(f"csv delimiter is {self.delimiter!r}; expected one character")
        object.__setattr__(self, "null_values", tuple(self.null_values))
        arrow_types(self.types, "csv")

    def layout(self, store: Store, path: str) -> Layout:
        if store.info(path).size == 0:
            raise SourceError(f"{path}: the file is empty, so its columns are unknown; remove it")
        fragments = split_lines(store, path, "csv", whole=self.newlines_in_values)
        names, body = self._header(path, sample(store, fragments[0], quoted=self.newlines_in_values))
        declared = arrow_types(self.types, "csv")
        for name in declared:
            if name not in names:
                raise UnknownNameError.of("column", name, names, where=f"csv types of {path}")
        found = dict.fromkeys(names, pa.null()) | {one.name: one.type for one in self._sample(path, names, body)}
        return Layout(pa.schema(list((found | declared).items())), fragments)

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        names = self._names(store, fragment)
        wanted = {one.name: one.type for one in request.schema if one.name in names}
        options = CsvBlock(names, self._parsing(fragment.path), self._converting(wanted))
        row = 0

        def bad(at: int, reason: str, text: str) -> None:
            if request.on_bad_row is None:
                raise DataError(
                    f"{fragment.path}: row {at} of the fragment at byte {fragment.start}: {reason}; mend the row, or "
                    "set it aside with on_bad='quarantine'"
                )
            request.on_bad_row(at, reason, text[:2000])

        for index, block in enumerate(blocks(store, fragment, quoted=self.newlines_in_values)):
            if index == 0 and fragment.start == 0:
                block = self._header(fragment.path, block)[1]
            for table, rows in parse(block, options, row, bad):
                row += rows
                for batch in table.combine_chunks().to_batches():
                    yield conform(batch, request.schema, path=fragment.path, fill_missing=request.fill_missing)

    def _sample(self, path: str, names: list[str], body: bytes) -> Iterator[pa.Field]:
        """The types that Arrow sees in the first rows; where it sees bytes, text in a wrong encoding."""
        if not body.strip():
            return
        options = CsvBlock(names, self._parsing(path), self._converting({}))
        for one in options.table(body, bad=lambda _: None).schema:
            yield one.with_type(pa.string()) if pa.types.is_binary(one.type) else one

    def _names(self, store: Store, fragment: Fragment) -> list[str]:
        head = Fragment(
            path=fragment.path, format="csv", start=0, stop=_HEAD_BYTES, rows=None, nbytes=_HEAD_BYTES
        )  # whole lines that begin there, so a longer header is whole too
        return self._header(fragment.path, next(iter(blocks(store, head)), b""))[0]

    def _header(self, path: str, block: bytes) -> tuple[list[str], bytes]:
        """(column names, the rows behind them)."""
        end = first_row(block) if self.newlines_in_values else block.find(b"\n") + 1 or len(block)
        try:
            table = pacsv.read_csv(
                pa.BufferReader(block[:end]), parse_options=pacsv.ParseOptions(**self._parsing(path))
            )
            names: list[str] = table.schema.names
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise CorruptError(f"{path}: the header line cannot be read: {error}") from error
        if len(set(names)) != len(names):
            raise CorruptError(f"{path}: the header names a column twice: {', '.join(names)}")
        return names, block[end:]

    def _parsing(self, path: str) -> dict[str, Any]:
        tab = path.lower().endswith((".tsv", ".tsv.gz", ".tsv.zst"))
        return {
            "delimiter": self.delimiter or ("\t" if tab else ","),
            "newlines_in_values": self.newlines_in_values,
        }

    def _converting(self, wanted: dict[str, pa.DataType]) -> dict[str, Any]:
        return {
            "column_types": wanted,
            "include_columns": list(wanted),
            "null_values": list(self.null_values),
            "strings_can_be_null": True,
            "quoted_strings_can_be_null": False,
        }
