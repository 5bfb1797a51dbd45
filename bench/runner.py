"""The suite's run: environments, data, each peer's own format, checks, then timing in turns."""

import importlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

from forebay.bench.catalog import CANDIDATES, WORKLOADS
from forebay.bench.environment import machine, peer_versions
from forebay.bench.job import Candidate, Job, Mode
from forebay.bench.measure import run_job
from forebay.bench.peer_env import PeerEnvironment, peer_environment
from forebay.bench.places import data_home
from forebay.bench.results import Results
from forebay.bench.turns import Pace, Run, name_of, time_in_turns
from forebay.formats.errors import SpecError, UnknownNameError

NOBODY = "nobody"
"""In `against`: forebay and the limits alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What to run and how long."""

    workloads: tuple[str, ...] = ()
    """Names of workloads; none: all of them."""
    against: tuple[str, ...] = ()
    """Parts of the names of peers or environments; none: all; "nobody": no peer. forebay and the limits always run."""
    quick: bool = False
    """Toy size: shows that all of it runs, not how fast."""
    repeats: int = 3
    seconds: float = 2.0
    """That are timed of a run, after half as many; preparations are timed whole."""
    epochs: bool = False
    """Time the whole second epoch of each run instead."""
    timeout_s: float = 300.0
    """Of one run."""
    prepare_only: bool = False
    """Make environments, data and formats, and check; time nothing."""

    def __post_init__(self) -> None:
        for name in self.workloads:
            if name not in WORKLOADS:
                raise UnknownNameError.of("workload", name, WORKLOADS, where="bench")
        for part in self.against:
            if part != NOBODY and not any(_matches(part, one) for name in self.chosen for one in CANDIDATES[name]):
                known = sorted({one.system for name in self.chosen for one in CANDIDATES[name] if not one.limit})
                raise SpecError(
                    f"against: no system has {part!r} in its name; there are {', '.join(known)}, or {NOBODY!r}"
                )
        if self.repeats < 1 or self.seconds <= 0:
            raise SpecError(f"repeats is {self.repeats} and seconds is {self.seconds}; expected both above 0")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The workloads to run."""
        return self.workloads or WORKLOADS

    @property
    def pace(self) -> Pace:
        """How its runs are timed."""
        seconds = 0.4 if self.quick else self.seconds
        return Pace(
            repeats=self.repeats,
            warm_s=None if self.epochs else seconds / 2,
            measure_s=None if self.epochs else seconds,
            timeout_s=self.timeout_s,
            quick=self.quick,
        )

    def candidates(self, workload: str) -> list[Candidate]:
        """Those of a workload that are asked for."""
        every = CANDIDATES[workload]
        if not self.against:
            return list(every)
        return [
            one
            for one in every
            if one.limit or one.peer == "forebay" or any(_matches(part, one) for part in self.against)
        ]


def _matches(part: str, one: Candidate) -> bool:
    return part.lower() in f"{one.name} {one.environment} {one.peer}".lower()


def run_suite(options: SuiteOptions, results: Results, say: Callable[[str], None]) -> None:
    """Measure, adding to `results` as it goes."""
    ready = {}
    for name in options.chosen:
        began = time.monotonic()
        ready[name] = _ready(options, name, results, say)
        say(f"{name:<14} {len(ready[name])} candidates are ready, after {time.monotonic() - began:.0f} s")
    if options.prepare_only:
        return
    for name, made in ready.items():
        before, began = machine(), time.monotonic()
        runs: list[Run] = [
            (one, environment.python, job_of(one, "time", quick=options.quick)) for one, environment in made
        ]
        time_in_turns(options.pace, runs, results, say)
        versions = {name: found for _, one in made for name, found in peer_versions(one).items()}
        say(f"{name:<14} measured in {(time.monotonic() - began) / 60:.1f} minutes")
        results.add(
            "machine",
            **before,
            workloads=[name],
            peers=versions,
            load_after=list(os.getloadavg()),
            quick=options.quick,
            settings={"repeats": options.repeats, "seconds": options.seconds, "epochs": options.epochs},
        )


def _ready(
    options: SuiteOptions, workload: str, results: Results, say: Callable[[str], None]
) -> list[tuple[Candidate, PeerEnvironment]]:
    """The candidates that installed, prepared and ran their check, limits included."""
    made = []
    prepared: dict[str, str] = {}
    for candidate in options.candidates(workload):
        environment = peer_environment(candidate.environment)
        reason = f"does not install: {environment.reason}" if environment.reason else ""
        if not reason:
            if candidate.peer not in prepared:
                prepared[candidate.peer] = _prepare_both(candidate, environment, options)
            reason = prepared[candidate.peer]
        if not reason:
            reason = _check(candidate, environment, results)
        if reason:
            say(f"{workload:<14} {candidate.name:<36} {reason}")
            results.add("absent", **name_of(candidate), quick=options.quick, reason=reason)
        else:
            _tell_preparation(candidate, options, results)
            made.append((candidate, environment))
    return made


def _prepare_both(candidate: Candidate, environment: PeerEnvironment, options: SuiteOptions) -> str:
    """The toy size, which checks need, and the full one; the reason if it cannot."""
    if not has_own_format(candidate):
        return ""
    reason = prepare_format(candidate, environment, options, quick=True)
    return reason or ("" if options.quick else prepare_format(candidate, environment, options, quick=False))


def prepare_format(candidate: Candidate, environment: PeerEnvironment, options: SuiteOptions, *, quick: bool) -> str:
    """Make a peer's own format, unless it is there from the same versions and code; the reason if it cannot."""
    job = job_of(candidate, "prepare", quick=quick)
    kept = job.prepared_path / "prepared.json"
    wanted = _identity(candidate, environment)
    if kept.is_file() and json.loads(kept.read_text()).get("identity") == wanted:
        return ""
    shutil.rmtree(job.prepared_path, ignore_errors=True)
    watched = run_job(environment.python, job, timeout_s=max(options.timeout_s, 600), sample=False)
    if not watched.ok:
        return f"could not prepare: {watched.message['reason']}"
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    size = sum(one.stat().st_size for one in job.prepared_path.rglob("*") if one.is_file())
    found = {"identity": wanted, "prepare_s": watched.message["prepare_s"], "prepared_bytes": size}
    kept.write_text(json.dumps(found))
    return ""


