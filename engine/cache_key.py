"""Keys of cache units: what a unit's bytes depend on, and nothing else."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from forebay.engine.fingerprint import fingerprint
from forebay.formats.fragment import Fragment

LAYOUT = 2
"""Raised when the way results are stored changes."""


def unit_key(*, prefix: str, schema: pa.Schema, shard: Mapping[str, Any], fragment: Fragment, ordinal: int) -> str:
    """32 hex digits for the result of one fragment.

    Args:
        prefix: fingerprint of the transforms up to the frontier: specs, versions (of the kernels too) and fitted state.
        schema: what the transforms are given.
        shard: what the file is, from `shard_identity`.
        fragment: which rows of it. The directory it lies in does not count: a renamed data set still hits.
        ordinal: its place in the source, since sample ids hold it and bad rows are told by it.
    """
    place = [fragment.format, fragment.start, fragment.stop, ordinal]
    return fingerprint(LAYOUT, prefix, schema, dict(shard), place)


def shard_identity(
    name: str,
    *,
    checksum: str | None = None,
    size: int | None = None,
    mtime_ns: int | None = None,
    etag: str | None = None,
) -> dict[str, Any]:
    """What says that a file is still the same: its checksum where a manifest has one, else etag, else size and time."""
    base = name.rstrip("/").rsplit("/", 1)[-1]
    if checksum:
        return {"checksum": checksum}
    if etag:
        return {"name": base, "etag": etag, "size": size}
    return {"name": base, "size": size, "mtime_ns": mtime_ns}


def range_key(*, shard: Mapping[str, Any], start: int, stop: int) -> str:
    """32 hex digits for bytes `start` to `stop` of a remote object."""
    return fingerprint(LAYOUT, "range", dict(shard), start, stop)
