"""The plan: what will run for a graph. Pure: it looks at schemas and specs, never at data."""

import importlib
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from forebay.engine.fingerprint import fingerprint
from forebay.engine.graph import Graph
from forebay.engine.stage import FilterStage
from forebay.formats.errors import SpecError
from forebay.transforms.map_batches import MapBatches
from forebay.transforms.row_stage import RowStage
from forebay.transforms.stage import Stage
from forebay.transforms.transform import State, Transform
from forebay.transforms.where import Where, describe, pushdown

if TYPE_CHECKING:
    import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Plan:
    """Bound stages in order, and what the reader is asked for."""

    source_schema: pa.Schema
    """Schema of what is read: the source's, narrowed to the columns that are needed."""
    pushed: "pc.Expression | None"
    """Filter that the reader may use to skip row groups; the filter stages still decide row by row."""
    stages: tuple[Stage, ...]
    positions: tuple[tuple[int, ...], ...]
    """For each stage the positions of its transforms in the graph."""
    schema: pa.Schema
    """Schema of the result."""
    frontier: int
    """Position in the graph of the first random transform: what stands before it is the same in each epoch and may be
    cached."""
    batch_transforms: tuple[tuple[int, Transform], ...]
    """Transforms that mix the rows of a finished batch, with their positions: the loader applies them, last."""
    joins: Transform | None
    """Transform that makes other rows of those of a work unit, behind all others: writing applies it."""
    joined_from: pa.Schema
    """Schema of the rows before that; `schema` if there is none."""
    graph: Graph
    """The transforms that it was made of."""
    mixed: pa.Schema
    """Schema behind all of them, the batch transforms, too."""

    @property
    def fingerprint(self) -> str:
        """What the result depends on beside the source: transforms, versions, states, output schema. Found when asked for: Arrow
        takes two megabytes to write the schema down, which a process that only loads has no use for."""
        return fingerprint(self.graph.fingerprint(), self.mixed)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.source_schema.names)

    @property
    def local_only(self) -> bool:
        """Whether a stage calls a function that another process cannot import."""
        return any(isinstance(one, OpaqueStage) and not one.importable for one in self.stages)

    @property
    def opaque(self) -> bool:
        """Whether a stage is Python that holds the interpreter's lock."""
        return any(isinstance(one, OpaqueStage) for one in self.stages)


@dataclass(frozen=True, slots=True)
class OpaqueStage:
    """The user's own Python: it holds the interpreter's lock and may raise anything."""

    label: str
    reads: tuple[str, ...]
    schema: pa.Schema
    inner: RowStage
    importable: bool

    def run(self, batch: pa.RecordBatch, rows: Any) -> pa.RecordBatch:
        return self.inner.run(batch, rows)


def make_plan(
    source: pa.Schema,
    graph: Graph,
    *,
    start: int = 0,
    stop: int | None = None,
    cut: int | None = None,
    first_op: int = 0,
) -> Plan:
    """Plan the transforms `start` to `stop` of `graph` over a source of this schema.

    A stage never spans the position `cut`: there a cache can stand. With `start` the source is what the transforms
    before it make (a cache's units); random draws stay keyed by positions in the whole graph. `first_op` is the position
    of `graph`'s own first transform where it is itself the rest of a longer one.

    Raises:
        NotFittedError: a fitted transform has not learned.
        SchemaError: a transform cannot work on the columns it is given.
        SpecError: a transform that mixes the rows of a batch stands before others.
    """
    part = slice(start, stop)
    graph = Graph(graph.transforms[part], graph.states[part])
    start += first_op
    graph.require_fitted("it can run")
    _check_batch_transforms_last(graph)
    columns = graph.source_columns(source)
    narrowed = pa.schema([source.field(name) for name in columns], metadata=source.metadata)
    schemas = graph.schemas(narrowed)
    stages, positions = _stages(graph, schemas, start, cut)
    joins = int("join" in graph.kinds())
    mixers = [(start + at, one) for at, one in enumerate(graph.transforms) if one.kind == "batch"]
    return Plan(
        source_schema=narrowed,
        pushed=_pushed(graph, narrowed),
        stages=tuple(stages),
        positions=tuple(positions),
        schema=schemas[len(graph.transforms) - len(mixers)],
        joins=graph.transforms[-1] if joins else None,
        joined_from=schemas[len(graph.transforms) - max(joins, len(mixers))],
        frontier=next(
            (start + at for at, one in enumerate(graph.transforms) if one.random),
            start + len(graph.transforms),
        ),
        batch_transforms=tuple(mixers),
        graph=graph,
        mixed=schemas[-1],
    )