def _tell_preparation(candidate: Candidate, options: SuiteOptions, results: Results) -> None:
    kept = job_of(candidate, "prepare", quick=options.quick).prepared_path / "prepared.json"
    if has_own_format(candidate) and kept.is_file():
        found = json.loads(kept.read_text())
        results.add("prepare", **name_of(candidate), quick=options.quick, **found)


def has_own_format(candidate: Candidate) -> bool:
    """Whether the peer's file says how to make one; it can be imported in the peer's environment only."""
    return f"def prepare_{candidate.workload}(" in _source("peers", candidate.peer)


def _identity(candidate: Candidate, environment: PeerEnvironment) -> dict[str, Any]:
    """What a format or a check was made with: versions, our own code for the peer and the workload; all of forebay's for it."""
    code = _source("peers", candidate.peer) + _source("workloads", candidate.workload)
    if candidate.peer == "forebay":
        code += _own_code()
    return {"versions": peer_versions(environment), "code": xxhash.xxh64_hexdigest(code.encode())}


@cache
def _own_code() -> str:
    """Every module of forebay that a benchmark of it runs."""
    root = Path(__file__).parent.parent
    folders = [root / name for name in ("formats", "transforms", "engine", "loaders")]
    files = [
        Path(place) / name for one in folders for place, _, names in os.walk(one, followlinks=True) for name in names
    ]
    return "".join(one.read_text() for one in sorted(files) if one.suffix == ".py")


def _source(folder: str, module: str) -> str:
    return (Path(__file__).parent / folder / f"{module}.py").read_text()


def _check(candidate: Candidate, environment: PeerEnvironment, results: Results) -> str:
    """Check a small epoch; the reason if it does not even run. What passed with the same versions and code is known."""
    wanted = _identity(candidate, environment)
    known = results.of("check", **name_of(candidate))
    if known and known[-1].get("identity") == wanted:
        return ""
    watched = run_job(environment.python, job_of(candidate, "check", quick=True), timeout_s=180, sample=False)
    if not watched.ok:
        return f"fails: {watched.message['reason']}"
    found = {key: value for key, value in watched.message.items() if key != "event"}
    results.add("check", **name_of(candidate), identity=wanted, **found)
    return ""


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
