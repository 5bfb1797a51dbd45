"""Where a cache is put: at the frontier, because it was asked for, or because it was measured that it pays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from forebay.engine.cache_cost import CacheCost, cache_cost
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_ranges import with_shards_cached
from forebay.engine.cache_stage import CachedSource
from forebay.engine.frontier import frontier_of, split_at, unfiltered_frontier_of
from forebay.engine.graph import Graph
from forebay.formats.errors import SpecError
from forebay.formats.source import Source

if TYPE_CHECKING:
    from forebay.engine.dataset import Dataset

Holds = Literal["results", "shards"]
When = Literal["always", "pays"]

SAMPLE = 256
"""Rows that are measured."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A data set's source and graph with a cache in them, or as they were."""

    source: Source
    graph: Graph
    first_op: int
    note: str = ""
    """For `explain`: why there is a cache, or none."""


def place(dataset: "Dataset", options: CacheOptions, holds: Holds, when: When) -> Placed:
    """Put a cache where it belongs.

    Raises:
        NotFittedError: a transform before the cache has not learned.
        SpecError: `holds` or `when` is not known; shards behind another cache, or where they would have to pay.
    """
    if holds not in ("results", "shards"):
        raise SpecError(f"holds is {holds!r}; expected 'results' or 'shards'")
    if when not in ("always", "pays"):
        raise SpecError(f"when is {when!r}; expected 'always' or 'pays'")
    source, graph = dataset.source, dataset.graph
    if holds == "shards":
        if when == "pays":
            raise SpecError("when='pays' measures transforms, and holds='shards' keeps bytes; leave one of them out")
        return Placed(with_shards_cached(source, options), graph, dataset.first_op)
    if when == "pays":
        return _place_if_it_pays(dataset, options)
    at = frontier_of(graph)
    before, after = split_at(source.schema, graph, at)
    return Placed(cast(Source, CachedSource(source, before, options)), after, dataset.first_op + at)


def _place_if_it_pays(dataset: "Dataset", options: CacheOptions) -> Placed:
    source, graph = dataset.source, dataset.graph
    at = unfiltered_frontier_of(graph)
    stands_for = Graph(graph.transforms[:at], graph.states[:at])
    stands_for.require_fitted("what they give can be cached")
    cost = cache_cost(dataset, SAMPLE, at=at)
    refusal = _refusal(cost, source, options)
    note = _note(cost, refusal)
    if refusal:
        return Placed(source, graph, dataset.first_op, note)
    before, after = split_at(source.schema, graph, at)
    cached = CachedSource(source, before, options, stands_for=stands_for)
    return Placed(cast(Source, cached), after, dataset.first_op + at, note)


def _refusal(cost: CacheCost | None, source: Source, options: CacheOptions) -> str:
    """Why there is to be no cache; empty where it pays."""
    if cost is None:
        return "nothing stands before the first random transform or filter"
    if not cost.pays:
        return "it does not pay"
    rows = sum(one.rows or 0 for one in source.fragments())
    if source.random_access and cost.row_bytes * rows > options.limit_bytes:
        return f"rows are taken anywhere, and all of them do not fit into {options.limit_bytes / 1e9:,.1f} GB"
    return ""


def _note(cost: CacheCost | None, refusal: str) -> str:
    measured = (
        f"{cost.computed * 1e6:,.2f} µs a row to compute, {cost.read * 1e6:,.2f} µs to read, on {cost.rows:,} rows: "
        if cost
        else ""
    )
    return f"cache    where it pays: {measured}{refusal or 'it pays'}"
