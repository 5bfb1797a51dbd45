"""Curves that show what grows with what: `python -m forebay.bench.scaling [CURVE ...] [--quick] [--out DIR]`.

threads: of forebay and workers of torch. batch: samples of a batch. sample: bytes of a sample. size: bytes of the data set, up to
50 GB, by files that are hard links of one another (forebay) or sparse (torch): cost a sample, memory and time to the first
batch should not grow with it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forebay.bench.catalog import CANDIDATES
from forebay.bench.datasets.tokens import LENGTH
from forebay.bench.job import Candidate, Job
from forebay.bench.measure import run_job
from forebay.bench.peer_env import peer_environment
from forebay.bench.places import data_home, home
from forebay.bench.runner import job_of
from forebay.formats.errors import UnknownNameError

_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Point:
    """One place on a curve."""

    curve: str
    system: str
    x: float
    job: Job
    environment: str = "main"


def points(curve: str, *, quick: bool) -> Iterator[Point]:
    """The points of a curve, systems in turn at each place."""
    yield from CURVES[curve](quick)


def _job(workload: str, peer: str, quick: bool, **settings: Any) -> Job:
    """A candidate's job with other settings."""
    found: Candidate = next(one for one in CANDIDATES[workload] if one.peer == peer)
    return replace(job_of(found, "time", quick=quick), settings=settings)


def _threads(quick: bool) -> Iterator[Point]:
    for workload in ("tokens", "images", "images_cached", "tabular"):
        decoder = {"decoder": "pillow"} if workload == "images" else {}
        for count in (0, 1, 2):
            name = f"threads, {workload}"
            yield Point(name, "forebay", count, _job(workload, "forebay", quick, threads=count))
            yield Point(name, "torch", count, _job(workload, "torch_loader", quick, workers=count, **decoder))


def _batch(quick: bool) -> Iterator[Point]:
    for batch in (1, 8, 64) if quick else (1, 4, 16, 64, 256):
        for system, peer, settings in (
            ("forebay", "forebay", {"threads": 2}),
            ("torch, 0 workers", "torch_loader", {"workers": 0}),
        ):
            yield Point("batch, tokens", system, batch, replace(_job("tokens", peer, quick, **settings), batch=batch))


def _sample(quick: bool) -> Iterator[Point]:
    for side in (8, 224) if quick else (8, 32, 112, 224, 400):
        for system, peer in (("forebay, 2 workers", "forebay"), ("torch, 2 workers", "torch_loader")):
            job = _job("transport", peer, quick, workers=2, side=side)
            yield Point("sample bytes, transport", system, 12 * side * side, job)


def _size(quick: bool) -> Iterator[Point]:
    base = _job("tokens", "forebay", quick, threads=2)
    one_file = (base.prepared_path / "tokens.arrow").stat().st_size
    for times in (1, 4) if quick else (1, 12, 125):
        linked = _linked(base.prepared_path, times, quick)
        yield Point("data bytes, tokens", "forebay", times * one_file, replace(base, prepared=str(linked)))
        sparse = _sparse(times * one_file, quick)
        torch_job = replace(_job("tokens", "torch_loader", quick, workers=0), data=str(sparse))
        yield Point("data bytes, tokens", "torch, 0 workers", times * one_file, torch_job)


CURVES: dict[str, Callable[[bool], Iterator[Point]]] = {
    "threads": _threads,
    "batch": _batch,
    "sample": _sample,
    "size": _size,
}


def _linked(prepared: Path, times: int, quick: bool) -> Path:
    """A directory in which `tokens.arrow` is a directory of hard links to one file."""
    target = data_home() / f"size-{times}{'-quick' if quick else ''}"
    inside = target / "tokens.arrow"
    inside.mkdir(parents=True, exist_ok=True)
    for number in range(times):
        link = inside / f"{number:04d}.arrow"
        link.unlink(missing_ok=True)
        os.link(prepared / "tokens.arrow", link)
    return target


def _sparse(size: int, quick: bool) -> Path:
    """A directory whose `tokens.bin` has this size, and holds nothing."""
    target = data_home() / f"size-sparse-{size}{'-quick' if quick else ''}"
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "tokens.bin", "wb") as file:
        file.truncate(size // (2 * LENGTH) * 2 * LENGTH + 2)
    return target


def measure(point: Point, *, quick: bool) -> dict[str, Any]:
    """One run: rate, CPU rate, memory, time to the first batch."""
    job = replace(point.job, warm_s=0.2 if quick else 1.0, measure_s=0.3 if quick else 3.0)
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


def table(records: list[dict[str, Any]]) -> str:
    """Markdown, a table a curve."""
    lines = ["# How it scales"]
    for curve in dict.fromkeys(one["curve"] for one in records):
        lines += [
            "",
            f"## {curve}",
            "",
            "| system | at | samples/s | samples/CPU s | first batch s | MB without files |",
        ]
        lines += ["|---|---:|---:|---:|---:|---:|"]
        for one in records:
            if one["curve"] != curve:
                continue
            figures = (
                f"{one['rate']:,.0f} | {one['cpu_rate']:,.0f} | {one['first_batch_s']:.2f} | "
                f"{one['peak_without_files'] / 1e6:,.0f}"
                if one["ok"]
                else f"{one['reason']} | | |"
            )
            lines.append(f"| {one['system']} | {one['x']:,.0f} | {figures} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure the curves that are named, or all; write `scaling.json` and `scaling.md`, and print the latter."""
    parser = argparse.ArgumentParser(description="What grows with what.")
    parser.add_argument("curves", nargs="*", help=", ".join(CURVES))
    parser.add_argument("--quick", action="store_true", help="toy size: shows that it runs")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args(arguments)
    for name in given.curves:
        if name not in CURVES:
            raise UnknownNameError.of("curve", name, CURVES, where="scaling")
    out = given.out or home() / "results"
    out.mkdir(parents=True, exist_ok=True)
    _prepare(given.quick)
    records = []
    for name in given.curves or CURVES:
        for point in points(name, quick=given.quick):
            records.append(measure(point, quick=given.quick))
            sys.stderr.write(f"{json.dumps(records[-1])}\n")
    records = _with_others(out / "scaling.json", records)
    (out / "scaling.json").write_text(json.dumps(records, indent=2))
    (out / "scaling.md").write_text(table(records))
    sys.stdout.write(table(records))
    return records


def _with_others(kept: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records after those of curves that were measured before and not now."""
    before = json.loads(kept.read_text()) if kept.is_file() else []
    now = {one["curve"] for one in records}
    return [one for one in before if one["curve"] not in now] + records


def _prepare(quick: bool) -> None:
    """forebay's own formats, which the curves read."""
    for workload in ("tokens", "images", "images_cached", "tabular"):
        found = next(one for one in CANDIDATES[workload] if one.peer == "forebay")
        run_job(peer_environment("main").python, job_of(found, "prepare", quick=quick), timeout_s=600, sample=False)


if __name__ == "__main__":
    main()
