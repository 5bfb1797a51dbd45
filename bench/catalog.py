"""Which candidates a workload has, the most telling first: a short time budget measures those it reaches."""

from typing import Any

from forebay.bench.job import Candidate

WORKLOADS = (
    "tokens",
    "images",
    "images_cached",
    "tabular",
    "python",
    "transport",
    "ragged_text",
    "prep_tabular",
    "prep_text",
)
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


def _torchdata(workload: str, how: str, workers: int) -> Candidate:
    kind = f"stateful, {workers} workers" if how == "stateful" else f"nodes, {workers} {how}s"
    return _of(workload, f"torchdata {kind}", "torchdata_loader", "torchdata", how=how, workers=workers)


CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "tokens": (
        _of("tokens", "limit: memory copy", "limits", threads=CORES),
        _of("tokens", "forebay", "forebay", threads=CORES),
        _torch("tokens", 0),
        _of("tokens", "numpy by hand", "by_hand", threads=0),
        _of("tokens", "datatrove", "datatrove_loader", "datatrove", workers=0),
        _of("tokens", "DALI", "dali_loader", "dali", threads=CORES),
        _of("tokens", "LitData", "litdata_loader", "litdata", workers=0),
        _of("tokens", "HF datasets", "hf_datasets", "hf", workers=0),
        _of("tokens", "Grain", "grain_loader", "grain", threads=CORES),
        _of("tokens", "SPDL", "spdl_loader", "spdl", threads=CORES),
        _torchdata("tokens", "stateful", 0),
        _torchdata("tokens", "thread", CORES),
        _of("tokens", "Mosaic streaming", "mosaic_streaming", "mosaic", workers=0),
        _torch("tokens", 2),
        _torch("tokens", 1),
        _of("tokens", "numpy by hand, 2 threads", "by_hand", threads=CORES),
        _of("tokens", "LitData, 2 workers", "litdata_loader", "litdata", workers=2),
    ),
    "images": (
        _of("images", "limit: bare decode", "limits", threads=CORES),
        _of("images", "forebay", "forebay", threads=CORES),
        _torch("images", 2, decoder="pillow"),
        _of("images", "SPDL with OpenCV", "spdl_loader", "spdl", threads=CORES),
        _of("images", "Grain with OpenCV", "grain_loader", "grain", threads=CORES),
        _of("images", "DALI", "dali_loader", "dali", threads=CORES),
        _torch("images", 2, "torchdata", decoder="opencv"),
        _torchdata("images", "thread", CORES),
        _of("images", "LitData, 2 workers", "litdata_loader", "litdata", workers=2),
        _of("images", "HF datasets, 2 workers", "hf_datasets", "hf", workers=2),
        _torchdata("images", "stateful", 2),
        _of("images", "Mosaic streaming, 2 workers", "mosaic_streaming", "mosaic", workers=2),
        _of("images", "WebDataset, 2 workers", "webdataset_loader", "webdataset", workers=2),
        _of("images", "Ray Data", "ray_data", "ray", cpus=CORES),
        _of("images", "FFCV", "ffcv_loader", "ffcv", workers=2),
        _torch("images", 0, decoder="pillow"),
    ),
    "images_cached": (
        _of("images_cached", "limit: memory copy", "limits", threads=CORES),
        _of("images_cached", "forebay", "forebay", threads=CORES),
        _torch("images_cached", 2),
        _of("images_cached", "DALI", "dali_loader", "dali", threads=CORES),
        _of("images_cached", "SPDL", "spdl_loader", "spdl", threads=CORES),
        _of("images_cached", "Grain", "grain_loader", "grain", threads=CORES),
        _of("images_cached", "numpy by hand", "by_hand", threads=CORES),
        _of("images_cached", "LitData, 2 workers", "litdata_loader", "litdata", workers=2),
        _torch("images_cached", 0),
        _of("images_cached", "HF datasets, 2 workers", "hf_datasets", "hf", workers=2),
        _torchdata("images_cached", "thread", CORES),
        _of("images_cached", "Mosaic streaming, 2 workers", "mosaic_streaming", "mosaic", workers=2),
        _of("images_cached", "WebDataset, 2 workers", "webdataset_loader", "webdataset", workers=2),
    ),
    "tabular": (
        _of("tabular", "limit: bare column read", "limits", threads=CORES),
        _of("tabular", "forebay", "forebay", threads=CORES),
        _torch("tabular", 0),
        _of("tabular", "Grain", "grain_loader", "grain", threads=CORES),
        _torchdata("tabular", "thread", CORES),
        _of("tabular", "SPDL", "spdl_loader", "spdl", threads=CORES),
        _of("tabular", "pyarrow by hand", "by_hand", threads=CORES),
        _of("tabular", "Polars", "polars_loader"),
        _of("tabular", "HF datasets, streaming", "hf_datasets", "hf", workers=0),
        _torch("tabular", 2),
        _torchdata("tabular", "stateful", 0),
        _of("tabular", "Ray Data", "ray_data", "ray", cpus=CORES),
    ),
    "python": (
        _of("python", "limit: no transport", "limits", processes=CORES),
        _of("python", "forebay, 2 workers", "forebay", workers=2),
        _torch("python", 2),
        _of("python", "DALI, 2 workers", "dali_loader", "dali", workers=2),
        _of("python", "Grain, 2 workers", "grain_loader", "grain", workers=2),
        _of("python", "SPDL, 2 workers", "spdl_loader", "spdl", workers=2),
        _torchdata("python", "stateful", 2),
        _torchdata("python", "process", 2),
        _torch("python", 1),
        _torch("python", 0),
    ),
    "transport": (
        _of("transport", "limit: memory copy", "limits", threads=CORES),
        _of("transport", "forebay, 2 workers", "forebay", workers=2),
        _of("transport", "forebay, 0 workers", "forebay", workers=0),
        _torch("transport", 2),
        _of("transport", "DALI, one thread", "dali_loader", "dali", workers=0),
        _of("transport", "Grain, one thread", "grain_loader", "grain", workers=0),
        _torch("transport", 0),
        _of("transport", "Grain, 2 workers", "grain_loader", "grain", workers=2),
        _of("transport", "DALI, 2 workers", "dali_loader", "dali", workers=2),
        _of("transport", "SPDL, 2 workers", "spdl_loader", "spdl", workers=2),
        _torchdata("transport", "thread", CORES),
        _torchdata("transport", "stateful", 2),
    ),
    "ragged_text": (
        _of("ragged_text", "limit: bare tokenizer", "limits", processes=CORES),
        _torch("ragged_text", 0),
        _torch("ragged_text", 2),
        _of("ragged_text", "Grain", "grain_loader", "grain", threads=CORES),
        _of("ragged_text", "SPDL", "spdl_loader", "spdl", threads=CORES),
        _of("ragged_text", "HF datasets", "hf_datasets", "hf", workers=0),
        _of("ragged_text", "HF datasets, 2 workers", "hf_datasets", "hf", workers=2),
        _torchdata("ragged_text", "thread", CORES),
        _torchdata("ragged_text", "stateful", 2),
    ),
    "prep_text": (
        _of("prep_text", "limit: read and write", "limits", threads=CORES),
        _of("prep_text", "forebay", "forebay"),
        _of("prep_text", "Polars streaming", "text_preparation", how="polars"),
        _of("prep_text", "pyarrow", "text_preparation", how="pyarrow"),
        _of("prep_text", "pandas", "text_preparation", how="pandas"),
        _of("prep_text", "datatrove, 2 tasks", "datatrove_preparation", "datatrove", tasks=CORES),
        _of("prep_text", "HF datasets, map", "hf_datasets", "hf", processes=CORES),
    ),
    "prep_tabular": (
        _of("prep_tabular", "limit: read and write", "limits", threads=CORES),
        _of("prep_tabular", "forebay", "forebay"),
        _of("prep_tabular", "Polars streaming", "preparation", how="polars"),
        _of("prep_tabular", "pyarrow", "preparation", how="pyarrow"),
        _of("prep_tabular", "pandas", "preparation", how="pandas"),
        _of("prep_tabular", "Spark", "spark", "spark", cpus=CORES),
        _of("prep_tabular", "HF datasets, map", "hf_datasets", "hf", processes=CORES),
        _of("prep_tabular", "Ray Data", "ray_data", "ray", cpus=CORES),
    ),
}
