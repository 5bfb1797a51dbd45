"""Which transforms a transform depends on: what a pass for some of them must run, and what it may leave out."""

from collections.abc import Iterator

import pyarrow as pa

from forebay.engine.bad_rows import OnBad
from forebay.engine.graph import Graph
from forebay.formats.fragment import Fragment
from forebay.formats.source import Source
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


def read_for_pass(
    source: Source, graph: Graph, fragment: Fragment, columns: list[str], on_bad: OnBad
) -> Iterator[pa.RecordBatch]:
    """The fragment's `columns`, for a pass that is not the one that writes: its bad rows are counted there, not here.

    Rows are numbered as that pass will number them. Where a text row that does not parse is left out, what does not parse
    depends on the columns that are looked at, so all that the graph reads are, though the pass needs only some.
    """
    if on_bad == "raise":
        yield from source.read(fragment, columns=columns)
        return
    looked_at = list(graph.source_columns(source.schema)) if fragment.rows is None else columns
    for batch in source.read(fragment, columns=looked_at, on_bad_row=lambda *_: None):
        yield batch.select(columns)
