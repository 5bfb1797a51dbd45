"""Ranges of remote objects in the cache: what came over the network once is read from the local disk after that."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from forebay.engine.cache_key import range_key, shard_identity
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_store import Cache
from forebay.formats.errors import SpecError
from forebay.formats.remote_object import Version
from forebay.formats.remote_ranges import Range
from forebay.formats.remote_reads import RemoteReads
from forebay.formats.source import Source


@dataclass(frozen=True, slots=True)
class CachedRanges:
    """A `RangeCache` over a `Cache`. An object is known by its name, size and etag: a replaced one never hits."""

    cache: Cache

    def get(self, version: Version, name: str, part: Range) -> pa.Buffer | None:
        return self.cache.get_bytes(_key(version, name, part))

    def put(self, version: Version, name: str, part: Range, data: pa.Buffer) -> None:
        self.cache.put_bytes(_key(version, name, part), data)

    def __reduce__(self) -> tuple[Any, ...]:
        self.cache.close()  # who opens it elsewhere finds what was read here
        return CachedRanges, (self.cache,)


def with_shards_cached(source: Source, options: CacheOptions) -> Source:
    """The same source, which keeps on the local disk what it reads of remote shards. Local files are read where they are.

    Raises:
        SpecError: there is nothing that could be kept.
    """
    if source.store.local:
        return source
    old = source.store.remote
    if old is None or not isinstance(source, Source):
        raise SpecError(
            f"{source.paths[0]}: the bytes of its shards cannot be kept; call .cache(holds='shards') first, on what scan() gives"
        )
    cache = CachedRanges(Cache(options, label=f"{source.paths[0]}: shards"))
    made = copy.copy(source)
    made.store = replace(source.store, remote=RemoteReads(old.files, old.options, cache))
    return made


def _key(version: Version, name: str, part: Range) -> str:
    shard = shard_identity(name, etag=version.mark, size=version.size)
    return range_key(shard=shard, start=part[0], stop=part[1])
