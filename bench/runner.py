"""The suite's run: environments, data, each peer's own format, checks, then timing in turns, within the time given."""

import importlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forebay.bench.catalog import CANDIDATES, WORKLOADS
from forebay.bench.environment import machine, peer_versions
from forebay.bench.job import Candidate, Job, Mode
from forebay.bench.measure import Watched, run_job
from forebay.bench.peer_env import PeerEnvironment, peer_environment
from forebay.bench.places import data_home
from forebay.bench.results import Results
from forebay.formats.errors import SpecError, UnknownNameError

_START_S = 4.0
"""What a process costs beside its measuring, about."""
_QUICK = (0.3, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What to run and how long."""

    workloads: tuple[str, ...] = ()
    """Names of workloads; none: all of them."""
    against: tuple[str, ...] = ()
    """Parts of the names of peers or environments; none: all. forebay and the limits always run."""
    quick: bool = False
    """Toy size: shows that all of it runs, not how fast."""
    repeats: int = 3
    minutes: float | None = None
    """Time for measuring (making environments, data and formats comes before); None: whole epochs, `repeats` times. With
    it, runs are of seconds, and turns go on until the time is over."""
    timeout_s: float = 300.0
    """Of one run."""
    prepare_only: bool = False
    """Make environments, data and formats, and check; time nothing."""
    recheck: bool = False
    """Check peers again that were checked before (with resume); forebay is always checked again."""

    def __post_init__(self) -> None:
        for name in self.workloads:
            if name not in WORKLOADS:
                raise UnknownNameError.of("workload", name, WORKLOADS, where="bench")
        if self.repeats < 1 or (self.minutes is not None and self.minutes <= 0):
            raise SpecError(f"repeats is {self.repeats} and minutes is {self.minutes}; expected both above 0")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The workloads to run."""
        return self.workloads or WORKLOADS

    def candidates(self, workload: str) -> list[Candidate]:
        """Those of a workload that are asked for."""
        every = CANDIDATES[workload]
        if not self.against:
            return list(every)
        return [
            one
            for one in every
            if one.limit
            or one.peer == "forebay"
            or any(part.lower() in f"{one.name} {one.environment} {one.peer}".lower() for part in self.against)
        ]


Ready = list[tuple[Candidate, PeerEnvironment]]


def run_suite(options: SuiteOptions, results: Results, say: Callable[[str], None]) -> None:
    """Measure, adding to `results` as it goes."""
    before = machine()
    ready = {name: _ready(options, name, results, say) for name in options.chosen}
    environments = [environment for made in ready.values() for _, environment in made]
    versions = {name: found for one in environments for name, found in peer_versions(one).items()}
    if not options.prepare_only:
        before["load_average"] = list(os.getloadavg())
        ends = time.monotonic() + 60 * options.minutes if options.minutes else None
        for at, made in enumerate(ready.values()):
            left = None if ends is None else (ends - time.monotonic()) / (len(ready) - at)
            _time_in_turns(options, made, results, say, left)
    results.add("machine", **before, peers=versions, load_after=list(os.getloadavg()), quick=options.quick)


def _ready(options: SuiteOptions, workload: str, results: Results, say: Callable[[str], None]) -> Ready:
    """The candidates that installed, prepared and ran their check, limits included."""
    made = []
    for candidate in options.candidates(workload):
        environment = peer_environment(candidate.environment)
        reason = f"does not install: {environment.reason}" if environment.reason else ""
        if not reason:
            reason = _prepare(candidate, environment, options, results, quick=True)
        if not reason and not options.quick:
            reason = _prepare(candidate, environment, options, results, quick=False)
        if not reason:
            reason = _check(candidate, environment, options, results)
        if reason:
            say(f"{workload:<14} {candidate.name:<34} {reason}")
            results.add("absent", **_name(candidate), quick=options.quick, reason=reason)
        else:
            made.append((candidate, environment))
    return made


def _prepare(
    candidate: Candidate, environment: PeerEnvironment, options: SuiteOptions, results: Results, *, quick: bool
) -> str:
    """Make the peer's own format; the reason if it cannot."""
    job = job_of(candidate, "prepare", quick=quick)
    if not _has_own_format(candidate):
        return ""
    kept = job.prepared_path / "prepared.json"
    wanted = {"versions": peer_versions(environment)}
    # forebay's own is always made anew: it is what changes from run to run
    if kept.is_file() and candidate.peer != "forebay":
        found = json.loads(kept.read_text())
        if found["versions"] == wanted["versions"]:
            results.add("prepare", **_name(candidate), quick=quick, **found)
            return ""
    shutil.rmtree(job.prepared_path, ignore_errors=True)
    watched = run_job(environment.python, job, timeout_s=max(options.timeout_s, 600), sample=False)
    if not watched.ok:
        return f"could not prepare: {watched.message['reason']}"
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    size = sum(one.stat().st_size for one in job.prepared_path.rglob("*") if one.is_file())
    found = {**wanted, "prepare_s": watched.message["prepare_s"], "prepared_bytes": size}
    kept.write_text(json.dumps(found))
    results.add("prepare", **_name(candidate), quick=quick, **found)
    return ""


def _has_own_format(candidate: Candidate) -> bool:
    """Whether the peer's file says how to make one; it can be imported in the peer's environment only."""
    source = Path(__file__).parent / "peers" / f"{candidate.peer}.py"
    return f"def prepare_{candidate.workload}(" in source.read_text()


def _check(candidate: Candidate, environment: PeerEnvironment, options: SuiteOptions, results: Results) -> str:
    """Check a small epoch; the reason if it does not even run."""
    known = results.of("check", **_name(candidate))
    if known and candidate.peer != "forebay" and not options.recheck:
        return ""
    watched = run_job(environment.python, job_of(candidate, "check", quick=True), timeout_s=180, sample=False)
    if not watched.ok:
        return f"fails: {watched.message['reason']}"
    found = {key: value for key, value in watched.message.items() if key != "event"}
    results.add("check", **_name(candidate), **found)
    return ""


def _time_in_turns(
    options: SuiteOptions, ready: Ready, results: Results, say: Callable[[str], None], seconds: float | None
) -> None:
    """A B A B: every candidate once, then every candidate again, within `seconds` if they are given."""
    until = None if seconds is None else time.monotonic() + seconds
    slot = _QUICK if options.quick else (None, None) if seconds is None else _slot(seconds / max(1, len(ready)))
    turn = 0
    while ready and (turn < options.repeats if until is None else True):
        for candidate, environment in ready:
            if until is not None and time.monotonic() + sum(_slot(0.0)) > until:
                _say_unreached(results, ready, options, say)
                return
            if results.of("time", **_name(candidate), quick=options.quick, turn=turn):
                continue
            job = replace(job_of(candidate, "time", quick=options.quick), warm_s=slot[0], measure_s=slot[1])
            watched = run_job(environment.python, job, timeout_s=options.timeout_s)
            _keep(results, candidate, watched, quick=options.quick, turn=turn)
            say(f"{candidate.workload:<14} {candidate.name:<34} {_told(watched)}")
        turn += 1


def _slot(seconds: float) -> tuple[float, float]:
    """(warming, measuring) seconds of a run that may take `seconds`: two turns if they fit, else one, never too short."""
    measuring = (seconds / 2 if seconds > 2 * (_START_S + 4.5) else seconds) - _START_S
    return min(3.0, max(1.0, measuring / 3)), min(8.0, max(2.0, measuring * 2 / 3))


def _say_unreached(
    results: Results,
    ready: Ready,
    options: SuiteOptions,
    say: Callable[[str], None],
) -> None:
    for candidate, _ in ready:
        if not results.of("time", **_name(candidate), quick=options.quick):
            say(f"{candidate.workload:<14} {candidate.name:<34} not reached in the time given")
            results.add("absent", **_name(candidate), quick=options.quick, reason="not reached in the time given")


def _keep(results: Results, candidate: Candidate, watched: Watched, *, quick: bool, turn: int) -> None:
    figures: dict[str, Any] = {key: value for key, value in watched.message.items() if key != "event"}
    results.add(
        "time",
        **_name(candidate),
        quick=quick,
        turn=turn,
        ok=watched.ok,
        peak_pss=watched.peak_pss,
        peak_without_files=watched.peak_without_files,
        total_s=watched.total_s,
        **figures,
    )


def job_of(candidate: Candidate, mode: Mode, *, quick: bool) -> Job:
    """The job of a candidate on the full or the toy data set, which is made if it is not there."""
    data: Path = importlib.import_module(f"forebay.bench.workloads.{candidate.workload}").make_data(quick=quick)
    return Job(
        workload=candidate.workload,
        peer=candidate.peer,
        mode=mode,
        data=str(data),
        prepared=str(data_home() / "prepared" / f"{data.name}-{candidate.workload}-{candidate.peer}"),
        settings=candidate.settings,
        limit=candidate.limit,
    )


def _name(candidate: Candidate) -> dict[str, Any]:
    return {"workload": candidate.workload, "candidate": candidate.name, "limit": candidate.limit}


def _told(watched: Watched) -> str:
    if not watched.ok:
        return f"fails: {watched.message['reason']}"
    found = watched.message
    rate = found["samples"] / found["wall_s"]
    return f"{rate:>12,.0f}/s  {watched.peak_pss / 1e6:>7,.0f} MB  first batch after {found['first_batch_s']:.2f} s"
