"""Fit: stream the data once for all fitted transforms that do not depend on one another, and again for those that do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from forebay.engine.bad_rows import OnBad
from forebay.engine.dependencies import ancestors, needed_for, read_for_pass
from forebay.engine.graph import Graph
from forebay.engine.ordered import threads_in_order
from forebay.engine.plan import single_stage
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.formats.fragment import Fragment
from forebay.formats.source import Source
from forebay.transforms.stage import Stage
from forebay.transforms.transform import Accumulator, Fitted, Rows, Transform

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) of the pass."""


def fit(
    source: Source,
    graph: Graph,
    *,
    threads: int | None = None,
    on_bad: OnBad = "raise",
    progress: Progress | None = None,
) -> Graph:
    """`graph` with every fitted transform fitted.

    A transform whose input columns no other unfitted transform touches learns in the first pass; the others wait for what
    they depend on. So the number of passes is the depth of that dependency, not the number of transforms. Statistics are
    kept for each fragment and merged in source order: the result does not depend on `threads`, to the last bit.
    """
    while graph.unfitted():
        level = ready(graph, source.schema)
        graph = graph.with_states(_one_pass(source, graph, level, threads=threads, on_bad=on_bad, progress=progress))
    return graph


def passes(graph: Graph, schema: pa.Schema) -> list[list[int]]:
    """Positions that learn in each pass, for `explain`."""
    levels = []
    while graph.unfitted():
        level = ready(graph, schema)
        levels.append(level)
        graph = graph.with_states(dict.fromkeys(level, {}))
    return levels


def ready(graph: Graph, schema: pa.Schema) -> list[int]:
    """Positions of the unfitted transforms that depend on no other unfitted one."""
    unfitted = set(graph.unfitted())
    schemas = graph.schemas(schema)
    return [at for at in sorted(unfitted) if not unfitted & set(ancestors(graph, schemas, at))]


@dataclass(frozen=True, slots=True)
class _Step:
    """At one position of the graph: a stage that runs, or a transform that learns."""

    stage: Stage | None
    learns: tuple[int, Transform, pa.Schema] | None


def _one_pass(
    source: Source,
    graph: Graph,
    level: list[int],
    *,
    threads: int | None,
    on_bad: OnBad,
    progress: Progress | None,
) -> dict[int, Any]:
    steps, columns = _steps(source.schema, graph, level)
    fragments = source.fragments()
    total, done = sum(one.nbytes for one in fragments), 0

    def learn(numbered: tuple[int, Fragment]) -> list[Accumulator]:
        ordinal, fragment = numbered
        learning = {step.learns[0]: _start(step.learns[1], step.learns[2]) for step in steps if step.learns}
        row = 0
        for batch in read_for_pass(source, graph, fragment, columns, on_bad):
            rows = Rows(sample_ids(ordinal, row, batch.num_rows))
            row += batch.num_rows
            _walk(steps, batch, rows, learning, on_bad, fragment.path)
        return list(learning.values())

    merged: list[Accumulator] | None = None
    numbered = list(enumerate(fragments))
    for (_, fragment), part in zip(numbered, threads_in_order(learn, numbered, threads=threads), strict=True):
        if merged is None:
            merged = part
        else:
            for into, later in zip(merged, part, strict=True):
                into.merge(later)
        done += fragment.nbytes
        if progress:
            progress(done, total)
    if merged is None:  # no data at all: the accumulators say themselves what they make of nothing
        merged = [_start(step.learns[1], step.learns[2]) for step in steps if step.learns]
    return {at: one.finish() for at, one in zip(level, merged, strict=True)}


def _steps(schema: pa.Schema, graph: Graph, level: list[int]) -> tuple[list[_Step], list[str]]:
    runs, columns = needed_for(graph, schema, level)
    running = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
    steps = []
    for at in sorted({*runs, *level}):
        one = graph.transforms[at]
        if at in level:
            narrowed = pa.schema([running.field(name) for name in one.reads(running)], metadata=running.metadata)
            steps.append(_Step(None, (at, one, narrowed)))
        else:
            stage = single_stage(one, running, graph.states[at], at)
            steps.append(_Step(stage, None))
            running = stage.schema
    return steps, columns


def _start(one: Transform, schema: pa.Schema) -> Accumulator:
    return cast(Fitted, one).accumulator(schema)


def _walk(
    steps: list[_Step],
    batch: pa.RecordBatch,
    rows: Rows,
    learning: dict[int, Accumulator],
    on_bad: OnBad,
    file: str,
) -> None:
    tally = Tally()  # what leaves here is counted when the data is written or loaded, not twice
    for step in steps:
        if step.learns:
            at, _, schema = step.learns
            learning[at].update(batch.select(schema.names), rows)
        elif step.stage:
            batch, rows = run_stages([step.stage], batch, rows, on_bad=on_bad, tally=tally, file=file)
