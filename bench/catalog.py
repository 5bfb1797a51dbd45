"""Which candidates a workload has, the most telling first: a short time budget measures those it reaches."""

from typing import Any

from forebay.bench.job import Candidate

WORKLOADS = ("tokens", "images", "images_cached", "tabular", "python", "transport")
"""Modules of `forebay.bench.workloads`."""

CORES = 2
"""Threads, or worker processes, of every candidate that lets one choose; the figures are for a machine of two cores."""


def _of(workload: str, name: str, peer: str, environment: str = "main", **settings: Any) -> Candidate:
    return Candidate(
        name=name, workload=workload, peer=peer, environment=environment, settings=settings, limit=peer == "limits"
    )


def _torch(workload: str, workers: int, environment: str = "main", **settings: Any) -> Candidate:
    how = f", {settings['decoder']}" if "decoder" in settings else ""
    return _of(workload, f"torch, {workers} workers{how}", "torch_loader", environment, workers=workers, **settings)


CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "tokens": (
        _of("tokens", "limit: memory copy", "limits", threads=CORES),
        _of("tokens", "forebay", "forebay", threads=CORES),
        _torch("tokens", 0),
        _of("tokens", "numpy by hand", "by_hand", threads=0),
        _torch("tokens", 2),
        _torch("tokens", 1),
        _of("tokens", "numpy by hand, 2 threads", "by_hand", threads=CORES),
    ),
    "images": (
        _of("images", "limit: bare decode", "limits", threads=CORES),
        _of("images", "forebay", "forebay", threads=CORES),
        _torch("images", 2, decoder="pillow"),
        _torch("images", 2, "torchdata", decoder="opencv"),
    ),
    "images_cached": (
        _of("images_cached", "limit: memory copy", "limits", threads=CORES),
        _of("images_cached", "forebay", "forebay", threads=CORES),
        _of("images_cached", "numpy by hand", "by_hand", threads=CORES),
        _torch("images_cached", 2),
        _torch("images_cached", 0),
    ),
    "tabular": (
        _of("tabular", "limit: bare column read", "limits", threads=CORES),
        _of("tabular", "forebay", "forebay", threads=CORES),
        _torch("tabular", 0),
        _of("tabular", "pyarrow by hand", "by_hand", threads=CORES),
        _torch("tabular", 2),
    ),
    "python": (
        _of("python", "limit: no transport", "limits", processes=CORES),
        _of("python", "forebay, 2 workers", "forebay", workers=2),
        _torch("python", 2),
        _torch("python", 1),
        _torch("python", 0),
    ),
    "transport": (
        _of("transport", "limit: memory copy", "limits", threads=CORES),
        _of("transport", "forebay, 2 workers", "forebay", workers=2),
        _of("transport", "forebay, 0 workers", "forebay", workers=0),
        _torch("transport", 2),
        _torch("transport", 0),
    ),
}
