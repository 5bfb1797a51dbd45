"""A cached source: what stands before the first random transform, computed once for each fragment and mapped after that."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from forebay.engine.cache_compute import bytes_of_a_row, compute_unit
from forebay.engine.cache_guard import RowGuard
from forebay.engine.cache_key import unit_key
from forebay.engine.cache_opened import OpenedUnits
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_store import Cache
from forebay.engine.fingerprint import fingerprint
from forebay.engine.graph import Graph
from forebay.engine.plan import Plan, make_plan
from forebay.engine.selection import select
from forebay.formats.errors import SpecError
from forebay.formats.fragment import Fragment
from forebay.formats.reader import OnBadRow
from forebay.formats.schemas import no_rows
from forebay.formats.source import Source

if TYPE_CHECKING:
    import pyarrow.compute as pc

_SPARE = 1.1
"""Room left when the size of all units is told from the first."""
_PLENTY = 4
"""Where the first few rows say that all would fit so many times, the first unit is not waited for."""


class CachedSource:
    """Stands for a `Source` whose rows went through `prefix` already; its units are fragments of the original.

    Attributes:
        format: of the original.
        paths: of the original.
    """

    manifest = None

    def __init__(
        self, source: Source, prefix: Graph, options: CacheOptions, *, stands_for: Graph | None = None
    ) -> None:
        """`stands_for`: the transforms that were moved into the cache, where nothing but speed may tell that there is one:
        then rows come in the original's order, and states fit both."""
        prefix.require_fitted("what they give can be cached")
        self.original, self.prefix, self.options, self.stands_for = source, prefix, options, stands_for
        self.store, self.paths, self.format = source.store, source.paths, source.format
        self.label = f"{source.paths[0]}: {'+'.join(type(one).__name__ for one in prefix.transforms) or 'decoded'}"

    @cached_property
    def cache(self) -> Cache:
        return Cache(self.options, label=self.label)

    @cached_property
    def plan(self) -> Plan:
        """What runs before the cache."""
        return make_plan(self.original.schema, self.prefix)

    @property
    def schema(self) -> pa.Schema:
        return self.plan.schema

    def fragments(self) -> tuple[Fragment, ...]:
        """The original's, with the rows that its filters leave."""
        return self._fragments

    def read(
        self,
        fragment: Fragment,
        *,
        columns: Sequence[str] | None = None,
        filter: "pc.Expression | None" = None,
        on_bad_row: OnBadRow | None = None,
        at_once: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """The fragment's rows, from its unit."""
        batch = self.unit(self._ordinals[(fragment.path, fragment.start)])
        yield batch if columns is None else batch.select([name for name in batch.schema.names if name in set(columns)])

    def unit(self, ordinal: int) -> pa.RecordBatch:
        """The result for one fragment, mapped from the cache; computed and kept where it is not there yet."""
        batches = self.cache.get_or_compute(
            self.keys[ordinal], lambda: [compute_unit(self.original, self.plan, ordinal)], self.schema
        )
        return batches[0] if len(batches) == 1 else no_rows(self.schema)

    @cached_property
    def random_access(self) -> bool:
        """Whether all units fit into the bound, told from the size of the first, so that rows can be taken anywhere."""
        if self.stands_for is not None:
            return self.original.random_access
        rows = [one.rows or 0 for one in self.fragments()]
        first = next((at for at, count in enumerate(rows) if count), None)
        if first is None:
            return True
        return _all_fit(self, first, sum(rows) / rows[first])

    def open_batches(self, path: str) -> list[pa.RecordBatch]:
        """The units of one file, mapped; the first call computes what is missing of all files, in all threads. Of wide rows
        not all was looked at yet: ask `guard` before they are read."""
        return [self._opened.batches[at] for at in self._of_path[path]]

    def guard(self, ordinal: int) -> RowGuard | None:
        """What is to be asked before a row of `open_batches` is read; None where all of the fragment was looked at."""
        return self._opened.guards.get(ordinal)

    def rebuilt(self, ordinal: int) -> pa.RecordBatch:
        """A fragment of which the guard found a row that is wrong."""
        return self._opened.rebuilt(ordinal)

    def identity(self) -> dict[str, Any]:
        return {"cached": self.original.identity(), "prefix": self.prefix.fingerprint()}

    def to_json(self) -> dict[str, Any]:
        """Raises SpecError: other machines do not see this cache."""
        raise SpecError("a cached data set cannot be sent to a runner; write it first, or leave .cache() out")

    def expect(self, ordinals: Sequence[int]) -> None:
        """Tell the order in which fragments will be read, so that a cache too small for all keeps what comes next."""
        self.cache.expect(self.keys[at] for at in ordinals)

    def describe(self) -> str:
        """One line for `explain`."""
        there = sum(self.cache.contains(key) for key in self.keys)
        return (
            f"cache    {self.options.directory}, at most {self.options.limit_bytes / 1e9:,.1f} GB, {there:,} of "
            f"{len(self.keys):,} units there; holds: {'+'.join(one.label for one in self.plan.stages) or 'decoded rows'}"
        )

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Key of each unit."""
        prefix, schema = self.plan.fingerprint, self.plan.source_schema
        # each file's once: an image folder is one file of many fragments, and its identity lists all images
        files = {
            path: fingerprint(one) for path, one in zip(self.paths, self.original.identity()["files"], strict=True)
        }
        return tuple(
            unit_key(prefix=prefix, schema=schema, shard={"file": files[one.path]}, fragment=one, ordinal=at)
            for at, one in enumerate(self.original.fragments())
        )

    @cached_property
    def _fragments(self) -> tuple[Fragment, ...]:
        found = self.original.fragments()
        counts = select(self.original, self.prefix).counts
        return tuple(
            Fragment(
                path=one.path, format=one.format, start=one.start, stop=one.stop, rows=int(rows), nbytes=one.nbytes
            )
            for one, rows in zip(found, counts, strict=True)
        )

    @cached_property
    def _ordinals(self) -> dict[tuple[str, int], int]:
        return {(one.path, one.start): at for at, one in enumerate(self.original.fragments())}

    @cached_property
    def _of_path(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, one in enumerate(self.original.fragments()):
            found.setdefault(one.path, []).append(at)
        return found

    @cached_property
    def _opened(self) -> OpenedUnits:
        return OpenedUnits.of(self.cache, self.keys, self.unit, self.original)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("original", "prefix", "options", "stands_for")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        CachedSource.__init__(
            self, state["original"], state["prefix"], state["options"], stands_for=state["stands_for"]
        )


def _all_fit(source: CachedSource, first: int, times: float) -> bool:
    """Whether all units fit into the bound, which take `times` as much as unit `first`."""
    limit = source.options.limit_bytes
    # a unit that is there tells sooner than rows that are computed, and what it tells is the same as when it was not there
    held = None if source.options.compression else source.cache.bytes_held(source.keys[first])
    if held is not None and held * times * _SPARE <= limit:
        return True
    guess = bytes_of_a_row(source.original, source.plan, first) * (source.fragments()[first].rows or 0) * times
    if 0 < guess * _PLENTY <= limit:  # then no thread has to wait for the first unit
        return True
    return held is None and source.unit(first).nbytes * times * _SPARE <= limit
