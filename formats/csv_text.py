"""CSV and TSV with a header line; plain, .gz or .zst."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from forebay.formats.errors import CorruptError, DataError, SourceError, SpecError, UnknownNameError
from forebay.formats.fragment import Fragment
from forebay.formats.lines import blocks, split_lines
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.schemas import conform
from forebay.formats.store import Store

_SAMPLE_BYTES = 4 << 20
_NULLS = ("", "NA", "N/A", "NULL", "null", "NaN", "nan")


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Column types come from the first 4 MB of each file, or from `types`; a later value that does not fit is a bad row."""

    delimiter: str = ""
    """One character; "" takes a tab for .tsv and a comma else."""
    null_values: tuple[str, ...] = _NULLS
    """Fields that mean null, in text columns too (an empty quoted string stays a string)."""
    newlines_in_values: bool = False
    """Whether quoted fields may hold newlines: then a file is one fragment, since a line's start cannot be told."""
    types: dict[str, str] = field(default_factory=dict)
    """Column -> Arrow type name ("int64", "string", "timestamp[us]"), where the first 4 MB would mislead."""

    def __post_init__(self) -> None:
        if len(self.delimiter) > 1:
            raise SpecError(f"csv delimiter is {self.delimiter!r}; expected one character")
        object.__setattr__(self, "null_values", tuple(self.null_values))
        for name, type in self.types.items():
            try:
                pa.type_for_alias(type)
            except ValueError as error:
                raise SpecError(f"csv types: column {name!r} is {type!r}, which is no Arrow type") from error

    def layout(self, store: Store, path: str) -> Layout:
        if store.info(path).size == 0:
            raise SourceError(f"{path}: the file is empty, so its columns are unknown")
        fragments = split_lines(store, path, "csv", whole=self.newlines_in_values)
        block: bytes = next(iter(blocks(store, fragments[0])), b"")
        sample = block if self.newlines_in_values else block[: block.rfind(b"\n", 0, _SAMPLE_BYTES) + 1] or block
        names = self._header(path, sample)
        skip: list[Any] = []
        declared = self._declared()
        for name in declared:
            if name not in names:
                raise UnknownNameError.of("column", name, names, where=f"csv types of {path}")
        inferred = self._convert(sample, names, path, skip_header=True, types={}, bad=skip.append).schema
        # a column of nulls only has no type yet: text holds whatever comes
        found = {one.name: pa.string() if pa.types.is_null(one.type) else one.type for one in inferred}
        fields = [pa.field(name, type) for name, type in (found | declared).items()]
        return Layout(pa.schema(fields), fragments)

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        names, row = self._names(store, fragment), 0
        for at, block in enumerate(self._blocks(store, fragment)):
            first = at == 0 and fragment.start == 0
            wrong: list[pacsv.InvalidRow] = []
            types = {one.name: one.type for one in request.schema}
            try:
                table = self._convert(block, names, fragment.path, skip_header=first, types=types, bad=wrong.append)
            except pa.ArrowInvalid:
                table = self._convert_by_column(block, names, fragment, request, first, row)
                wrong = []
            for one in wrong:
                reason = f"{one.actual_columns} fields, expected {one.expected_columns}"
                _report(fragment, request, row + (one.number or 2) - 1 - first, reason, one.text)
            row += table.num_rows + len(wrong)
            for batch in table.select(request.schema.names).combine_chunks().to_batches():
                yield conform(batch, request.schema)

    def _blocks(self, store: Store, fragment: Fragment) -> Iterator[bytes]:
        if self.newlines_in_values:
            yield b"".join(blocks(store, fragment))
        else:
            yield from blocks(store, fragment)

    def _names(self, store: Store, fragment: Fragment) -> list[str]:
        head = Fragment(path=fragment.path, format="csv", start=0, stop=1 << 16, rows=None, nbytes=1 << 16)
        return self._header(fragment.path, next(iter(blocks(store, head)), b""))

    def _header(self, path: str, sample: bytes) -> list[str]:
        line = sample.split(b"\n", 1)[0].removeprefix(b"\xef\xbb\xbf").rstrip(b"\r")
        try:
            table = pacsv.read_csv(pa.BufferReader(line + b"\n"), parse_options=self._parsing(path))
        except pa.ArrowInvalid as error:
            raise CorruptError(f"{path}: the header line cannot be read: {error}") from error
        names: list[str] = table.schema.names
        if len(set(names)) != len(names):
            raise CorruptError(f"{path}: the header names a column twice: {', '.join(names)}")
        return names

    def _parsing(self, path: str, bad: Any = None) -> pacsv.ParseOptions:
        tab = ".tsv" in path.lower()
        return pacsv.ParseOptions(
            delimiter=self.delimiter or ("\t" if tab else ","),
            newlines_in_values=self.newlines_in_values,
            invalid_row_handler=None if bad is None else (lambda one: bad(one) or "skip"),
        )

    def _declared(self) -> dict[str, pa.DataType]:
        return {name: pa.type_for_alias(type) for name, type in self.types.items()}

    def _convert(
        self, block: bytes, names: list[str], path: str, *, skip_header: bool, types: dict[str, pa.DataType], bad: Any
    ) -> pa.Table:
        return pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(
                use_threads=False, block_size=len(block) + 1, column_names=names, skip_rows=1 if skip_header else 0
            ),
            self._parsing(path, bad),
            pacsv.ConvertOptions(
                column_types=types,
                null_values=list(self.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _convert_by_column(
        self, block: bytes, names: list[str], fragment: Fragment, request: ReadRequest, first: bool, row: int
    ) -> pa.Table:
        """The slow way, for blocks with something wrong in them: read text, then find the values that do not convert."""
        lines = block.splitlines(keepends=True)
        decoded = [_utf8(line) for line in lines]
        for at, good in enumerate(decoded):
            if not good:
                _report(fragment, request, row + at - first, "not UTF-8", lines[at].decode("utf-8", "replace"))
        clean = b"".join(line for line, good in zip(lines, decoded, strict=True) if good)
        wrong: list[pacsv.InvalidRow] = []
        raw = {name: pa.string() for name in names}
        table = self._convert(clean, names, fragment.path, skip_header=first, types=raw, bad=wrong.append)
        for one in wrong:
            reason = f"{one.actual_columns} fields, expected {one.expected_columns}"
            _report(fragment, request, row + (one.number or 2) - 1 - first, reason, one.text)
        keep = [True] * table.num_rows
        columns = []
        for target in request.schema:
            values = table.column(target.name).combine_chunks()
            converted, failed = _cast(values, target.type)
            columns.append(converted)
            for at in failed:
                if keep[at]:
                    reason = f"column {target.name!r}: {values[at].as_py()!r} is no {target.type}"
                    _report(fragment, request, row + at, reason, str(table.slice(at, 1).to_pylist()[0]))
                keep[at] = False
        return pa.Table.from_arrays(columns, schema=request.schema).filter(pa.array(keep))


def _utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _cast(values: pa.Array, type: pa.DataType) -> tuple[pa.Array, list[int]]:
    """(values as `type`, with null where one does not convert; the positions of those)."""
    if values.type.equals(type):
        return values, []
    try:
        return pc.cast(values, type), []
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, type), [0]
    half = len(values) // 2
    left, bad_left = _cast(values[:half], type)
    right, bad_right = _cast(values[half:], type)
    return pa.concat_arrays([left, right]), bad_left + [half + at for at in bad_right]


def _report(fragment: Fragment, request: ReadRequest, row: int, reason: str, text: str) -> None:
    if request.on_bad_row is None:
        raise DataError(
            f"{fragment.path}: row {row} of the fragment at byte {fragment.start}: {reason}; mend the row, or set it aside "
            "with on_bad='quarantine' (if quoted fields hold newlines, give newlines_in_values=True)"
        )
    request.on_bad_row(row, reason, text[:2000])
