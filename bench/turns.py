"""Timing in turns: every candidate once, then again; of a system's settings the best goes on, far behind peers stop early."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forebay.bench.job import Candidate, Job
from forebay.bench.measure import Watched, run_job
from forebay.bench.results import Results
from forebay.bench.rows import rate_of

Run = tuple[Candidate, str, Job]
"""A candidate, its interpreter and what it is asked to do."""

FAR_BEHIND = 4.0
"""A peer that is slower than the best peer by this factor is run twice, not three times or more: its place is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long runs are and how many there are."""

    repeats: int
    warm_s: float | None
    """Seconds before the clock starts; None: all of the first epoch."""
    measure_s: float | None
    """None: all of the second epoch."""
    timeout_s: float
    quick: bool

    def turns(self, workload: str) -> int:
        """Turns of a workload: those whose run is a whole preparation may ask for fewer."""
        return min(self.repeats, getattr(importlib.import_module(f"forebay.bench.workloads.{workload}"), "TURNS", 99))


def time_in_turns(pace: Pace, ready: Iterable[Run], results: Results, say: Callable[[str], None]) -> None:
    """A B A B, so that what the machine does beside it meets all alike. What is in `results` is not run again."""
    going = list(ready)
    if not going:
        return
    for turn in range(pace.turns(going[0][0].workload)):
        for candidate, python, job in going:
            name = name_of(candidate)
            if results.of("time", **name, quick=pace.quick, turn=turn):
                continue
            timed = replace(job, warm_s=pace.warm_s, measure_s=pace.measure_s)
            watched = run_job(python, timed, timeout_s=pace.timeout_s)
            _keep(results, candidate, watched, quick=pace.quick, turn=turn)
            say(f"{candidate.workload:<14} {candidate.name:<36} {_told(watched)}")
        going = (
            best_settings(going, results, quick=pace.quick) if turn == 0 else within_reach(going, results, pace.quick)
        )


def best_settings(ready: Sequence[Run], results: Results, *, quick: bool) -> list[Run]:
    """One candidate of each system: the one that was fastest in the first turn."""
    fastest: dict[str, tuple[float, str]] = {}
    for candidate, _, _ in ready:
        rate = _first_rate(results, candidate, quick)
        fastest[candidate.system] = max(fastest.get(candidate.system, (-1.0, "")), (rate, candidate.name))
    return [one for one in ready if fastest[one[0].system][1] == one[0].name]


def within_reach(ready: Sequence[Run], results: Results, quick: bool) -> list[Run]:
    """Without peers that are far behind the best one."""
    rates = {one.name: _first_rate(results, one, quick) for one, _, _ in ready if not _always_runs(one)}
    best = max(rates.values(), default=0.0)
    return [one for one in ready if _always_runs(one[0]) or rates[one[0].name] * FAR_BEHIND >= best]


def _always_runs(candidate: Candidate) -> bool:
    return candidate.limit or candidate.peer in ("forebay", "by_hand")


def name_of(candidate: Candidate) -> dict[str, Any]:
    """What a candidate's records are found by."""
    return {
        "workload": candidate.workload,
        "candidate": candidate.name,
        "system": candidate.system,
        "limit": candidate.limit,
    }


def _first_rate(results: Results, candidate: Candidate, quick: bool) -> float:
    return max((rate_of(one) for one in results.of("time", **name_of(candidate), quick=quick, turn=0)), default=0.0)


def _keep(results: Results, candidate: Candidate, watched: Watched, *, quick: bool, turn: int) -> None:
    figures: dict[str, Any] = {key: value for key, value in watched.message.items() if key != "event"}
    results.add(
        "time",
        **name_of(candidate),
        settings=candidate.settings,
        quick=quick,
        turn=turn,
        ok=watched.ok,
        peak_pss=watched.peak_pss,
        peak_without_files=watched.peak_without_files,
        peak_held=watched.peak_held,
        total_s=watched.total_s,
        **figures,
    )


def _told(watched: Watched) -> str:
    if not watched.ok:
        return f"fails: {watched.message['reason']}"
    found = watched.message
    rate = found["samples"] / found["wall_s"]
    return f"{rate:>12,.0f}/s  {watched.peak_pss / 1e6:>7,.0f} MB  first batch after {found['first_batch_s']:.2f} s"
