"""Which systems a workload has, and with which settings each is tried; the best setting of each is what counts."""

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
"""Threads, or worker processes, where a system is tried with one number only; figures are for a machine of two cores."""

_TORCHDATA_KINDS = {"stateful": "workers", "thread": "threads", "process": "processes"}


def _one(workload: str, name: str, peer: str, environment: str = "main", **settings: Any) -> Candidate:
    """A system with one setting."""
    return Candidate(
        name=name, workload=workload, peer=peer, environment=environment, settings=settings, limit=peer == "limits"
    )


def _tried(workload: str, system: str, peer: str, environment: str = "main", **tries: Any) -> tuple[Candidate, ...]:
    """A system with several settings: of `tries`, the one whose value is a tuple is varied."""
    varied = next(key for key, value in tries.items() if isinstance(value, tuple))
    return tuple(
        Candidate(
            name=f"{system}, {value} {varied}",
            system=system,
            workload=workload,
            peer=peer,
            environment=environment,
            settings={**tries, varied: value},
        )
        for value in tries[varied]
    )


def _torchdata(workload: str, how: str, *counts: int) -> tuple[Candidate, ...]:
    system = f"torchdata {'stateful' if how == 'stateful' else 'nodes'}"
    return tuple(
        Candidate(
            name=f"{system}, {count} {_TORCHDATA_KINDS[how]}",
            system=system,
            workload=workload,
            peer="torchdata_loader",
            environment="torchdata",
            settings={"how": how, "workers": count},
        )
        for count in counts
    )


CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "tokens": (
        _one("tokens", "limit: memory copy", "limits", threads=CORES),
        _one("tokens", "forebay", "forebay", threads=CORES),
        *_tried("tokens", "torch", "torch_loader", workers=(0, 1, 2)),
        *_tried("tokens", "numpy by hand", "by_hand", threads=(0, 2)),
        *_tried("tokens", "datatrove", "datatrove_loader", "datatrove", workers=(0, 2)),
        *_tried("tokens", "DALI", "dali_loader", "dali", threads=(1, 2)),
        *_tried("tokens", "LitData", "litdata_loader", "litdata", workers=(0, 2)),
        *_tried("tokens", "HF datasets", "hf_datasets", "hf", workers=(0, 2)),
        *_tried("tokens", "Grain", "grain_loader", "grain", threads=(0, 1, 2)),
        *_tried("tokens", "SPDL", "spdl_loader", "spdl", threads=(1, 2)),
        *_torchdata("tokens", "stateful", 0, 2),
        *_torchdata("tokens", "thread", 0, 1, 2),
        *_tried("tokens", "Mosaic streaming", "mosaic_streaming", "mosaic", workers=(0, 2)),
    ),
    "images": (
        _one("images", "limit: bare decode", "limits", threads=CORES),
        _one("images", "forebay", "forebay", threads=CORES),
        *_tried("images", "torch, pillow", "torch_loader", workers=(0, 2), decoder="pillow"),
        *_tried("images", "torch, OpenCV", "torch_loader", "torchdata", workers=(0, 2), decoder="opencv"),
        *_tried("images", "SPDL, OpenCV", "spdl_loader", "spdl", threads=(2, 3)),
        *_tried("images", "Grain, OpenCV", "grain_loader", "grain", threads=(2, 4)),
        *_tried("images", "DALI", "dali_loader", "dali", threads=(2, 3)),
        *_torchdata("images", "stateful", 2),
        *_torchdata("images", "thread", 2, 3),
        _one("images", "LitData, 2 workers", "litdata_loader", "litdata", workers=2),
        _one("images", "HF datasets, 2 workers", "hf_datasets", "hf", workers=2),
        _one("images", "Mosaic streaming, 2 workers", "mosaic_streaming", "mosaic", workers=2),
        _one("images", "WebDataset, 2 workers", "webdataset_loader", "webdataset", workers=2),
        _one("images", "Ray Data", "ray_data", "ray", cpus=CORES),
        *_tried("images", "FFCV", "ffcv_loader", "ffcv", workers=(1, 2)),
    ),
    "images_cached": (
        _one("images_cached", "limit: memory copy", "limits", threads=CORES),
        _one("images_cached", "forebay", "forebay", threads=CORES),
        *_tried("images_cached", "torch", "torch_loader", workers=(0, 2)),
        *_tried("images_cached", "numpy by hand", "by_hand", threads=(1, 2)),
        *_tried("images_cached", "DALI", "dali_loader", "dali", threads=(1, 2)),
        *_tried("images_cached", "SPDL", "spdl_loader", "spdl", threads=(1, 2)),
        *_tried("images_cached", "Grain", "grain_loader", "grain", threads=(1, 2)),
        *_torchdata("images_cached", "stateful", 2),
        *_torchdata("images_cached", "thread", 1, 2),
        _one("images_cached", "LitData, 2 workers", "litdata_loader", "litdata", workers=2),
        _one("images_cached", "HF datasets, 2 workers", "hf_datasets", "hf", workers=2),
        _one("images_cached", "Mosaic streaming, 2 workers", "mosaic_streaming", "mosaic", workers=2),
        _one("images_cached", "WebDataset, 2 workers", "webdataset_loader", "webdataset", workers=2),
        *_tried("images_cached", "FFCV", "ffcv_loader", "ffcv", workers=(1, 2)),
    ),
    "tabular": (
        _one("tabular", "limit: bare column read", "limits", threads=CORES),
        _one("tabular", "forebay", "forebay", threads=CORES),
        *_tried("tabular", "torch", "torch_loader", workers=(0, 1, 2)),
        *_tried("tabular", "pyarrow by hand", "by_hand", threads=(1, 2)),
        *_tried("tabular", "Grain", "grain_loader", "grain", threads=(1, 2)),
        *_tried("tabular", "SPDL", "spdl_loader", "spdl", threads=(1, 2)),
        *_torchdata("tabular", "stateful", 0, 2),
        *_torchdata("tabular", "thread", 1, 2),
        _one("tabular", "Polars", "polars_loader"),
        _one("tabular", "HF datasets, streaming", "hf_datasets", "hf", workers=0),
        _one("tabular", "Ray Data", "ray_data", "ray", cpus=CORES),
    ),
    "python": (
        _one("python", "limit: no transport", "limits", processes=CORES),
        _one("python", "forebay, 2 workers", "forebay", workers=2),
        _one("python", "torch, 2 workers", "torch_loader", workers=2),
        *_tried("python", "DALI", "dali_loader", "dali", workers=(0, 2)),
        *_tried("python", "Grain", "grain_loader", "grain", workers=(0, 2)),
        *_tried("python", "SPDL", "spdl_loader", "spdl", workers=(0, 2)),
        *_torchdata("python", "stateful", 2),
        *_torchdata("python", "process", 2),
    ),
    "transport": (
        _one("transport", "limit: memory copy", "limits", threads=CORES),
        _one("transport", "forebay, 2 workers", "forebay", workers=2),
        _one("transport", "forebay, 0 workers", "forebay", workers=0),
        _one("transport", "torch, 2 workers", "torch_loader", workers=2),
        _one("transport", "torch, 0 workers", "torch_loader", workers=0),
        *_tried("transport", "DALI", "dali_loader", "dali", workers=(0, 2)),
        *_tried("transport", "Grain", "grain_loader", "grain", workers=(0, 2)),
        *_tried("transport", "SPDL", "spdl_loader", "spdl", workers=(0, 2)),
        *_torchdata("transport", "stateful", 0, 2),
        *_torchdata("transport", "thread", 0, 1, 2),
    ),
    "ragged_text": (
        _one("ragged_text", "limit: bare tokenizer", "limits", threads=CORES),
        _one("ragged_text", "forebay", "forebay", threads=CORES),
        *_tried("ragged_text", "torch", "torch_loader", workers=(0, 2)),
        *_tried("ragged_text", "Grain", "grain_loader", "grain", threads=(1, 2)),
        *_tried("ragged_text", "SPDL", "spdl_loader", "spdl", threads=(1, 2)),
        *_tried("ragged_text", "HF datasets", "hf_datasets", "hf", workers=(0, 2)),
        *_torchdata("ragged_text", "stateful", 2),
        *_torchdata("ragged_text", "thread", 1, 2),
    ),
    "prep_tabular": (
        _one("prep_tabular", "limit: read and write", "limits", threads=CORES),
        _one("prep_tabular", "forebay", "forebay"),
        _one("prep_tabular", "Polars streaming", "preparation", how="polars"),
        _one("prep_tabular", "pyarrow", "preparation", how="pyarrow"),
        _one("prep_tabular", "pandas", "preparation", how="pandas"),
        _one("prep_tabular", "Spark", "spark", "spark", cpus=CORES),
        _one("prep_tabular", "HF datasets, map", "hf_datasets", "hf", processes=CORES),
        _one("prep_tabular", "Ray Data", "ray_data", "ray", cpus=CORES),
    ),
    "prep_text": (
        _one("prep_text", "limit: read and write", "limits", threads=CORES),
        _one("prep_text", "forebay", "forebay"),
        _one("prep_text", "Polars streaming", "text_preparation", how="polars"),
        _one("prep_text", "pyarrow", "text_preparation", how="pyarrow"),
        _one("prep_text", "pandas", "text_preparation", how="pandas"),
        _one("prep_text", "datatrove, 2 tasks", "datatrove_preparation", "datatrove", tasks=CORES),
        _one("prep_text", "HF datasets, map", "hf_datasets", "hf", processes=CORES),
        _one("prep_text", "Spark", "spark", "spark", cpus=CORES),
        _one("prep_text", "Ray Data", "ray_data", "ray", cpus=CORES),
    ),
}
