"""torch's own DataLoader, with data sets written as its tutorials and the best training scripts write them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, get_worker_info

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.datasets.tabular import table_files, table_stats
from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.peers.packed_text import Documents, Pack
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import python as python_workload
from forebay.bench.workloads import ragged_text as text_workload
from forebay.bench.workloads import tabular as table_workload
from forebay.bench.workloads import tokens as token_workload
from forebay.bench.workloads import transport as transport_workload


class TokenSequences(Dataset[Any]):
    """Sequences of a memory-mapped file, widened one by one, as in nanoGPT."""

    def __init__(self, data: Any) -> None:
        self._data, self._count = data, token_workload.samples(data)
        self._tokens: Any = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if self._tokens is None:  # in each worker: a memory map does not travel
            self._tokens = open_tokens(self._data)
        start = index * LENGTH
        ids = torch.from_numpy(self._tokens[start : start + LENGTH + 1].astype(np.int64))
        return ids[:-1], ids[1:]


class ImageFiles(Dataset[Any]):
    """JPEG files, decoded one by one with Pillow or OpenCV."""

    def __init__(self, data: Any, decoder: str) -> None:
        self._files, self._decode = image_files(data), getattr(samples, f"{decoder}_image")
        self._threads_told = decoder != "opencv"

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if not self._threads_told:
            samples.one_opencv_thread()
            self._threads_told = True
        with open(self._files[index], "rb") as file:
            encoded = file.read()
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return torch.from_numpy(self._decode(encoded, rng)), index


class ImageSquares(Dataset[Any]):
    """Decoded pictures in a memory-mapped .npy file."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._pixels: Any = None
        self._count = image_workload.samples(data)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if self._pixels is None:
            self._pixels = image_squares(self._data)
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return torch.from_numpy(samples.cropped_square(self._pixels[index], rng)), index


class TableBatches(IterableDataset[Any]):
    """Row groups read with Arrow, transformed whole, cut into batches; workers share out the row groups."""

    def __init__(self, data: Any, batch: int) -> None:
        self._files, self._batch = table_files(data), batch
        _, self._mean, self._std = table_stats(data)

    def __iter__(self) -> Iterator[Any]:
        import pyarrow.parquet as pq

        worker = get_worker_info()
        at = 0
        for path in self._files:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                at += 1
                if worker is not None and at % worker.num_workers != worker.id:
                    continue
                table = file.read_row_group(group, use_threads=worker is None)
                made = samples.as_tensors(table_workload.transformed(table, self._mean, self._std))
                for parts in zip(*(one.split(self._batch) for one in made), strict=True):
                    # a worker sends a tensor's whole storage: what is cut out must be its own
                    yield parts if worker is None else tuple(part.clone() for part in parts)


def tokens(job: Job, *, workers: int) -> Loader:
    parts = sorted(job.data_path.glob("*/tokens.bin"))  # where `bench.scaling` asks for a data set of many files
    data: Any = ConcatDataset([TokenSequences(one.parent) for one in parts]) if parts else TokenSequences(job.data_path)
    return _shuffled(data, job.batch or token_workload.BATCH, workers)


def images(job: Job, *, workers: int, decoder: str) -> Loader:
    return _shuffled(ImageFiles(job.data_path, decoder), job.batch or image_workload.BATCH, workers)


def images_cached(job: Job, *, workers: int) -> Loader:
    return _shuffled(ImageSquares(job.data_path), job.batch or image_workload.BATCH, workers)


def tabular(job: Job, *, workers: int) -> Loader:
    rows = TableBatches(job.data_path, job.batch or table_workload.BATCH)
    loader = DataLoader(rows, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    return PerEpoch(lambda number: map(tuple, loader))


def python(job: Job, *, workers: int) -> Loader:
    return _shuffled(python_workload.dataset(job.data_path), job.batch or python_workload.BATCH, workers)


def transport(job: Job, *, workers: int, side: int = 224) -> Loader:
    dataset = transport_workload.dataset(job.data_path, side)
    return _shuffled(dataset, job.batch or transport_workload.BATCH, workers)


def ragged_text(job: Job, *, workers: int) -> Loader:
    """The tokenizer in the collate function, so that it gets a batch at once; without workers it uses its own threads."""
    pack = Pack(job.data_path, parallel=workers == 0)
    return _shuffled(Documents(job.data_path), job.batch or text_workload.BATCH, workers, pack)


def _shuffled(dataset: Any, batch: int, workers: int, collate: Any = None) -> Loader:
    loader: Any = DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )
    return PerEpoch(lambda number: map(tuple, loader))