def describe_transform(one: Transform) -> str:
    """Name of a transform for people: its class, with what it works on."""
    if isinstance(one, Where):
        return f"Where({describe(one)})"
    if isinstance(one, MapBatches):
        return f"MapBatches({one.function})"
    return type(one).__name__


def _stages(
    graph: Graph, schemas: list[pa.Schema], start: int, cut: int | None
) -> tuple[list[Stage], list[tuple[int, ...]]]:
    def group_of(at: int) -> tuple[str, bool, int]:
        one = graph.transforms[at]
        name = getattr(one, "family", "")
        # transforms without a family stand alone, so each gets a group of its own
        return name, cut is not None and start + at >= cut, -1 if name and one.kind == "row" else at

    stages: list[Stage] = []
    positions: list[tuple[int, ...]] = []
    planned = [at for at, one in enumerate(graph.transforms) if one.kind not in ("batch", "join")]
    for (name, _, alone), group in groupby(planned, key=group_of):
        members = list(group)
        ops = [start + at for at in members]
        schema, states = schemas[members[0]], [graph.states[at] for at in members]
        transforms = [graph.transforms[at] for at in members]
        if alone >= 0:
            stages.append(single_stage(transforms[0], schema, states[0], ops[0]))
        else:
            fuse = importlib.import_module(f"forebay.transforms.fuse_{name}").fuse
            stages.append(fuse(transforms, schema, states, ops))
        positions.append(tuple(ops))
    return stages, positions


def single_stage(one: Transform, schema: pa.Schema, state: State | None, at: int) -> Stage:
    """The stage for one transform that stands alone; `at` is its position in the graph."""
    label, reads, after = describe_transform(one), one.reads(schema), one.output_schema(schema)
    bound: Any = one.bind(schema, state, at)
    if one.kind in ("filter", "dataset"):
        return FilterStage(label, reads, after, bound)
    stage = RowStage(label, reads, after, bound)
    if isinstance(one, MapBatches):
        return OpaqueStage(label, reads, after, stage, one.importable)
    return stage


def refuse_joins(graph: Graph) -> None:
    """Refuse to give single rows where a transform joins them.

    Raises:
        SpecError: what to do instead.
    """
    if "join" in graph.kinds():
        raise SpecError(
            f"{type(graph.transforms[-1]).__name__} joins the rows of a whole work unit, so it runs in .write() (forebay prep) "
            "alone; write the data set and load what was written, or leave it out and load with pad=fb.Packed(column), which "
            "packs each batch"
        )


def _pushed(graph: Graph, schema: pa.Schema) -> "pc.Expression | None":
    """Filters push down while nothing before them could have changed a column or the rows they see."""
    parts = []
    for one in graph.transforms:
        if not isinstance(one, Where):
            break
        part = pushdown(one, schema)
        if part is not None:
            parts.append(part)
    return reduce(lambda left, right: left & right, parts) if parts else None


def _check_batch_transforms_last(graph: Graph) -> None:
    kinds = graph.kinds()
    if "join" in kinds[:-1]:
        at = kinds.index("join")
        raise SpecError(
            f"{type(graph.transforms[at]).__name__} joins the rows of a work unit, so it must come last; "
            f"{type(graph.transforms[at + 1]).__name__} stands behind it: apply that to what was written"
        )
    for at, kind in enumerate(kinds):
        if kind == "batch" and any(later != "batch" for later in kinds[at:]):
            raise SpecError(
                f"{type(graph.transforms[at]).__name__} mixes the rows of a finished batch, so it must come last; "
                f"{type(graph.transforms[at + 1]).__name__} stands behind it"
            )
