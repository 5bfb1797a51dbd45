"""NumPy and threads by hand: what a good engineer writes for one data set, with no loader at all."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from forebay.bench.datasets.images import image_squares
from forebay.bench.datasets.tabular import table_files, table_stats
from forebay.bench.datasets.tokens import open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import tabular as table_workload
from forebay.bench.workloads import tokens as token_workload

_AHEAD = 2


def ahead(work: Any, items: list[Any], threads: int) -> Any:
    """`work` of each item by threads, a few ahead, in order."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(work, item) for item in items[: threads * _AHEAD]]
        for item in items[threads * _AHEAD :]:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(work, item))
        for one in waiting:
            yield one.result()


def tokens(job: Job, *, threads: int) -> Loader:
    ids = open_tokens(job.data_path)
    count, size = token_workload.samples(job.data_path), job.batch or token_workload.BATCH

    def make(numbers: np.ndarray) -> Any:
        return samples.as_tensors(samples.token_batch(ids, numbers))

    def epoch(number: int) -> Any:
        batches = samples.batches_of(samples.permuted(count, number), size)
        return map(make, batches) if threads == 0 else ahead(make, batches, threads)

    return PerEpoch(epoch)


def images_cached(job: Job, *, threads: int) -> Loader:
    pixels = image_squares(job.data_path)
    size = job.batch or image_workload.BATCH

    def epoch(number: int) -> Any:
        def make(numbers: np.ndarray) -> Any:
            made = np.empty((len(numbers), 3, image_workload.CROP, image_workload.CROP), np.float32)
            for row, one in enumerate(numbers):
                rng = samples.generator(int(one), number)
                top, left = rng.integers(0, 256 - image_workload.CROP + 1, 2)
                window = pixels[one, top : top + image_workload.CROP, left : left + image_workload.CROP]
                samples.normalized(window, flip=rng.random() < 0.5, out=made[row])
            return samples.as_tensors((made, numbers.astype(np.int64)))

        return ahead(make, samples.batches_of(samples.permuted(len(pixels), number), size), threads)

    return PerEpoch(epoch)


def tabular(job: Job, *, threads: int) -> Loader:
    import pyarrow.parquet as pq

    _, mean, std = table_stats(job.data_path)
    size = job.batch or table_workload.BATCH
    groups = [(path, at) for path in table_files(job.data_path) for at in range(pq.ParquetFile(path).num_row_groups)]

    def make(group: tuple[str, int]) -> Any:
        table = pq.ParquetFile(group[0]).read_row_group(group[1], use_threads=False)
        return samples.as_tensors(table_workload.transformed(table, mean, std))

    def epoch(number: int) -> Any:
        for made in ahead(make, groups, threads):
            yield from zip(*(one.split(size) for one in made), strict=True)

    return PerEpoch(epoch)
