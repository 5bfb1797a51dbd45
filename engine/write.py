"""Write a data set: units in parallel, each exactly once, then the manifest."""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forebay.engine.bad_rows import BadRowBudget
from forebay.engine.fingerprint import fingerprint
from forebay.engine.graph import Graph
from forebay.engine.journal import NAME as JOURNAL
from forebay.engine.journal import Journal
from forebay.engine.memory import MemoryBudget
from forebay.engine.ordered import available_threads, in_order
from forebay.engine.plan import Plan, make_plan
from forebay.engine.run_unit import Shared, Target, UnitReport, run_unit
from forebay.engine.work_unit import WorkUnit, make_units
from forebay.engine.write_options import WriteOptions
from forebay.engine.write_report import QUARANTINE, STATE, WriteReport, make_manifest, make_report
from forebay.formats.errors import SpecError, StateError
from forebay.formats.manifest import Manifest, has_manifest
from forebay.formats.source import Source
from forebay.formats.store import Store, store_for


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    rows: int
    nbytes: int
    total_bytes: int
    bad: int


def write(
    source: Source,
    graph: Graph,
    path: str,
    options: WriteOptions,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> WriteReport:
    """Run `graph` over `source` and write shards, manifest, fitted state and quarantine to the directory `path`.

    Killed at any point and started again, it redoes the unfinished units only, and the result is byte for byte that of an
    undisturbed run.

    Raises:
        StateError: the directory holds a run of another recipe or input, or another process writes there now.
        SpecError: the directory holds other files.
        DataError: too many bad rows.
    """
    plan = make_plan(source.schema, graph)
    if plan.batch_transforms:
        name = type(plan.batch_transforms[0][1]).__name__
        raise SpecError(f"{name} mixes the rows of a training batch, so it cannot be written; leave it to the loader")
    identity = fingerprint(source.identity(), plan.fingerprint, options.shaping())
    store, directory = store_for(path)
    done = _finished(store, directory, identity, options)
    if done:
        return make_report(path, done, [], 0, 0, already_done=True)
    store.make_directory(directory)
    assert not isinstance(options.unit_bytes, str)
    units = make_units(source.fragments(), target_bytes=options.unit_bytes)
    run = _Run(source, graph, plan, Target(store, directory, options), progress)
    if not store.local:
        return _write_remote(run, units, identity)
    _refuse_strangers(Path(directory))
    with Journal(Path(directory), identity).open() as journal:
        store.sweep(directory)
        resumed = len(journal.done)
        reports = run.all(units, journal)
        manifest = _finish(run, reports, identity)
        journal.remove()
    return make_report(path, manifest, reports, resumed, run.shared.memory.peak)


class _Run:
    """One run over all units."""

    def __init__(
        self, source: Source, graph: Graph, plan: Plan, target: Target, progress: Callable[[Progress], None] | None
    ) -> None:
        self.source, self.graph, self.plan, self.target = source, graph, plan, target
        self._progress, self._state = progress, Progress(0, 0, sum(one.nbytes for one in source.fragments()), 0)
        self._lock = threading.Lock()
        limit = target.options.memory
        assert limit is None or isinstance(limit, int)
        self.shared = Shared(BadRowBudget(target.options.policy), MemoryBudget(limit), self._advance)

    def all(self, units: list[WorkUnit], journal: Journal) -> list[UnitReport]:
        """Reports of all units, in order: those of an earlier run from the journal, the others as they come."""
        reports = {at: UnitReport(at, **entry) for at, entry in journal.done.items()}
        for one in reports.values():
            self._advance(one.read, one.nbytes, sum(one.bad.values()))
            self.shared.budget.add(read=one.read, bad=sum(one.bad.values()))
        todo = [one for one in units if one.index not in reports]
        threads = self.target.options.threads or available_threads()
        for report in self._run(todo, min(threads, max(len(todo), 1))):
            journal.record(report.unit, report.to_json())
            reports[report.unit] = report
        self.shared.budget.check_end()
        return [reports[one.index] for one in units]

    def _run(self, units: list[WorkUnit], workers: int) -> Iterator[UnitReport]:
        if self.plan.opaque and not self.plan.local_only and workers > 1:
            yield from self._in_processes(units, workers)
        elif workers == 1:
            yield from (run_unit(self.source, self.plan, one, self.target, self.shared) for one in units)
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="forebay-unit") as pool:
                call = lambda one: run_unit(self.source, self.plan, one, self.target, self.shared)  # noqa: E731
                yield from in_order(pool, call, units, ahead=2 * workers)

    def _in_processes(self, units: list[WorkUnit], workers: int) -> Iterator[UnitReport]:
        """Opaque Python holds the interpreter's lock, so it gets interpreters of its own. Spawned, never forked: Arrow and
        Polars have threads already."""
        setup = (self.source, self.graph, self.target.directory, self.target.options, workers)
        pool: Executor = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_set_up_worker, initargs=setup
        )
        with pool:
            for report in in_order(pool, _run_in_worker, units, ahead=2 * workers):
                bad = sum(report.bad.values())
                self.shared.budget.add(read=report.read, bad=bad)
                self._advance(report.read, report.nbytes, bad)
                yield report

    def _advance(self, rows: int, nbytes: int, bad: int) -> None:
        with self._lock:  # called by all threads
            now = self._state
            self._state = replace(now, rows=now.rows + rows, nbytes=now.nbytes + nbytes, bad=now.bad + bad)
            if self._progress:
                self._progress(self._state)


