"""Results on disk: one line of JSON for each thing measured, so that a run that was stopped goes on where it was."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["machine", "absent", "prepare", "check", "time"]


@dataclass(slots=True)
class Results:
    """The records of a directory: `results.jsonl`."""

    directory: Path
    records: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, directory: Path, *, resume: bool) -> "Results":
        """The directory's results, or none when they are not to be gone on with."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "results.jsonl"
        if not resume:
            path.unlink(missing_ok=True)
            return cls(directory)
        lines = path.read_text().splitlines() if path.is_file() else []
        return cls(directory, [json.loads(line) for line in lines if line.endswith("}")])

    def add(self, kind: Kind, **values: Any) -> None:
        """Keep a record, on disk at once."""
        record = {"kind": kind, **values}
        self.records.append(record)
        with open(self.directory / "results.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def of(self, kind: Kind, **values: Any) -> list[dict[str, Any]]:
        """The records of a kind that have these values."""
        wanted = {"kind": kind, **values}.items()
        return [one for one in self.records if all(one.get(key) == value for key, value in wanted)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: a candidate's medians."""

    workload: str
    candidate: str
    limit: bool
    reason: str = ""
    """Why there are no figures."""
    rates: tuple[float, ...] = ()
    """Samples a wall second, a value a run."""
    rate: float = 0.0
    cpu_rate: float = 0.0
    """Samples a CPU second of the whole tree."""
    share: float = 0.0
    """Of the physical limit measured in the same run; 0 where that is missing."""
    peak_bytes: int = 0
    peak_without_files: int = 0
    first_s: float = 0.0
    """Seconds from the loader's making to its first batch, torch imported before."""
    start_s: float = 0.0
    """Seconds from the process's start to the first batch, all imports included."""
    faults: tuple[str, ...] | None = None
    """What the check found; None: not checked."""
    prepare_s: float = 0.0
    prepared_bytes: int = 0


def rows(results: Results, *, quick: bool) -> list[Row]:
    """One row for each candidate that was asked for: the limit first, then by rate, those without figures last."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in results.records:
        if record["kind"] in ("time", "absent") and record["quick"] == quick:
            found.setdefault((record["workload"], record["candidate"]), []).append(record)
    made = [_row(results, name, records, quick=quick) for name, records in found.items()]
    limits = {one.workload: one.rate for one in made if one.limit}
    shared = [_with_share(one, limits.get(one.workload, 0.0)) for one in made]
    workloads = list(dict.fromkeys(one.workload for one in shared))
    return sorted(shared, key=lambda one: (workloads.index(one.workload), not one.limit, -one.rate))


def _row(results: Results, name: tuple[str, str], records: list[dict[str, Any]], *, quick: bool) -> Row:
    workload, candidate = name
    good = [one for one in records if one["kind"] == "time" and one["ok"]]
    checks = results.of("check", workload=workload, candidate=candidate)
    prepared = results.of("prepare", workload=workload, candidate=candidate, quick=quick)
    extra = prepared[-1] if prepared else {}
    if not good:
        last = records[-1]
        return Row(workload=workload, candidate=candidate, limit=bool(last.get("limit")), reason=last["reason"])
    rates = tuple(one["samples"] / one["wall_s"] for one in good)
    return Row(
        workload=workload,
        candidate=candidate,
        limit=good[0]["limit"],
        rates=rates,
        rate=statistics.median(rates),
        cpu_rate=_median(one["samples"] / max(one["cpu_s"], 0.01) for one in good),
        peak_bytes=int(_median(one["peak_pss"] for one in good)),
        peak_without_files=int(_median(one["peak_without_files"] for one in good)),
        first_s=_median(one["first_batch_s"] for one in good),
        start_s=_median(one["start_s"] for one in good),
        faults=tuple(checks[-1]["faults"]) if checks else None,
        prepare_s=extra.get("prepare_s", 0.0),
        prepared_bytes=extra.get("prepared_bytes", 0),
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _with_share(row: Row, limit: float) -> Row:
    from dataclasses import replace

    return replace(row, share=row.rate / limit) if limit and row.rate else row
