"""What a run of `write` leaves behind: the manifest, and a report that accounts for every row."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forebay.engine.graph import Graph
from forebay.engine.plan import Plan
from forebay.engine.run_unit import Target, UnitReport
from forebay.formats.errors import StateError
from forebay.formats.manifest import Manifest
from forebay.formats.source import Source
from forebay.transforms.fit import save_state

QUARANTINE = "quarantine.parquet"
STATE = "state"


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a run did."""

    path: str
    read: int
    written: int
    filtered: dict[str, int]
    bad: dict[str, int]
    shards: int
    nbytes: int
    """Bytes of the shards."""
    resumed_units: int
    """Units that an earlier, interrupted run had finished."""
    peak_memory: int
    """Largest resident size seen, in bytes; 0 when worker processes did the work."""
    joined: dict[str, int] = field(default_factory=dict)
    """What a transform that joins rows (Pack) counted: documents, tokens, rows, padding, dropped tokens."""
    already_done: bool = False
    """The output was there, complete and of this very plan: nothing was done."""


def make_manifest(
    made_by: tuple[Source, Graph, Plan], target: Target, reports: list[UnitReport], identity: str
) -> Manifest:
    """The manifest of a complete run; the fitted state is written beside the shards first."""
    source, graph, plan = made_by
    state = ""
    if any(one is not None for one in graph.states):
        state = STATE
        _write_state(source, graph, target)
    counts: dict[str, Any] = {
        "read": sum(one.read for one in reports),
        "written": sum(info.rows for one in reports for info in one.shard_infos()),
        "filtered": _summed([one.filtered for one in reports]),
        "set_aside": _summed([one.bad for one in reports]),
    }
    if plan.joins:
        counts["joined"] = _summed([one.joined for one in reports])
    return Manifest(
        format=target.options.format,
        schema=plan.schema,
        shards=tuple(info for one in reports for info in one.shard_infos()),
        fingerprint=identity,
        sources=tuple(path.rsplit("/", 1)[-1] for path in source.paths),
        graph=tuple(graph.to_json()),
        state=state,
        counts=counts,
    )


def _write_state(source: Source, graph: Graph, target: Target) -> None:
    if target.store.local:
        save_state(graph.transforms, graph.states, source.schema, f"{target.directory}/{STATE}")
        return
    with tempfile.TemporaryDirectory() as place:
        save_state(graph.transforms, graph.states, source.schema, place)
        for path in sorted(Path(place).iterdir()):
            with target.store.publish(f"{target.directory}/{STATE}/{path.name}") as stream:
                stream.write(path.read_bytes())


def make_report(
    path: str, manifest: Manifest, reports: list[UnitReport], resumed: int, peak: int, *, already_done: bool = False
) -> WriteReport:
    """The report of a run, which must account for every row that was read.

    Raises:
        StateError: it does not.
    """
    counts = manifest.counts
    report = WriteReport(
        path=path,
        read=counts["read"],
        written=manifest.rows,
        filtered=counts["filtered"],
        bad=counts["set_aside"],
        shards=len(manifest.shards),
        nbytes=sum(one.nbytes for one in manifest.shards),
        resumed_units=resumed,
        peak_memory=peak,
        joined=counts.get("joined", {}),
        already_done=already_done,
    )
    gone = sum(report.filtered.values()) + sum(report.bad.values())
    if report.joined:
        gone += report.joined["documents"] - report.joined["rows"]
    if report.read != report.written + gone:  # nothing is lost in silence, not even by a mistake of ours
        raise StateError(
            f"{path}: {report.read} rows read, {report.written} written, {gone} taken out: rows are missing"
        )
    return report


def _summed(parts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return dict(sorted(total.items()))
