"""Curves that show what grows with what: `python -m forebay.bench.scaling [CURVE ...] [--quick] [--repeats N] [--out DIR]`.

threads, batch, sample, size: see `scaling_curves`. Cost a sample, memory and time to the first batch should not grow with the
data set. Writes `scaling.json`, `scaling.md` and `scaling.svg`, which `python -m forebay.bench.publish` takes into the
documentation; with `--quick` they are called `scaling-quick`. Curves that are not asked for stay as they were measured before.
"""

import argparse
import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from forebay.bench.catalog import CANDIDATES
from forebay.bench.environment import machine
from forebay.bench.measure import run_job
from forebay.bench.peer_env import peer_environment
from forebay.bench.places import home
from forebay.bench.runner import SuiteOptions, prepare_format
from forebay.bench.scaling_curves import CURVES, PREPARED, Point, points
from forebay.bench.scaling_report import picture, table
from forebay.formats.errors import SpecError, UnknownNameError

_TIMEOUT_S = 180.0


def measure(point: Point, *, quick: bool) -> dict[str, Any]:
    """One run: rate, CPU rate, memory, time to the first batch."""
    job = replace(point.job, warm_s=0.2 if quick else 1.0, measure_s=0.3 if quick else 2.0)
    watched = run_job(peer_environment(point.environment).python, job, timeout_s=_TIMEOUT_S)
    record = {"curve": point.curve, "system": point.system, "x": point.x, "ok": watched.ok}
    if not watched.ok:
        return {**record, "reason": watched.message["reason"]}
    found = watched.message
    return {
        **record,
        "rate": found["samples"] / found["wall_s"],
        "cpu_rate": found["samples"] / max(found["cpu_s"], 0.01),
        "first_batch_s": found["first_batch_s"],
        "peak_pss": watched.peak_pss,
        "peak_without_files": watched.peak_without_files,
    }


def merged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One record of the runs of a place: medians of those that did not fail."""
    good = [one for one in runs if one["ok"]]
    if not good:
        return runs[-1]
    figures = [
        name for name, value in good[0].items() if isinstance(value, float) and name != "x" or name.startswith("peak")
    ]
    return {**good[0], **{name: statistics.median(one[name] for one in good) for name in figures}}


def run_curve(name: str, *, quick: bool, repeats: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records of a curve, its places and systems in turn, `repeats` times over; and where it was measured."""
    before = machine()
    every = list(points(name, quick=quick))
    runs: list[list[dict[str, Any]]] = [[] for _ in every]
    for _ in range(repeats):
        for point, mine in zip(every, runs, strict=True):
            mine.append(measure(point, quick=quick))
            sys.stderr.write(f"{json.dumps(mine[-1])}\n")
    after = {"load_after": list(os.getloadavg()), "settings": {"repeats": repeats}}
    return [merged(one) for one in runs], {**before, **after}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure the curves that are named, or all; write what was found, and print the tables."""
    parser = argparse.ArgumentParser(description="What grows with what.")
    parser.add_argument("curves", nargs="*", help=", ".join(CURVES))
    parser.add_argument("--quick", action="store_true", help="toy size: shows that it runs")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each place; medians count")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args(arguments)
    for name in given.curves:
        if name not in CURVES:
            raise UnknownNameError.of("curve", name, CURVES, where="scaling")
    if given.repeats < 1:
        raise SpecError(f"repeats is {given.repeats}; expected at least 1")
    out = given.out or home() / "results"
    out.mkdir(parents=True, exist_ok=True)
    kept = out / f"scaling{'-quick' if given.quick else ''}.json"
    _prepare(given.quick)
    records: list[dict[str, Any]] = []
    for name in given.curves or CURVES:
        found, where = run_curve(name, quick=given.quick, repeats=given.repeats)
        records += found
        _keep(kept, found, where)
    text = kept.with_suffix(".md").read_text()
    sys.stdout.write(text)
    return records


def _keep(path: Path, found: list[dict[str, Any]], where: dict[str, Any]) -> None:
    """Add what a curve gave to what is kept, at once: a run that is stopped has what it measured."""
    before = json.loads(path.read_text()) if path.is_file() else {"measured": {}, "records": []}
    now = {one["curve"] for one in found}
    records = [one for one in before["records"] if one["curve"] not in now] + found
    measured = {**before["measured"], **dict.fromkeys(sorted(now), where)}
    path.write_text(json.dumps({"measured": measured, "records": records}, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(records, measured))
    try:
        picture(records, path.with_suffix(".svg"))
    except SpecError as error:
        sys.stderr.write(f"{error}\n")


def _prepare(quick: bool) -> None:
    """forebay's own formats, which the curves read."""
    for workload in PREPARED:
        found = next(one for one in CANDIDATES[workload] if one.peer == "forebay")
        reason = prepare_format(found, peer_environment("main"), SuiteOptions(), quick=quick)
        if reason:
            raise SpecError(f"forebay's format for {workload} is missing: {reason}")


if __name__ == "__main__":
    main()
