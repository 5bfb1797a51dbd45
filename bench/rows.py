"""Rows of the table, made from records: medians, shares of the limit, the best setting of each system."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from forebay.bench.results import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: a system's medians at its best setting."""

    workload: str
    candidate: str
    """The system with the setting that was the best of those tried."""
    limit: bool = False
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
    read_bytes: int = 0
    """By read calls, a thousand samples."""
    first_s: float = 0.0
    """Seconds from the loader's making to its first batch, torch imported before."""
    start_s: float = 0.0
    """Seconds from the process's start to the first batch, all imports included."""
    faults: tuple[str, ...] | None = None
    """What the check found; None: not checked."""
    prepare_s: float = 0.0
    prepared_bytes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    """What the peer's function was given: threads, workers, ..."""
    others: tuple[tuple[str, float], ...] = ()
    """Other settings of the system that were tried, with their rates."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Row":
        """The row that `to_json` gave."""
        faults = value["faults"]
        return cls(
            **{
                **value,
                "rates": tuple(value["rates"]),
                "faults": None if faults is None else tuple(faults),
                "others": tuple((name, rate) for name, rate in value["others"]),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def rows(results: Results, order: Sequence[str], *, quick: bool) -> list[Row]:
    """A row for each system that was asked for, by workloads in `order`: the limit first, then by rate, those without
    figures last."""
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for record in results.records:
        if record["kind"] in ("time", "absent") and record["quick"] == quick:
            system = found.setdefault((record["workload"], record.get("system", record["candidate"])), {})
            system.setdefault(record["candidate"], []).append(record)
    made = [_best([_row(results, name, one, quick=quick) for name, one in every.items()]) for every in found.values()]
    limits = {one.workload: one.rate for one in made if one.limit}
    shared = [_with_share(one, limits.get(one.workload, 0.0)) for one in made]
    return sorted(shared, key=lambda one: (order.index(one.workload), not one.limit, -one.rate))


def _best(tried: list[Row]) -> Row:
    """The setting that was gone on with, or the fastest; the others are named beside it."""
    best = max(tried, key=lambda one: (len(one.rates), one.rate))
    return replace(best, others=tuple((one.candidate, one.rate) for one in tried if one is not best and one.rate))


def _row(results: Results, candidate: str, records: list[dict[str, Any]], *, quick: bool) -> Row:
    workload = records[0]["workload"]
    good = [one for one in records if one["kind"] == "time" and one["ok"]]
    checks = results.of("check", workload=workload, candidate=candidate)
    prepared = results.of("prepare", workload=workload, candidate=candidate, quick=quick)
    extra = prepared[-1] if prepared else {}
    if not good:
        last = records[-1]
        return Row(workload=workload, candidate=candidate, limit=bool(last.get("limit")), reason=last["reason"])
    rates = tuple(rate_of(one) for one in good)
    return Row(
        workload=workload,
        candidate=candidate,
        limit=good[0]["limit"],
        rates=rates,
        settings=good[-1].get("settings", {}),
        rate=statistics.median(rates),
        cpu_rate=_median(one["samples"] / max(one["cpu_s"], 0.01) for one in good),
        peak_bytes=int(_median(one["peak_pss"] for one in good)),
        peak_without_files=int(_median(one["peak_without_files"] for one in good)),
        read_bytes=int(_median(1000 * one["read_calls_bytes"] / max(one["samples"], 1) for one in good)),
        first_s=_median(one["first_batch_s"] for one in good),
        start_s=_median(one["start_s"] for one in good),
        faults=tuple(checks[-1]["faults"]) if checks else None,
        prepare_s=extra.get("prepare_s", 0.0),
        prepared_bytes=extra.get("prepared_bytes", 0),
    )


def rate_of(record: dict[str, Any]) -> float:
    """Samples a wall second of one run; 0 where it failed."""
    return float(record["samples"] / record["wall_s"]) if record.get("ok") else 0.0


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _with_share(row: Row, limit: float) -> Row:
    return replace(row, share=row.rate / limit) if limit and row.rate else row
