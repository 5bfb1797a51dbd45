"""SPDL: a pipeline of stages on threads, as its documentation builds one; OpenCV decodes, since it lets go of the GIL."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from spdl.dataloader import get_pytorch_dataloader
from spdl.pipeline import PipelineBuilder
from torch.utils.data import default_collate

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.datasets.tokens import open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.peers.packed_text import Documents, Pack
from forebay.bench.peers.rows_of_table import RowGroups, cut
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import python as python_workload
from forebay.bench.workloads import ragged_text as text_workload
from forebay.bench.workloads import tabular as table_workload
from forebay.bench.workloads import tokens as token_workload
from forebay.bench.workloads import transport as transport_workload


def _batches(items: Any, work: Callable[[Any], Any], threads: int) -> Iterator[Any]:
    """One stage that makes whole batches."""
    pipeline = (
        PipelineBuilder()
        .add_source(items)
        .pipe(work, concurrency=threads, output_order="input")
        .add_sink(2 * threads)
        .build(num_threads=threads)
    )
    with pipeline.auto_stop():
        yield from pipeline


def tokens(job: Job, *, threads: int) -> Loader:
    ids = open_tokens(job.data_path)
    count, size = token_workload.samples(job.data_path), job.batch or token_workload.BATCH

    def make(numbers: np.ndarray) -> Any:
        return samples.as_tensors(samples.token_batch(ids, numbers))

    return PerEpoch(lambda number: _batches(samples.batches_of(samples.permuted(count, number), size), make, threads))


def _images(job: Job, count: int, decode: Callable[[int, int], Any], threads: int) -> Loader:
    """An image a task, then a stage that lays a batch together."""
    size = job.batch or image_workload.BATCH

    def collate(items: list[Any]) -> Any:
        arrays, numbers = zip(*items, strict=True)
        return torch.from_numpy(np.stack(arrays)), torch.tensor(numbers)

    def epoch(number: int) -> Iterator[Any]:
        pipeline = (
            PipelineBuilder()
            .add_source(samples.permuted(count, number).tolist())
            .pipe(lambda at: (decode(at, number), at), concurrency=threads, output_order="input")
            .aggregate(size)
            .pipe(collate)
            .add_sink(3)
            .build(num_threads=threads + 1)
        )
        with pipeline.auto_stop():
            yield from pipeline

    return PerEpoch(epoch)


def images(job: Job, *, threads: int) -> Loader:
    files = image_files(job.data_path)
    samples.one_opencv_thread()

    def decode(at: int, epoch: int) -> Any:
        with open(files[at], "rb") as file:
            return samples.opencv_image(file.read(), samples.generator(at, epoch))

    return _images(job, len(files), decode, threads)


def images_cached(job: Job, *, threads: int) -> Loader:
    pixels = image_squares(job.data_path)
    size = job.batch or image_workload.BATCH

    def epoch(number: int) -> Iterator[Any]:
        def make(numbers: np.ndarray) -> Any:
            made = np.empty((len(numbers), 3, image_workload.CROP, image_workload.CROP), np.float32)
            for row, at in enumerate(numbers):
                made[row] = samples.cropped_square(pixels[at], samples.generator(int(at), number))
            return samples.as_tensors((made, numbers.astype(np.int64)))

        return _batches(samples.batches_of(samples.permuted(len(pixels), number), size), make, threads)

    return PerEpoch(epoch)


def tabular(job: Job, *, threads: int) -> Loader:
    groups = RowGroups(job.data_path)
    size = job.batch or table_workload.BATCH

    def epoch(number: int) -> Iterator[Any]:
        for group in _batches(range(len(groups)), groups.__getitem__, threads):
            yield from cut(group, size)

    return PerEpoch(epoch)


def ragged_text(job: Job, *, threads: int) -> Loader:
    documents, size = Documents(job.data_path), job.batch or text_workload.BATCH
    pack = Pack(job.data_path, parallel=False)

    def make(numbers: np.ndarray) -> Any:
        return pack([documents[at] for at in numbers])

    def epoch(number: int) -> Iterator[Any]:
        return _batches(samples.batches_of(samples.permuted(len(documents), number), size), make, threads)

    return PerEpoch(epoch)


def python(job: Job, *, workers: int) -> Loader:
    return _plain(job, python_workload, workers)


def transport(job: Job, *, workers: int) -> Loader:
    return _plain(job, transport_workload, workers)


def _threaded(dataset: Any, size: int) -> Loader:
    def epoch(number: int) -> Iterator[Any]:
        pipeline = (
            PipelineBuilder()
            .add_source(samples.permuted(len(dataset), number).tolist())
            .pipe(dataset.__getitem__, concurrency=2, output_order="input")
            .aggregate(size)
            .pipe(default_collate)
            .add_sink(3)
            .build(num_threads=3)
        )
        with pipeline.auto_stop():
            yield from map(tuple, pipeline)

    return PerEpoch(epoch)


def _plain(job: Job, workload: Any, workers: int) -> Loader:
    """Its stand-in for torch's loader, with worker processes; without them a pipeline with two threads."""
    if workers == 0:
        return _threaded(workload.dataset(job.data_path), job.batch or workload.BATCH)
    loader = get_pytorch_dataloader(
        workload.dataset(job.data_path), job.batch or workload.BATCH, shuffle=True, num_workers=workers
    )
    return PerEpoch(lambda number: map(tuple, loader))
