"""Ray Data on one machine: read, map whole batches, iterate as torch tensors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray
import ray.data
import torch
from ray.data import SaveMode

from forebay.bench.datasets.documents import LEAST
from forebay.bench.datasets.images import image_files
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, table_files, table_stats
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.parquet_settings import arrow_settings
from forebay.bench.peers import samples
from forebay.bench.peers.text_preparation import clean
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


def prep_tabular(job: Job, *, cpus: int) -> Loader:
    """A pass for the moments, then one that transforms and writes."""
    from forebay.bench.peers.preparation import prepared

    _start(cpus)

    def moments(table: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"rows": np.array([table.num_rows])}
        for name in FLOATS:
            logged = np.log1p(table.column(name).fill_null(np.float32(0)).to_numpy()).astype(np.float64)
            made[f"{name}_sum"], made[f"{name}_squares"] = np.array([logged.sum()]), np.array([(logged**2).sum()])
        return made

    def work(source: str, target: str) -> None:
        data = ray.data.read_parquet(table_files(Path(source)))
        sums = data.map_batches(moments, batch_format="pyarrow", batch_size=65_536).to_pandas()
        rows = sums["rows"].sum()
        mean = np.array([sums[f"{name}_sum"].sum() for name in FLOATS]) / rows
        std = np.sqrt(np.array([sums[f"{name}_squares"].sum() for name in FLOATS]) / rows - mean**2)

        def scale(table: Any) -> dict[str, Any]:
            dense, sparse, label = table_workload.transformed(table, mean, std)
            columns = {name: dense[:, at] for at, name in enumerate(FLOATS)}
            return {**columns, **{name: sparse[:, at] for at, name in enumerate(INTEGERS)}, "label": label}

        made = data.map_batches(scale, batch_format="pyarrow", batch_size=65_536)
        settings = arrow_settings(pq.read_schema(table_files(Path(source))[0]))
        made.write_parquet(target, mode=SaveMode.OVERWRITE, **settings)

    return prepared(job, work)


def prep_text(job: Job, *, cpus: int) -> Loader:
    """Cleaned by batches; copies meet in a group, whose first number stays."""
    from forebay.bench.peers.preparation import prepared

    _start(cpus)

    def work(source: str, target: str) -> None:
        data = ray.data.read_parquet(table_files(Path(source)))
        made = data.map_batches(_clean_texts, batch_format="pandas").groupby("text").min("number")
        settings = arrow_settings(pq.read_schema(table_files(Path(source))[0]))
        made.rename_columns({"min(number)": "number"}).write_parquet(target, mode=SaveMode.OVERWRITE, **settings)

    return prepared(job, work)


def _clean_texts(frame: Any) -> Any:
    # not by the column's own methods: where pandas keeps texts in Arrow, its expressions know white space of ASCII only
    frame["text"] = frame["text"].map(clean)
    return frame[frame["text"].str.len() >= LEAST]
