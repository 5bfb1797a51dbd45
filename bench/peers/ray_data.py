"""Ray Data on one machine: read, map whole batches, iterate as torch tensors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
import ray.data
import torch

from forebay.bench.datasets.images import image_files
from forebay.bench.datasets.tabular import table_files, table_stats
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import tabular as table_workload


def _start(cpus: int) -> None:
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ray.data.DataContext.get_current().enable_progress_bars = False


def tabular(job: Job, *, cpus: int) -> Loader:
    _start(cpus)
    _, mean, std = table_stats(job.data_path)
    size = job.batch or table_workload.BATCH

    def transform(table: Any) -> dict[str, Any]:
        dense, sparse, label = table_workload.transformed(table, mean, std)
        return {"dense": dense, "sparse": sparse, "label": label}

    data = ray.data.read_parquet(table_files(job.data_path)).map_batches(
        transform, batch_format="pyarrow", batch_size=8 * size
    )

    def epoch(number: int) -> Iterator[Any]:
        for batch in data.iter_torch_batches(batch_size=size, prefetch_batches=2):
            yield batch["dense"], batch["sparse"], batch["label"]

    return PerEpoch(epoch)


def images(job: Job, *, cpus: int) -> Loader:
    """Paths are shuffled, blocks of files decoded in tasks."""
    _start(cpus)
    files = image_files(job.data_path)
    size = job.batch or image_workload.BATCH

    def decode(rows: dict[str, Any]) -> dict[str, Any]:
        samples.one_opencv_thread()
        made = []
        for path in rows["path"]:
            with open(path, "rb") as file:
                made.append(samples.opencv_image(file.read(), np.random.default_rng()))
        return {"image": np.stack(made), "label": rows["label"]}

    def epoch(number: int) -> Iterator[Any]:
        order = samples.permuted(len(files), number)
        rows = [{"path": files[at], "label": int(at)} for at in order]
        data = ray.data.from_items(rows, override_num_blocks=max(2, len(rows) // 512))
        for batch in data.map_batches(decode, batch_size=size).iter_torch_batches(batch_size=size, prefetch_batches=2):
            yield batch["image"], batch["label"].to(torch.int64)

    return PerEpoch(epoch)
