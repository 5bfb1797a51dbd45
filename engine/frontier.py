"""The frontier: up to where the results of a graph are the same in each epoch, so that a cache may stand there."""

import pyarrow as pa

from forebay.engine.graph import Graph
from forebay.transforms.select import Select


def frontier_of(graph: Graph) -> int:
    """Position of the first transform whose result differs between epochs: a random one, or one that mixes a batch or
    joins rows, which can only come last."""
    return next(
        (at for at, one in enumerate(graph.transforms) if one.random or one.kind in ("batch", "join")),
        len(graph.transforms),
    )


def unfiltered_frontier_of(graph: Graph) -> int:
    """The same, or the first filter if that comes before: up to there each row keeps its number."""
    at = frontier_of(graph)
    return next((here for here, one in enumerate(graph.transforms[:at]) if one.kind == "filter"), at)


def split_at(source: pa.Schema, graph: Graph, at: int) -> tuple[Graph, Graph]:
    """The first `at` transforms, giving only what is needed behind them, and the rest."""
    before = Graph(graph.transforms[:at], graph.states[:at])
    after = Graph(graph.transforms[at:], graph.states[at:])
    schema = before.schemas(source)[-1]
    needed = after.source_columns(schema)
    if after.transforms and needed and set(needed) != set(schema.names):
        before = before.then(Select(needed))
    return before, after
