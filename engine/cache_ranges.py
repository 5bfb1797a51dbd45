"""Ranges of remote objects in the cache: what came over the network once is read from the local disk after that."""

from dataclasses import dataclass

import pyarrow as pa

from forebay.engine.cache_key import range_key, shard_identity
from forebay.engine.cache_store import Cache
from forebay.formats.remote_file import Version
from forebay.formats.remote_ranges import Range


@dataclass(frozen=True, slots=True)
class CachedRanges:
    """A `RangeCache` over a `Cache`. An object is known by its name, size and etag: a replaced one never hits."""

    cache: Cache

    def get(self, version: Version, name: str, part: Range) -> pa.Buffer | None:
        return self.cache.get_bytes(_key(version, name, part))

    def put(self, version: Version, name: str, part: Range, data: pa.Buffer) -> None:
        self.cache.put_bytes(_key(version, name, part), data)


def _key(version: Version, name: str, part: Range) -> str:
    shard = shard_identity(name, etag=version.mark, size=version.size)
    return range_key(shard=shard, start=part[0], stop=part[1])
