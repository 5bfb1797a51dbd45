"""What a source behind a cache stands for, where nothing but speed may tell that there is one."""

from typing import Any, cast

from forebay.engine.graph import Graph
from forebay.formats.source import Source


def uncached(source: Source, graph: Graph) -> tuple[Source, Graph]:
    """The source and the graph that a cached source and the graph behind it stand for; others as they are."""
    hidden = getattr(source, "stands_for", None)
    if hidden is None:
        return source, graph
    whole = Graph(hidden.transforms + graph.transforms, hidden.states + graph.states)
    return uncached(cast(Any, source).original, whole)
