"""Explain: the plan as a tree, and what each step costs on a sample."""

import math
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from forebay.engine.cache_cost import cache_cost
from forebay.engine.fit_pass import passes
from forebay.engine.plan import OpaqueStage, Plan, describe_transform
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.engine.stage import FilterStage
from forebay.formats.schemas import no_rows
from forebay.transforms.stage import SlotStage, Stage
from forebay.transforms.transform import Rows

if TYPE_CHECKING:
    from forebay.engine.dataset import Dataset


def explain(dataset: "Dataset", *, sample: int = 0) -> str:
    """Lines of text: source, columns read, pushed filter, passes to fit, stages, frontier, output."""
    source, graph = dataset.source, dataset.graph
    fragments = source.fragments()
    known = all(one.rows is not None for one in fragments)
    rows = f"{sum(one.rows or 0 for one in fragments):,} rows" if known else "rows known after reading"
    lines = [
        f"source   {source.format}, {len(source.paths):,} files, {len(fragments):,} fragments, {rows}, "
        f"{sum(one.nbytes for one in fragments) / 1e6:,.1f} MB"
    ]
    if hasattr(source, "describe"):
        lines.append(source.describe())
    if dataset.cache_note:
        lines.append(dataset.cache_note)
    levels = passes(graph, source.schema)
    for number, level in enumerate(levels, 1):
        names = ", ".join(type(graph.transforms[at]).__name__ for at in level)
        lines.append(f"fit      pass {number} of {len(levels)}: {names}")
    if levels:
        lines.append("         (not fitted yet: the stages below are planned after .fit())")
        lines += [f"├─ {describe_transform(one)}" for one in graph.transforms]
        return "\n".join([*lines, _output(graph.schemas(source.schema)[-1])])
    plan = dataset.plan()
    left_out = len(source.schema) - len(plan.columns)
    lines.append(f"reads    {len(plan.columns)} columns ({left_out} pruned): {', '.join(plan.columns)}")
    lines.append(f"pushed   {plan.pushed if plan.pushed is not None else 'no filter'}")
    cost = cache_cost(dataset, sample) if sample and not hasattr(source, "describe") else None
    if cost is not None:
        lines.append(cost.describe(sum(one.rows or 0 for one in fragments) if known else None))
    costs = _costs(dataset, plan, sample) if sample else {}
    for stage, positions in zip(plan.stages, plan.positions, strict=True):
        lines.append(f"├─ {stage.label}  {_kind(stage)}{costs.get(stage.label, '')}")
        if positions[-1] + 1 == plan.frontier and plan.frontier - dataset.first_op < len(graph.transforms):
            lines.append("├┄ frontier: what stands above is the same in each epoch and may be cached")
    lines += [f"├─ {describe_transform(one)}  [on the finished batch]" for _, one in plan.batch_transforms]
    lines += [f"├─ {describe_transform(plan.joins)}  [on the rows of each work unit, in writing]"] if plan.joins else []
    return "\n".join([*lines, _output(plan.schema)])


def _kind(stage: Stage) -> str:
    if isinstance(stage, FilterStage):
        return "[filter]"
    if isinstance(stage, OpaqueStage):
        where = "spawned processes" if stage.importable else "this process only: not importable by name"
        return f"[opaque Python, {where}]"
    if isinstance(stage, SlotStage):
        return f"[fused, straight into the batch: {', '.join(stage.tensors()) or 'nothing'}]"
    return "[row-local]"


def _output(schema: pa.Schema) -> str:
    fixed = {one.name: _row_bytes(one.type) for one in schema}
    listed = [name for name, size in fixed.items() if size is None]
    beside = f"; as lists beside it: {', '.join(listed)}" if listed else ""
    return (
        "├─ gives " + ", ".join(f"{one.name}: {one.type}" for one in schema) + "\n"
        f"└─ buffers  a slot holds {sum(size or 0 for size in fixed.values()):,} bytes a row{beside}"
    )


def _row_bytes(type: pa.DataType) -> int | None:
    """Bytes of one row in a batch; None for what has no fixed size."""
    if isinstance(type, pa.FixedShapeTensorType):
        return math.prod(type.shape) * (_row_bytes(type.value_type) or 0)
    if pa.types.is_fixed_size_list(type):
        return type.list_size * (_row_bytes(type.value_type) or 0)
    if pa.types.is_boolean(type):
        return 1
    return type.bit_width // 8 if pa.types.is_primitive(type) else None


def _costs(dataset: "Dataset", plan: Plan, sample: int) -> dict[str, str]:
    """Stage -> microseconds a row and rows kept, on the first `sample` rows."""
    batch = _first_rows(dataset, plan, sample)
    if batch.num_rows == 0:
        return {}
    rows, costs = Rows(sample_ids(0, 0, batch.num_rows), dataset.seed, 0), {}
    for stage in plan.stages:
        before = batch.num_rows
        if before == 0:
            break
        run_stages([stage], batch, rows, on_bad="skip", tally=Tally())  # the first run compiles and warms up
        start = time.perf_counter()
        batch, rows = run_stages([stage], batch, rows, on_bad="skip", tally=Tally())
        spent = (time.perf_counter() - start) / before * 1e6
        kept = f", keeps {batch.num_rows / before:.1%}" if batch.num_rows != before else ""
        costs[stage.label] = f"  {spent:.3f} µs a row on {before:,} rows{kept}"
    return costs


def _first_rows(dataset: "Dataset", plan: Plan, count: int) -> pa.RecordBatch:
    taken: list[pa.RecordBatch] = []
    for fragment in dataset.source.fragments():
        for batch in dataset.source.read(fragment, columns=plan.columns, on_bad_row=lambda *_: None):
            taken.append(batch.slice(0, count))
            count -= taken[-1].num_rows
            if count <= 0:
                break
        if count <= 0:
            break
    merged = pa.Table.from_batches(taken, schema=plan.source_schema).combine_chunks().to_batches()
    return merged[0] if merged else no_rows(plan.source_schema)
