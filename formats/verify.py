"""Verify a prepared data set: read every byte again and name what is wrong."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from forebay.formats.checksum import checksum
from forebay.formats.errors import ForebayError, SourceError
from forebay.formats.manifest import Manifest, ShardInfo, has_manifest
from forebay.formats.reader import ReadRequest, format_of, reader_for
from forebay.formats.source import open_source
from forebay.formats.store import Store, store_for

Fault = Literal["missing", "truncated", "altered", "schema", "rows", "unreadable", "unknown"]
Progress = Callable[[int, int], None]
"""Called with (shards checked, shards in all)."""


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

    Raises:
        SourceError: there is nothing at `path`.
    """
    store, directory = store_for(path)
    if not has_manifest(store, directory):
        return _verify_files(path, progress)
    manifest = Manifest.read(store, directory)
    findings: list[Finding] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="forebay-verify") as pool:
        checks = pool.map(lambda one: _check(store, directory, manifest, one), manifest.shards)
        for done, found in enumerate(checks, 1):
            findings += found
            if progress:
                progress(done, len(manifest.shards))
    findings += _strays(store, directory, manifest)
    nbytes = sum(one.nbytes for one in manifest.shards)
    return VerifyReport(path, len(manifest.shards), manifest.rows, nbytes, tuple(findings), True)


def _check(store: Store, directory: str, manifest: Manifest, shard: ShardInfo) -> list[Finding]:
    path = f"{directory}/{shard.name}"
    if not store.exists(path):
        return [Finding(shard.name, "missing", "the file is not there")]
    size = store.info(path).size
    if size < shard.nbytes:
        return [Finding(shard.name, "truncated", f"{size} bytes, expected {shard.nbytes}")]
    with store.open_input(path) as file:
        found = checksum(file)
    if found != shard.checksum:
        other = _schema_difference(store, path, manifest)
        if other:
            return [Finding(shard.name, "schema", other)]
        return [Finding(shard.name, "altered", f"checksum {found}, expected {shard.checksum}")]
    return _read_through(store, path, manifest.format, manifest.schema, shard)


def _schema_difference(store: Store, path: str, manifest: Manifest) -> str:
    try:
        schema = reader_for(manifest.format).layout(store, path).schema
    except ForebayError:
        return ""
    if schema.equals(manifest.schema):
        return ""
    return f"columns {', '.join(map(_shown, schema))}; expected {', '.join(map(_shown, manifest.schema))}"


def _shown(field: pa.Field) -> str:
    return f"{field.name}: {field.type}"


def _read_through(store: Store, path: str, format: str, schema: pa.Schema, shard: ShardInfo) -> list[Finding]:
    # the bytes are those that were written; reading them as well shows a writer's own mistake
    try:
        rows = _count(store, path, format, schema)
    except ForebayError as error:
        return [Finding(shard.name, "unreadable", str(error))]
    return [] if rows == shard.rows else [Finding(shard.name, "rows", f"{rows} rows, expected {shard.rows}")]


def _count(store: Store, path: str, format: str, schema: pa.Schema) -> int:
    reader = reader_for(format)
    rows = 0
    for fragment in reader.layout(store, path).fragments:
        for batch in reader.read(store, fragment, ReadRequest(schema)):
            batch.validate(full=True)
            rows += batch.num_rows
    return rows


def _strays(store: Store, directory: str, manifest: Manifest) -> list[Finding]:
    known = {one.name for one in manifest.shards}
    strays = []
    for one in store.list(directory, recursive=False):
        name = one.path.rpartition("/")[2]
        if name.endswith(f".{manifest.format}") and name not in known and name != "quarantine.parquet":
            strays.append(Finding(name, "unknown", "the manifest does not name it, so readers do not see its rows"))
    return strays


def _verify_files(path: str, progress: Progress | None) -> VerifyReport:
    source = open_source(path)
    findings: list[Finding] = []
    rows = nbytes = 0
    for done, one in enumerate(source.paths, 1):
        try:
            rows += _count(
                source.store, one, source.format if source.format == "images" else format_of(one), source.schema
            )
            nbytes += 0 if source.store.is_directory(one) else source.store.info(one).size
        except SourceError as error:
            findings.append(Finding(one, "unreadable", str(error)))
        if progress:
            progress(done, len(source.paths))
    return VerifyReport(path, len(source.paths), rows, nbytes, tuple(findings), False)
