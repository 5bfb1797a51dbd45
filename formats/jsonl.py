"""JSON Lines: one object a line; plain, .gz or .zst."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.json as pajson

from forebay.formats.column_types import arrow_types
from forebay.formats.errors import CorruptError, DataError, SourceError
from forebay.formats.fragment import Fragment
from forebay.formats.lines import blocks, halve, is_utf8, sample, split_lines
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.schemas import conform
from forebay.formats.store import Store

_NULL_AFTER = re.compile(rb"\}[ \t\r]*null")
_NULL_ANYWHERE = re.compile(rb"(?:\A|[\n}])[ \t\r\n]*null")


@dataclass(frozen=True, slots=True)
class JsonlReader:
    """Column types come from the first 4 MB of each file, or `types`; a later value that does not fit is a bad row.

    Keys that those 4 MB do not have are not read; keys that a line lacks are null there.
    """

    types: dict[str, str] = field(default_factory=dict)
    """Column -> Arrow type name ("int64", "string", "timestamp[us]"), where the first 4 MB would mislead or lack it."""

    def __post_init__(self) -> None:
        arrow_types(self.types, "jsonl")

    def layout(self, store: Store, path: str) -> Layout:
        if store.info(path).size == 0:
            raise SourceError(f"{path}: the file is empty, so its columns are unknown; remove it")
        fragments = split_lines(store, path, "jsonl")
        text = sample(store, fragments[0])
        start = text.lstrip().split(b"\n", 1)[0]
        if start.startswith(b"[") and _loads(start)[1] != "a JSON list, expected an object":
            raise CorruptError(f"{path}: a JSON array, expected one object a line; convert it (jq -c '.[]')")
        try:
            _require_safe(text)
            schema = pajson.read_json(pa.BufferReader(text), _one_block(text)).schema
        except pa.ArrowInvalid as error:
            good = [line for line in text.split(b"\n") if _loads(line)[1] is None]
            if not good:
                raise CorruptError(f"{path}: no line is a JSON object: {error}") from error
            schema = _infer(path, good)
        found = {one.name: one.type for one in schema} | arrow_types(self.types, "jsonl")
        return Layout(pa.schema(list(found.items())), fragments)

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        row = 0
        for block in blocks(store, fragment):
            for table in _parse(block, row, fragment, request):
                for batch in table.combine_chunks().to_batches():
                    yield conform(batch, request.schema, path=fragment.path)
            row += _lines(block)


def _one_block(data: bytes) -> pajson.ReadOptions:
    return pajson.ReadOptions(use_threads=False, block_size=max(len(data), 1))


def _lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _parse(block: bytes, row: int, fragment: Fragment, request: ReadRequest) -> Iterator[pa.Table]:
    """Tables of the good lines. A block with something wrong in it is halved until the wrong lines stand alone."""
    try:
        yield _parse_block(block, request.schema)
        return
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        halves = halve(block)
        if halves is None:
            _report(block, str(error), row, fragment, request)
            return
    for part in halves:
        yield from _parse(part, row, fragment, request)
        row += _lines(part)


def _parse_block(block: bytes, schema: pa.Schema) -> pa.Table:
    _require_safe(block)
    if not block.strip():
        return schema.empty_table()
    options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    table = pajson.read_json(pa.BufferReader(block), _one_block(block), options)
    # An object over several lines, or several on one, parses; but then a row is no line, and a block's end matters.
    if table.num_rows != _lines(block) and table.num_rows != sum(1 for line in block.split(b"\n") if line.strip()):
        raise pa.ArrowInvalid("not one object on each line")
    return table


def _require_safe(block: bytes) -> None:
    """Refuse what Arrow's parser does not: text that is not UTF-8, which it takes, and a bare null in place of an object,
    which ends the process (pyarrow 26)."""
    if not is_utf8(block):
        raise pa.ArrowInvalid("not UTF-8")
    if b"null" in block:
        plain = block.count(b"\n{") + block.startswith(b"{") == _lines(block)
        if (_NULL_AFTER if plain else _NULL_ANYWHERE).search(block):
            raise pa.ArrowInvalid("null in place of an object")


def _report(line: bytes, reason: str, row: int, fragment: Fragment, request: ReadRequest) -> None:
    # Python's parser says where a line goes wrong; where it finds nothing, a value does not fit its column's type
    fault = _loads(line)[1] or reason.removeprefix("JSON parse error: ")
    if request.on_bad_row is None:
        raise DataError(
            f"{fragment.path}: line {row} of the fragment at byte {fragment.start}: {fault}; mend the line, or set it "
            "aside with on_bad='quarantine'"
        )
    request.on_bad_row(row, fault, line[:2000].decode("utf-8", "replace").rstrip("\n"))


def _infer(path: str, lines: list[bytes]) -> pa.Schema:
    """Types by the first line that has each column, where the sample as a whole does not agree with itself."""
    merged: dict[str, pa.DataType] = {}
    for line in lines:
        for name, value in json.loads(line).items():
            if name not in merged or pa.types.is_null(merged[name]):
                merged[name] = pa.infer_type([value])
    if not merged:
        raise CorruptError(f"{path}: the objects have no keys")
    return pa.schema(list(merged.items()))


def _loads(line: bytes) -> tuple[dict[str, Any], str | None]:
    """(object, None) or ({}, why it is none)."""
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError:
        return {}, "not UTF-8"
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg} at character {error.pos}"
    except RecursionError:
        return {}, "not JSON: nested too deeply"
    except _TwiceError as error:
        return {}, f"key {error.args[0]!r} is there twice"
    return (found, None) if isinstance(found, dict) else ({}, f"a JSON {type(found).__name__}, expected an object")


class _TwiceError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return made
