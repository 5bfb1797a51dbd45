"""Verify a prepared data set: read every byte again and name what is wrong."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from forebay.formats.checksum import checksum
from forebay.formats.errors import ForebayError, SchemaError
from forebay.formats.manifest import Manifest, ShardInfo, has_manifest
from forebay.formats.open_shard import stored_schema
from forebay.formats.reader import Reader, ReadRequest, known_format, reader_for
from forebay.formats.schemas import unify
from forebay.formats.source import open_source
from forebay.formats.store import Store, store_for

Fault = Literal["missing", "truncated", "altered", "schema", "rows", "unreadable", "unknown"]
Progress = Callable[[int, int], None]
"""Called with (shards checked, shards in all)."""

_AHEAD = 4
"""Shards queued for each thread: a million shards are not a million futures."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    shard: str
    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found."""

    path: str
    shards: int
    rows: int
    nbytes: int
    findings: tuple[Finding, ...]
    has_manifest: bool

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return not self.findings


def verify(path: str, *, threads: int = 4, progress: Progress | None = None) -> VerifyReport:
    """Read all shards of a data set and compare them with its manifest; without one, see whether they can be read.

    Takes memory for one batch of each thread.

    Raises:
        SourceError: there is nothing at `path`.
    """
    store, directory = store_for(path)
    if not has_manifest(store, directory):
        return _verify_files(path, threads, progress)
    manifest = Manifest.read(store, directory)
    shards, findings = manifest.index, list[Finding]()
    schema = stored_schema(manifest.schema, manifest.format)
    with ThreadPoolExecutor(threads, thread_name_prefix="forebay-verify") as pool:
        for first in range(0, len(shards), threads * _AHEAD):
            for at, found in enumerate(
                pool.map(
                    lambda one: _check(store, f"{directory}/{one.name}", (manifest.format, schema), one),
                    shards[first : first + threads * _AHEAD],
                ),
                first + 1,
            ):
                findings += found
                if progress:
                    progress(at, len(shards))
    findings += _strays(store, directory, manifest)
    return VerifyReport(path, len(shards), manifest.rows, shards.total("nbytes"), tuple(findings), True)


def _check(store: Store, path: str, kind: tuple[str, pa.Schema], shard: ShardInfo) -> list[Finding]:
    format, expected = kind
    reader = reader_for(format)
    try:
        if not store.exists(path):
            return [Finding(shard.name, "missing", "the file is not there")]
        size = store.info(path).size
        if size < shard.nbytes:
            return [Finding(shard.name, "truncated", f"{size} bytes, expected {shard.nbytes}")]
        with store.open_input(path) as file:
            found = checksum(file)
        if found != shard.checksum:
            detail = f"checksum {found}, expected {shard.checksum}"
            return [_altered(reader, store, path, expected, Finding(shard.name, "altered", detail))]
        # The bytes are those that were written; reading them as well shows a writer's own mistake.
        schema = reader.layout(store, path).schema
        if not schema.equals(expected):
            return [Finding(shard.name, "schema", _difference(schema, expected))]
        rows = _count(reader, store, path, schema)
    except ForebayError as error:
        return [Finding(shard.name, "unreadable", str(error))]
    return [] if rows == shard.rows else [Finding(shard.name, "rows", f"{rows} rows, expected {shard.rows}")]


def _altered(reader: Reader, store: Store, path: str, expected: pa.Schema, altered: Finding) -> Finding:
    """Another checksum; if the file is whole and of another schema, that tells more."""
    try:
        schema = reader.layout(store, path).schema
    except ForebayError:
        return altered
    return altered if schema.equals(expected) else Finding(altered.shard, "schema", _difference(schema, expected))


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    return f"columns {_shown(found)}; expected {_shown(expected)}"


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{one.name}: {one.type}" for one in schema)


def _count(reader: Reader, store: Store, path: str, schema: pa.Schema) -> int:
    rows = 0
    for fragment in reader.layout(store, path).fragments:
        for batch in reader.read(store, fragment, ReadRequest(schema)):
            _validate(batch, path)
            rows += batch.num_rows
    return rows


def _validate(batch: pa.RecordBatch, path: str) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowException as error:
        raise SchemaError(f"{path}: the values do not fit their type: {error}") from error


def _strays(store: Store, directory: str, manifest: Manifest) -> Iterator[Finding]:
    known = {one.name for one in manifest.shards}
    for one in store.list(directory, recursive=False):
        name = one.path.rpartition("/")[2]
        if name.endswith(f".{manifest.format}") and name not in known and name != "quarantine.parquet":
            yield Finding(name, "unknown", "the manifest does not name it, so readers do not see its rows")


def _verify_files(path: str, threads: int, progress: Progress | None) -> VerifyReport:
    source = open_source(path)
    findings, rows, first = list[Finding](), 0, ("", pa.schema([]))
    with ThreadPoolExecutor(threads, thread_name_prefix="forebay-verify") as pool:
        for done, (one, found) in enumerate(
            pool.map(lambda one: (one, _read(source.store, one, source.format)), source.paths), 1
        ):
            if isinstance(found, Finding):
                findings.append(found)
            else:
                rows += found[0]
                first = first if first[0] else (one, found[1])
                findings += _other_schema(first, one, found[1])
            if progress:
                progress(done, len(source.paths))
    return VerifyReport(path, len(source.paths), rows, _bytes(source.store, source.paths), tuple(findings), False)


def _read(store: Store, path: str, format: str) -> Finding | tuple[int, pa.Schema]:
    try:
        reader = reader_for("images" if format == "images" else known_format(path) or format)
        schema = reader.layout(store, path).schema
        return _count(reader, store, path, schema), schema
    except ForebayError as error:
        return Finding(path, "unreadable", str(error))


def _other_schema(first: tuple[str, pa.Schema], path: str, schema: pa.Schema) -> list[Finding]:
    try:
        unify([first, (path, schema)], "strict")
    except SchemaError as error:
        return [Finding(path, "schema", str(error))]
    return []


def _bytes(store: Store, paths: tuple[str, ...]) -> int:
    total = 0
    for path in paths:
        found = store.list(path) if store.is_directory(path) else [store.info(path)]
        total += sum(one.size for one in found)
    return total
