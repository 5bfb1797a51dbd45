"""What the machine can do at best: the physical limit of each workload. Nothing is delivered; a batch is its size."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from forebay.bench.datasets.images import image_files
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, table_files
from forebay.bench.datasets.tokens import LENGTH
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.parquet_settings import arrow_settings
from forebay.bench.peers.samples import batches_of, permuted
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import python as python_workload
from forebay.bench.workloads import ragged_text as text_workload
from forebay.bench.workloads import tokens as token_workload
from forebay.bench.workloads import transport as transport_workload

_AHEAD = 4


def in_threads(work: Callable[[Any], int], items: list[Any], threads: int) -> Iterator[int]:
    """`work` of each item, a bounded number ahead, in order."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(work, item) for item in items[: threads * _AHEAD]]
        for item in items[threads * _AHEAD :]:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(work, item))
        for one in waiting:
            yield one.result()


def _copies(workload: Any, job: Job, threads: int, *, pages_ahead: int) -> Loader:
    """Finished batches copied from one place to another, in turn over `pages_ahead` places."""
    batch = job.batch or workload.BATCH
    shapes = [(name, (batch, *shape), dtype) for name, shape, dtype in workload.CONTRACT]
    sources = [[np.ones(shape, dtype) for _, shape, dtype in shapes] for _ in range(pages_ahead)]
    targets = [[np.ones(shape, dtype) for _, shape, dtype in shapes] for _ in range(pages_ahead)]
    count = workload.samples(job.data_path) // batch

    def copy(at: int) -> int:
        for source, target in zip(sources[at % pages_ahead], targets[at % pages_ahead], strict=True):
            np.copyto(target, source)
        return batch

    return PerEpoch(lambda number: in_threads(copy, list(range(count)), threads))


def tokens(job: Job, *, threads: int) -> Loader:
    """Finished batches copied from memory to places that are used again, several in one call: a call for each would take longer
    than its copy."""
    batch, together = job.batch or token_workload.BATCH, 8
    width = len(token_workload.CONTRACT)
    sources = np.ones((512 // together, together, width, batch, LENGTH), np.int64)
    targets = np.ones((2 * threads, *sources.shape[1:]), np.int64)
    calls, left = divmod(token_workload.samples(job.data_path) // batch, together)

    def copy(at: int) -> int:
        some = left if at == calls else together
        np.copyto(targets[at % len(targets), :some], sources[at % len(sources), :some])
        return some * batch

    return PerEpoch(lambda number: in_threads(copy, list(range(calls + bool(left))), threads))


def images(job: Job, *, threads: int) -> Loader:
    """Bare libjpeg-turbo: each file decoded whole to RGB, nothing else."""
    import simplejpeg

    files = image_files(job.data_path)
    buffers = [np.empty(600 * 500 * 3, np.uint8) for _ in range(64)]

    def decode(numbers: Any) -> int:
        buffer = buffers[int(numbers[0]) % len(buffers)]
        for number in numbers:
            with open(files[number], "rb") as file:
                simplejpeg.decode_jpeg(file.read(), buffer=buffer)
        return len(numbers)

    size = job.batch or image_workload.BATCH
    return PerEpoch(lambda number: in_threads(decode, batches_of(permuted(len(files), number), size), threads))


def images_cached(job: Job, *, threads: int) -> Loader:
    """Writing the batch: one finished image, which stays in the cache, copied to each place of it."""
    batch = job.batch or image_workload.BATCH
    source = np.ones((3, image_workload.CROP, image_workload.CROP), np.float32)
    targets = [np.ones((batch, *source.shape), np.float32) for _ in range(_AHEAD * threads)]

    def write(at: int) -> int:
        for place in targets[at % len(targets)]:
            np.copyto(place, source)
        return batch

    count = image_workload.samples(job.data_path) // batch
    return PerEpoch(lambda number: in_threads(write, list(range(count)), threads))


def tabular(job: Job, *, threads: int) -> Loader:
    """Bare Parquet: the columns decoded to Arrow, nothing else."""
    import pyarrow.parquet as pq

    groups = [(path, at) for path in table_files(job.data_path) for at in range(pq.ParquetFile(path).num_row_groups)]

    def read(group: tuple[str, int]) -> int:
        columns = [*FLOATS, *INTEGERS, "label"]
        return int(pq.ParquetFile(group[0]).read_row_group(group[1], columns=columns, use_threads=False).num_rows)

    return PerEpoch(lambda number: in_threads(read, groups, threads))


def ragged_text(job: Job, *, threads: int) -> Loader:
    """The library's tokenizer in as many threads, on texts that are there already; nothing is done with what it finds."""
    texts = text_workload.texts(job.data_path).to_pylist()
    tokenizer = text_workload.tokenizer(job.data_path, parallel=False)

    def encode(numbers: Any) -> int:
        return len(tokenizer.encode_batch_fast([texts[int(at)] for at in numbers]))

    size = job.batch or text_workload.BATCH
    return PerEpoch(lambda number: in_threads(encode, batches_of(permuted(len(texts), number), size), threads))


def transport(job: Job, *, threads: int) -> Loader:
    """A memory copy of the batch."""
    return _copies(transport_workload, job, threads, pages_ahead=_AHEAD * threads)


def _make_samples(numbers: Any) -> int:
    for number in numbers:
        _DATASET[0][int(number)]
    return len(numbers)


_DATASET: list[Any] = []


def python(job: Job, *, processes: int) -> Loader:
    """The samples made in as many processes, nothing sent back but how many."""
    _DATASET[:] = [python_workload.dataset(job.data_path)]
    pool = multiprocessing.get_context("fork").Pool(processes)
    count, size = python_workload.samples(job.data_path), job.batch or python_workload.BATCH
    return PerEpoch(lambda number: pool.imap(_make_samples, batches_of(permuted(count, number), size)))


def prep_text(job: Job, *, threads: int) -> Loader:
    """Bare Parquet: row groups decoded and encoded again as the others write them, nothing between."""
    return prep_tabular(job, threads=threads)


def prep_tabular(job: Job, *, threads: int) -> Loader:
    """Bare Parquet: row groups decoded and encoded again as the others write them, nothing between."""
    import pyarrow.parquet as pq

    def convert(path: str) -> int:
        file = pq.ParquetFile(path)
        job.prepared_path.mkdir(parents=True, exist_ok=True)
        target = job.prepared_path / f"limit-{os.path.basename(path)}"
        with pq.ParquetWriter(target, file.schema_arrow, **arrow_settings(file.schema_arrow)) as out:
            for at in range(file.num_row_groups):
                out.write_table(file.read_row_group(at, use_threads=False))
        return int(file.metadata.num_rows)

    return PerEpoch(lambda number: in_threads(convert, table_files(job.data_path), threads))
