"""Which transforms a transform depends on: what a pass for some of them must run, and what it may leave out."""

import pyarrow as pa

from forebay.engine.graph import Graph
from forebay.transforms.select import Select


def ancestors(graph: Graph, schemas: list[pa.Schema], at: int) -> list[int]:
    """Positions before `at` that can change a value or take out a row that the transform at `at` sees."""
    needed = set(graph.transforms[at].reads(schemas[at]))
    found = []
    for before in range(at - 1, -1, -1):
        one, schema, after = graph.transforms[before], schemas[before], schemas[before + 1]
        if isinstance(one, Select):
            continue  # it changes no value; a pass reads by name, so it can be left out
        reads = set(one.reads(schema))
        if one.kind != "row" or needed & (reads | (set(after.names) - set(schema.names))):
            found.append(before)
            needed |= reads
    return found[::-1]


def needed_for(graph: Graph, schema: pa.Schema, targets: list[int]) -> tuple[list[int], list[str]]:
    """(positions that must run before the transforms at `targets`, source columns that all of them read)."""
    schemas = graph.schemas(schema)
    runs = sorted({before for at in targets for before in ancestors(graph, schemas, at)})
    needed: set[str] = set()
    for at in [*runs, *targets]:
        needed |= set(graph.transforms[at].reads(schemas[at])) & set(schema.names)
    return runs, [name for name in schema.names if name in needed]
