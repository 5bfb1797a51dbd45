"""Grain: MapDataset, shuffled by index, mapped and batched; read threads, or worker processes where Python is the work."""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.datasets.tokens import LENGTH, open_tokens
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


class Sequences:
    """Random access to sequences, as Grain's data sources are."""

    def __init__(self, data: Any) -> None:
        self._ids, self._count = open_tokens(data), token_workload.samples(data)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        start = int(index) * LENGTH
        ids = self._ids[start : start + LENGTH + 1].astype(np.int64)
        return ids[:-1], ids[1:]


def _read(items: Any, batch: int, threads: int) -> Any:
    """The batches, made by read threads."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    return items.batch(batch).to_iter_dataset(options)


def tokens(job: Job, *, threads: int) -> Loader:
    source = Sequences(job.data_path)
    size = job.batch or token_workload.BATCH

    def epoch(number: int) -> Iterator[Any]:
        return map(samples.as_tensors, _read(grain.MapDataset.source(source).shuffle(number), size, threads))

    return PerEpoch(epoch)


def _images(job: Job, count: int, decode: Any, threads: int) -> Loader:
    size = job.batch or image_workload.BATCH

    def epoch(number: int) -> Iterator[Any]:
        made = grain.MapDataset.range(count).shuffle(number).map(lambda at: (decode(int(at), number), np.int64(at)))
        return map(samples.as_tensors, _read(made, size, threads))

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

    def crop(at: int, epoch: int) -> Any:
        return samples.cropped_square(pixels[at], samples.generator(at, epoch))

    return _images(job, len(pixels), crop, threads)


def tabular(job: Job, *, threads: int) -> Loader:
    groups = RowGroups(job.data_path)
    size = job.batch or table_workload.BATCH
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)

    def epoch(number: int) -> Iterator[Any]:
        for group in grain.MapDataset.source(groups).to_iter_dataset(options):
            yield from cut(group, size)

    return PerEpoch(epoch)


def ragged_text(job: Job, *, threads: int) -> Loader:
    """The tokenizer as batch function: it lets go of the interpreter lock, so read threads run it side by side."""
    documents, size = Documents(job.data_path), job.batch or text_workload.BATCH
    pack = Pack(job.data_path, parallel=False)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)

    def epoch(number: int) -> Iterator[Any]:
        made = grain.MapDataset.source(documents).shuffle(number).batch(size, batch_fn=pack)
        return iter(made.to_iter_dataset(options))

    return PerEpoch(epoch)


def python(job: Job, *, workers: int) -> Loader:
    return _plain(job, python_workload, workers)


def transport(job: Job, *, workers: int) -> Loader:
    return _plain(job, transport_workload, workers)


def _plain(job: Job, workload: Any, workers: int) -> Loader:
    """The torch data set as a source; worker processes write batches into shared memory. 0: read threads instead."""
    source, size = workload.dataset(job.data_path), job.batch or workload.BATCH

    def epoch(number: int) -> Iterator[Any]:
        made = grain.MapDataset.source(source).shuffle(number)
        if workers == 0:
            return map(samples.as_tensors, _read(made, size, 1))
        batches = made.batch(size).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        return map(samples.as_tensors, batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)))

    return PerEpoch(epoch)
