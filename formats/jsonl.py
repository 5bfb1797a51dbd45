"""JSON Lines: one object a line; plain, .gz or .zst."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.json as pajson

from forebay.formats.errors import CorruptError, DataError, SourceError
from forebay.formats.fragment import Fragment
from forebay.formats.lines import blocks, split_lines
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.schemas import conform
from forebay.formats.store import Store

_SAMPLE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class JsonlReader:
    """Column types come from the first 4 MB of each file; a later value that does not fit is a bad row."""

    def layout(self, store: Store, path: str) -> Layout:
        fragments = split_lines(store, path, "jsonl")
        if not fragments or store.info(path).size == 0:
            raise SourceError(f"{path}: the file is empty, so its columns are unknown")
        sample = _first_lines(store, fragments[0])
        try:
            schema = pajson.read_json(pa.BufferReader(sample), _one_block(sample)).schema
        except pa.ArrowInvalid as error:
            good = [line for line in sample.splitlines() if _loads(line)[1] is None]
            if not good:
                raise CorruptError(f"{path}: no line is a JSON object: {error}") from error
            schema = _infer(path, good)
        return Layout(schema, fragments)

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        row = 0
        for block in blocks(store, fragment):
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            try:
                table = _parse(block, request.schema)
                if table.num_rows != sum(1 for line in block.splitlines() if line.strip()):
                    raise pa.ArrowInvalid("several objects on a line")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                table = _parse_one_by_one(block, row, fragment, request)
            row += lines
            if table.num_rows:
                yield from (conform(batch, request.schema) for batch in table.combine_chunks().to_batches())


def _first_lines(store: Store, fragment: Fragment) -> bytes:
    first: bytes = next(iter(blocks(store, fragment)), b"")
    return first[: first.rfind(b"\n", 0, _SAMPLE_BYTES) + 1] or first


def _one_block(data: bytes) -> pajson.ReadOptions:
    return pajson.ReadOptions(use_threads=False, block_size=max(len(data), 1))


def _parse(block: bytes, schema: pa.Schema) -> pa.Table:
    options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    return pajson.read_json(pa.BufferReader(block), _one_block(block), options)


def _infer(path: str, lines: list[bytes]) -> pa.Schema:
    """Types by the first line that has each column, where the sample as a whole does not agree with itself."""
    merged: dict[str, pa.DataType] = {}
    for line in lines:
        for name, value in json.loads(line).items():
            found = pa.infer_type([value])
            if name not in merged or pa.types.is_null(merged[name]):
                merged[name] = found
    if not merged:
        raise CorruptError(f"{path}: the objects have no keys")
    return pa.schema(list(merged.items()))


def _loads(line: bytes) -> tuple[dict[str, Any], str | None]:
    """(object, None) or ({}, why it is none)."""
    try:
        found = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return {}, "not UTF-8"
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg} at character {error.pos}"
    return (found, None) if isinstance(found, dict) else ({}, f"a JSON {type(found).__name__}, expected an object")


def _parse_one_by_one(block: bytes, first_row: int, fragment: Fragment, request: ReadRequest) -> pa.Table:
    """The slow way, for blocks with something wrong in them: every line by itself, so that only the bad ones go."""
    good = []
    for at, line in enumerate(block.splitlines()):
        if not line.strip():
            continue
        found, reason = _loads(line)
        if reason is None:
            row = {field.name: found.get(field.name) for field in request.schema}
            try:
                pa.RecordBatch.from_pylist([row], schema=request.schema)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                reason = str(error)
            else:
                good.append(row)
        if reason is not None:
            _report(fragment, request, first_row + at, reason, line)
    return pa.Table.from_pylist(good, schema=request.schema)


def _report(fragment: Fragment, request: ReadRequest, row: int, reason: str, line: bytes) -> None:
    if request.on_bad_row is None:
        raise DataError(
            f"{fragment.path}: line {row} of the fragment at byte {fragment.start}: {reason}; mend the line, or set it aside "
            "with on_bad='quarantine'"
        )
    request.on_bad_row(row, reason, line[:2000].decode("utf-8", "replace"))
