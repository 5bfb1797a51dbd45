"""DALI's CPU pipelines: its own readers and operators, or an external source where the data set is Python."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

from forebay.bench.datasets.images import SQUARE, image_files, image_squares
from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import python as python_workload
from forebay.bench.workloads import tokens as token_workload
from forebay.bench.workloads import transport as transport_workload


def _epochs(pipeline: Any, names: list[str], *, size: int = -1, reader: str | None = None) -> Loader:
    how: dict[str, Any] = {"reader_name": reader} if reader else {"size": size}
    loader = DALIGenericIterator(
        pipeline, names, auto_reset=True, last_batch_policy=LastBatchPolicy.PARTIAL, prepare_first_batch=False, **how
    )

    def epoch(number: int) -> Iterator[Any]:
        for (batch,) in loader:
            yield tuple(batch[name] if name != "label" else batch[name].reshape(-1).long() for name in names)

    return PerEpoch(epoch)


def _normalized(pixels: Any, **crop: Any) -> Any:
    return fn.crop_mirror_normalize(
        pixels,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=[255 * one for one in image_workload.MEAN],
        std=[255 * one for one in image_workload.STD],
        mirror=fn.random.coin_flip(),
        **crop,
    )


def images(job: Job, *, threads: int) -> Loader:
    files = image_files(job.data_path)
    size = job.batch or image_workload.BATCH

    @pipeline_def(batch_size=size, num_threads=threads, device_id=None, seed=0)
    def pipeline() -> Any:
        encoded, label = fn.readers.file(
            files=files, labels=list(range(len(files))), random_shuffle=True, initial_fill=len(files), name="files"
        )
        pixels = fn.decoders.image_random_crop(
            encoded, device="cpu", random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
        )
        return _normalized(fn.resize(pixels, size=[image_workload.CROP] * 2, antialias=False)), label

    return _epochs(pipeline(), ["image", "label"], reader="files")


class Shuffled:
    """An external source that gives batches of what `make` gives for numbers in the epoch's order."""

    def __init__(self, count: int, batch: int, make: Any) -> None:
        self._count, self._batch, self._make = count, batch, make
        self._epoch = 0

    def __iter__(self) -> Iterator[Any]:
        order = samples.permuted(self._count, self._epoch)
        self._epoch += 1
        for numbers in samples.batches_of(order, self._batch):
            yield self._make(numbers)


def tokens(job: Job, *, threads: int) -> Loader:
    ids, count = open_tokens(job.data_path), token_workload.samples(job.data_path)
    size = job.batch or token_workload.BATCH

    def make(numbers: np.ndarray) -> Any:
        block = np.empty((len(numbers), LENGTH + 1), np.uint16)
        for row, number in enumerate(numbers):
            start = int(number) * LENGTH
            block[row] = ids[start : start + LENGTH + 1]
        return (block,)

    @pipeline_def(batch_size=size, num_threads=threads, device_id=None)
    def pipeline() -> Any:
        (block,) = fn.external_source(Shuffled(count, size, make), num_outputs=1, cycle="raise", dtype=types.UINT16)
        wide = fn.cast(block, dtype=types.INT64)
        return wide[:LENGTH], wide[1:]

    return _epochs(pipeline(), ["inputs", "targets"], size=count)


def images_cached(job: Job, *, threads: int) -> Loader:
    pixels = image_squares(job.data_path)
    size = job.batch or image_workload.BATCH

    def make(numbers: np.ndarray) -> Any:
        return [pixels[at] for at in numbers], numbers.astype(np.int64)

    @pipeline_def(batch_size=size, num_threads=threads, device_id=None, seed=0)
    def pipeline() -> Any:
        source = Shuffled(len(pixels), size, make)
        square, label = fn.external_source(source, num_outputs=2, cycle="raise", layout=["HWC", ""])
        places = {f"crop_pos_{axis}": fn.random.uniform(range=[0.0, 1.0]) for axis in "xy"}
        return _normalized(square, crop=[image_workload.CROP] * 2, **places), label

    assert pixels.shape[1] == SQUARE
    return _epochs(pipeline(), ["image", "label"], size=len(pixels))


class PythonSource:
    """A callable for DALI's parallel source: a sample by its number in the epoch, for any epoch."""

    def __init__(self, dataset: Any, batch: int) -> None:
        self._dataset, self._steps = dataset, len(dataset) // batch
        self._order: tuple[int, Any] = (-1, None)

    def __call__(self, info: Any) -> Any:
        if info.iteration >= self._steps:
            raise StopIteration
        if self._order[0] != info.epoch_idx:
            self._order = (info.epoch_idx, samples.permuted(len(self._dataset), info.epoch_idx))
        array, number = self._dataset[int(self._order[1][info.idx_in_epoch])]
        return array, np.array([number])


def _python(job: Job, workload: Any, workers: int) -> Loader:
    dataset, size = workload.dataset(job.data_path), job.batch or workload.BATCH

    @pipeline_def(
        batch_size=size,
        num_threads=1,
        device_id=None,
        py_num_workers=workers,
        py_start_method="spawn",
    )
    def pipeline() -> Any:
        source = PythonSource(dataset, size)
        return tuple(
            fn.external_source(source, num_outputs=2, batch=False, parallel=True)
            if workers
            else fn.external_source(source, num_outputs=2, batch=False)
        )

    return _epochs(pipeline(), ["array", "label"], size=len(dataset))


def python(job: Job, *, workers: int) -> Loader:
    return _python(job, python_workload, workers)


def transport(job: Job, *, workers: int) -> Loader:
    return _python(job, transport_workload, workers)
