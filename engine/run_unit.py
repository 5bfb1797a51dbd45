"""Run one work unit: read its fragments, run the stages, write its shards. What every runner calls."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from forebay.engine.bad_rows import QUARANTINE_SCHEMA, BadRow, BadRowBudget
from forebay.engine.memory import MemoryBudget
from forebay.engine.plan import Plan
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.engine.work_unit import WorkUnit
from forebay.engine.write_options import WriteOptions
from forebay.formats.fragment import Fragment
from forebay.formats.manifest import ShardInfo
from forebay.formats.source import Source
from forebay.formats.store import Store
from forebay.formats.writer import ShardOptions, ShardWriter
from forebay.transforms.transform import Joins, Rows

MEMORY_FACTOR = 8
"""Resident bytes set aside for a fragment in work for each byte of it on disk: decoded, transformed, and encoded again. A
cautious guess; the resident size itself decides as well, and `python -m forebay.bench.prep_memory` measures what comes of it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a run writes, and how."""

    store: Store
    directory: str
    options: WriteOptions


@dataclass(frozen=True, slots=True)
class Shared:
    """What all units of a run share."""

    budget: BadRowBudget
    """Bad rows of the whole run."""
    memory: MemoryBudget
    """Room of the whole run; a fragment waits for its share."""
    progress: Callable[[int, int, int], None] | None = None
    """Called with (rows read, bytes read, rows set aside) after each fragment."""


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What became of a unit; plain values, so that a journal and other processes can carry it."""

    unit: int
    shards: list[dict[str, Any]]
    read: int
    filtered: dict[str, int]
    bad: dict[str, int]
    """"stage: reason" -> rows."""
    quarantine: str
    """Name of the file with its bad rows, or ""."""
    nbytes: int
    joined: dict[str, int] = field(default_factory=dict)
    """What a transform that joins rows counted; "documents" are the rows it was given, "rows" those it made."""

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "unit"}

    def shard_infos(self) -> list[ShardInfo]:
        return [ShardInfo(**one) for one in self.shards]


def run_unit(source: Source, plan: Plan, unit: WorkUnit, target: Target, shared: Shared) -> UnitReport:
    """Prepare one unit. Its shards are whole when this returns; after an exception the one in work is gone."""
    options = target.options
    assert isinstance(options.max_bytes, int)
    shaped = ShardOptions(format=options.format, max_rows=options.max_rows, max_bytes=options.max_bytes)
    writer = ShardWriter(target.store, target.directory, unit.name, plan.schema, shaped)
    total, out = Tally(), _Out(writer, plan)
    try:
        for ordinal, fragment in unit.fragments:
            with shared.memory.reserve(fragment.nbytes * MEMORY_FACTOR):
                part = _run_fragment(source, plan, (ordinal, fragment), out, options)
            shared.budget.add(read=part.read, bad=len(part.bad))
            total.add(part)
            if shared.progress:
                shared.progress(part.read, fragment.nbytes, len(part.bad))
        joined = out.finish()
        shards = writer.close()
    except BaseException:
        writer.abort()
        raise
    quarantine = ""
    if total.bad and options.on_bad == "quarantine":
        quarantine = f"_{unit.name}.quarantine"
        _write_quarantine(target, quarantine, dict(unit.fragments), total.bad)
    reasons: dict[str, int] = {}
    for one in total.bad:
        reasons[_reason(one)] = reasons.get(_reason(one), 0) + 1
    shard_values = [asdict(one) for one in shards]
    return UnitReport(unit.index, shard_values, total.read, total.filtered, reasons, quarantine, unit.nbytes, joined)


class _Out:
    """The writer, behind a transform that joins rows if there is one."""

    def __init__(self, writer: ShardWriter, plan: Plan) -> None:
        self._writer = writer
        self._joiner = cast(Joins, plan.joins).joiner(plan.joined_from) if plan.joins else None

    def write(self, batch: pa.RecordBatch) -> None:
        if self._joiner is None:
            self._writer.write(batch)
            return
        for one in self._joiner.add(batch):
            self._writer.write(one)

    def finish(self) -> dict[str, int]:
        if self._joiner is None:
            return {}
        for one in self._joiner.finish():
            self._writer.write(one)
        return self._joiner.counts()


def _run_fragment(
    source: Source, plan: Plan, numbered: tuple[int, Fragment], writer: _Out, options: WriteOptions
) -> Tally:
    ordinal, fragment = numbered
    tally = Tally()

    def unparsed(row: int, reason: str, text: str) -> None:
        tally.bad.append(BadRow(ordinal, row, "read", "", reason, text))

    on_bad_row = None if options.on_bad == "raise" else unparsed
    row = 0
    for batch in source.read(fragment, columns=plan.columns, filter=plan.pushed, on_bad_row=on_bad_row):
        rows = Rows(sample_ids(ordinal, row, batch.num_rows))
        row += batch.num_rows
        made, _ = run_stages(plan.stages, batch, rows, on_bad=options.on_bad, tally=tally, file=fragment.path)
        writer.write(made)
    tally.read = row + sum(1 for one in tally.bad if one.stage == "read")
    if fragment.rows is not None and row == 0 and fragment.rows:
        # statistics told that no row can pass the pushed filters: they are filtered rows all the same
        first = plan.stages[0].label
        tally.filtered[first] = tally.filtered.get(first, 0) + fragment.rows
        tally.read = fragment.rows
    return tally


def _reason(one: BadRow) -> str:
    column = f" ({one.column})" if one.column else ""
    # rows differ in the value they name; a count by reason must not have a line for each of them
    reason = one.reason if len(one.reason) <= 80 else one.reason[:77] + "..."
    return f"{one.stage}{column}: {reason}"


def _write_quarantine(target: Target, name: str, fragments: dict[int, Fragment], bad: list[BadRow]) -> None:
    bad = sorted(bad, key=lambda one: (one.fragment, one.row))
    table = pa.table(
        {
            "file": [fragments[one.fragment].path for one in bad],
            "first_row_group_or_byte": [fragments[one.fragment].start for one in bad],
            "row": [one.row for one in bad],
            "stage": [one.stage for one in bad],
            "column": [one.column for one in bad],
            "reason": [one.reason for one in bad],
            "values": [one.values for one in bad],
        },
        schema=QUARANTINE_SCHEMA,
    )
    with target.store.publish(f"{target.directory}/{name}") as stream:
        pq.write_table(table, stream, compression="zstd")
