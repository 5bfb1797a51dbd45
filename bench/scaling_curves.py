"""The curves of `bench.scaling`: which runs stand on each.

threads: of forebay, workers of torch. batch: samples of a batch. sample: bytes of a sample. size: bytes of the data set, up to
50 GB, as one file under many names (hard links) that both systems take for many files: what differs between sizes is what a
system does about size, not how much the page cache holds.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forebay.bench.catalog import CANDIDATES
from forebay.bench.job import Candidate, Job
from forebay.bench.places import data_home
from forebay.bench.runner import job_of


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
    for workload in PREPARED:
        decoder = {"decoder": "pillow"} if workload == "images" else {}
        for count in (0, 1, 2):
            name = f"threads, {workload}"
            yield Point(name, "forebay", count, _job(workload, "forebay", quick, threads=count))
            yield Point(name, "torch", count, _job(workload, "torch_loader", quick, workers=count, **decoder))


def _batch(quick: bool) -> Iterator[Point]:
    for batch in (1, 8, 64) if quick else (1, 4, 16, 64, 256):
        for system, peer, settings in (
            ("forebay, 2 threads", "forebay", {"threads": 2}),
            ("torch, 0 workers", "torch_loader", {"workers": 0}),
        ):
            yield Point("batch, tokens", system, batch, replace(_job("tokens", peer, quick, **settings), batch=batch))


def _sample(quick: bool) -> Iterator[Point]:
    for side in (8, 224) if quick else (8, 32, 112, 224, 400):
        for system, peer in (("forebay, 2 workers", "forebay"), ("torch, 2 workers", "torch_loader")):
            job = _job("transport", peer, quick, workers=2, side=side)
            yield Point("sample bytes, transport", system, 12 * side * side, job)


SIZE = "data bytes, tokens"


def _size(quick: bool) -> Iterator[Point]:
    ours, torch = _job("tokens", "forebay", quick, threads=2), _job("tokens", "torch_loader", quick, workers=0)
    rows, ids = ours.prepared_path / "tokens.arrow", torch.data_path / "tokens.bin"
    for times in (1, 4) if quick else (1, 12, 125):
        at = data_home() / f"scaling-{times}{'-quick' if quick else ''}"
        _link(rows, [at / "rows" / "tokens.arrow" / f"{number:04d}.arrow" for number in range(times)])
        _link(ids, [at / "ids" / f"{number:04d}" / "tokens.bin" for number in range(times)])
        size = times * ids.stat().st_size
        yield Point(SIZE, "forebay, 2 threads", size, replace(ours, prepared=str(at / "rows")))
        yield Point(SIZE, "torch, 0 workers", size, replace(torch, data=str(at / "ids")))


def _link(file: Path, links: list[Path]) -> None:
    """Other names of one file: none takes room."""
    for link in links:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)  # the file may have been made anew since
        os.link(file, link)


PREPARED = ("tokens", "images", "images_cached", "tabular")
"""Workloads of which the curves read forebay's own format."""
CURVES: dict[str, Callable[[bool], Iterator[Point]]] = {
    "threads": _threads,
    "batch": _batch,
    "sample": _sample,
    "size": _size,
}
