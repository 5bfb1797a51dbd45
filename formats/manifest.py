"""The manifest: what a prepared data set consists of. `manifest.json` beside the shards."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from forebay.formats.errors import CorruptError, SourceError, StateError
from forebay.formats.schemas import class_names
from forebay.formats.shard_index import ShardIndex, ShardInfo
from forebay.formats.store import Store

__all__ = ["NAME", "VERSION", "Manifest", "ShardInfo", "has_manifest", "manifest_of"]

NAME = "manifest.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is needed to open, verify and go on from a prepared data set.

    Holds no time and no machine's name, so that equal runs write equal bytes.
    """

    format: str
    """"parquet" or "arrow"."""
    schema: pa.Schema
    shards: Sequence[ShardInfo]
    """Any sequence is taken; it is kept as a `ShardIndex`."""
    fingerprint: str = ""
    """Of the plan, source and settings that made it."""
    sources: tuple[str, ...] = ()
    graph: tuple[dict[str, Any], ...] = ()
    """Specs of the transforms that made it."""
    state: str = ""
    """Directory with the fitted state, below the manifest's; "" when nothing was fitted."""
    counts: dict[str, Any] = field(default_factory=dict)
    """Rows read, kept, filtered (by filter) and set aside (by reason)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", ShardIndex.of(self.shards))

    @property
    def index(self) -> ShardIndex:
        """The shards as columns."""
        return ShardIndex.of(self.shards)

    @property
    def rows(self) -> int:
        return self.index.total("rows")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label, where the data came from an image folder."""
        return class_names(self.schema)

    def write(self, store: Store, directory: str) -> None:
        """Publish it: from then on the data set is complete."""
        value = {
            "forebay_manifest": VERSION,
            "format": self.format,
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "columns": {one.name: str(one.type) for one in self.schema},
            "rows": self.rows,
            "fingerprint": self.fingerprint,
            "sources": list(self.sources),
            "graph": list(self.graph),
            "state": self.state,
            "counts": self.counts,
            "shards": self.index.columns(),  # columns, not objects: a tenth of the bytes
        }
        with store.publish(f"{directory}/{NAME}") as stream:
            stream.write(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")

    @classmethod
    def read(cls, store: Store, directory: str) -> "Manifest":
        """The manifest of a directory.

        Raises:
            SourceError: there is none.
            StateError: a later version of forebay wrote it.
            CorruptError: it is not a manifest.
        """
        path = f"{directory}/{NAME}"
        with store.open_input(path) as file:
            text = bytes(file.read())
        try:
            value = json.loads(text)
            version = value["forebay_manifest"]
            if version > VERSION:
                raise StateError(
                    f"{path} is of version {version}; this forebay reads up to {VERSION}: install a newer one"
                )
            return cls(
                format=value["format"],
                schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value["schema"]))),
                shards=ShardIndex(value["shards"]),
                fingerprint=value["fingerprint"],
                sources=tuple(value["sources"]),
                graph=tuple(value["graph"]),
                state=value["state"],
                counts=value["counts"],
            )
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise CorruptError(
                f"{path}: not a manifest of forebay, or altered: {type(error).__name__}: {error}"
            ) from error


def manifest_of(store: Store, directory: str) -> Manifest | None:
    """The manifest of a directory, if there is one."""
    if store.local and not has_manifest(store, directory):
        return None
    try:
        return Manifest.read(store, directory)  # a store far away is not asked first whether there is one
    except SourceError:
        return None


def has_manifest(store: Store, directory: str) -> bool:
    return store.exists(f"{directory}/{NAME}")
