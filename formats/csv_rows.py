"""The rows of a block of CSV; those that are bad are found by halving the block until they stand alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from forebay.formats.lines import halve, is_utf8

OnBad = Callable[[int, str, str], None]
"""(row, reason, text)"""


@dataclass(frozen=True, slots=True)
class CsvBlock:
    """How blocks of a file are parsed."""

    names: list[str]
    parsing: dict[str, Any]
    converting: dict[str, Any]

    @property
    def quoted(self) -> bool:
        return bool(self.parsing["newlines_in_values"])

    def table(self, block: bytes, *, bad: Callable[[pacsv.InvalidRow], None], **other: Any) -> pa.Table:
        """The block's rows, without a header; rows with a wrong number of fields are told to `bad` and left out."""

        def skip(one: pacsv.InvalidRow) -> str:
            bad(one)
            return "skip"

        return pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self.names),
            pacsv.ParseOptions(**self.parsing, invalid_row_handler=skip),
            pacsv.ConvertOptions(**{**self.converting, **other}),
        )


def parse(block: bytes, options: CsvBlock, row: int, bad: OnBad) -> Iterator[tuple[pa.Table, int]]:
    """(table of good rows, rows it stands for with the bad ones) for each piece of the block, whose first row is `row`."""
    if not block.strip(b"\r\n"):
        return
    wrong: list[pacsv.InvalidRow] = []
    try:
        _require_rows_are_lines(block, options)
        table = options.table(block, bad=wrong.append)
        if not options.quoted and not _rows_are_lines(table.num_rows + len(wrong), block):
            raise pa.ArrowInvalid("a quoted field holds a newline")
    except pa.ArrowInvalid:
        halves = halve(block, quoted=options.quoted)
        if halves is None:
            bad(row, _why(block, options), block.rstrip(b"\r\n").decode("utf-8", "replace"))
            yield _nothing(options), 1
            return
        for part in halves:
            for table, rows in parse(part, options, row, bad):
                row += rows
                yield table, rows
        return
    for one in wrong:
        at = row + (one.number or 1) - 1
        bad(at, f"{one.actual_columns} fields, expected {one.expected_columns}", one.text)
    yield table, table.num_rows + len(wrong)


def _rows_are_lines(rows: int, block: bytes) -> bool:
    """Whether each line is one row; Arrow makes none of an empty line."""
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    return rows == lines or rows == sum(1 for line in block.split(b"\n") if line.strip(b"\r"))


def _require_rows_are_lines(block: bytes, options: CsvBlock) -> None:
    if not is_utf8(block):
        raise pa.ArrowInvalid("not UTF-8")
    # Arrow takes a quote that is still open at the end for closed: what follows in the next block would be lost on it.
    if not options.quoted and not _closes(block[block.rstrip(b"\r\n").rfind(b"\n") + 1 :], options):
        raise pa.ArrowInvalid("a quote is left open")


def _closes(line: bytes, options: CsvBlock) -> bool:
    """Whether a row that is put behind `line` is seen as a row of its own."""
    if b'"' not in line:
        return True
    seen: list[pacsv.InvalidRow] = []
    text = dict.fromkeys(options.names, pa.binary())
    behind = options.parsing["delimiter"].encode().join([b"0"] * len(options.names))
    both = line.rstrip(b"\r\n") + b"\n" + behind + b"\n"
    table = options.table(both, bad=seen.append, column_types=text, include_columns=[])
    return bool(table.num_rows + len(seen) == 2)


def _why(line: bytes, options: CsvBlock) -> str:
    """What is wrong with a single row."""
    if not is_utf8(line):
        return "not UTF-8"
    if not options.quoted and not _closes(line, options):
        return "a quote is left open on the line (if quoted fields hold newlines, give newlines_in_values=True)"
    for name, type in options.converting["column_types"].items():
        only = {"column_types": {name: type}, "include_columns": [name]}
        try:
            options.table(line, bad=lambda _: None, **only)
        except pa.ArrowInvalid:
            text = options.table(line, bad=lambda _: None, **{**only, "column_types": {name: pa.string()}})
            return f"column {name!r}: {text.column(0)[0].as_py()!r} is no {type}"
    return "several rows on one line (line ends are CR alone?)"


def _nothing(options: CsvBlock) -> pa.Table:
    return pa.schema(list(options.converting["column_types"].items())).empty_table()