_worker: dict[str, Any] = {}


def _set_up_worker(source: Source, graph: Graph, directory: str, options: WriteOptions, workers: int) -> None:
    limit = options.memory
    share = limit // workers if isinstance(limit, int) else None
    _worker["source"] = source
    _worker["plan"] = make_plan(source.schema, graph)
    _worker["target"] = Target(store_for(directory)[0], directory, options)
    # the parent judges the budget for all workers together
    _worker["shared"] = Shared(BadRowBudget(replace(options, max_bad=None).policy), MemoryBudget(share))


def _run_in_worker(unit: WorkUnit) -> UnitReport:
    return run_unit(_worker["source"], _worker["plan"], unit, _worker["target"], _worker["shared"])


def _finished(store: Store, directory: str, identity: str, options: WriteOptions) -> Manifest | None:
    """The manifest if this very output is there already; refuses another one, or takes it away."""
    exists = store.exists(directory) and store.is_directory(directory)
    manifest = Manifest.read(store, directory) if exists and has_manifest(store, directory) else None
    if manifest and manifest.fingerprint == identity:
        _tidy(store, directory)
        return manifest
    if exists and options.overwrite and store.local:
        known = manifest is not None or (Path(directory) / JOURNAL).exists()
        if known:  # never delete a directory that forebay did not write
            shutil.rmtree(directory)
        return None
    if manifest:
        raise StateError(
            f"{directory} holds the output of another recipe, input or setting (fingerprint {manifest.fingerprint}, now "
            f"{identity}); choose another output, or replace it with overwrite=True (--overwrite)"
        )
    return None


def _tidy(store: Store, directory: str) -> None:
    """Take away what a run leaves that was killed when its manifest was written and nothing but this was left to do."""
    if store.local:
        store.sweep(directory)
        for one in [*Path(directory).glob("_part-*.quarantine"), Path(directory) / JOURNAL]:
            one.unlink(missing_ok=True)


def _refuse_strangers(directory: Path) -> None:
    ours = {JOURNAL}
    strangers = [
        one.name
        for one in directory.iterdir()
        if one.name not in ours
        and not one.name.startswith((".", "part-", "_part-"))
        and one.name not in (STATE, QUARANTINE)
    ]
    if strangers:
        raise SpecError(
            f"{directory} holds other files ({', '.join(sorted(strangers)[:3])}); give an empty or new directory for the output"
        )


def _finish(run: _Run, reports: list[UnitReport], identity: str) -> Manifest:
    target = run.target
    quarantined = [one.quarantine for one in reports if one.quarantine]
    if quarantined:
        tables = []
        for name in quarantined:
            with target.store.open_input(f"{target.directory}/{name}") as file:
                tables.append(pq.read_table(file))
        with target.store.publish(f"{target.directory}/{QUARANTINE}") as stream:
            pq.write_table(pa.concat_tables(tables), stream, compression="zstd")
    manifest = make_manifest((run.source, run.graph, run.plan), run.target, reports, identity)
    manifest.write(target.store, target.directory)
    for name in quarantined:
        target.store.delete(f"{target.directory}/{name}")
    return manifest


def _write_remote(run: "_Run", units: list[WorkUnit], identity: str) -> WriteReport:
    """Object stores have no append and no lock, so there is no journal: the manifest alone says that a run is complete."""
    threads = run.target.options.threads or available_threads()
    reports = list(run._run(units, min(threads, max(len(units), 1))))
    run.shared.budget.check_end()
    manifest = _finish(run, reports, identity)
    return make_report(run.target.directory, manifest, reports, 0, run.shared.memory.peak)
