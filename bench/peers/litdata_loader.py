"""LitData: chunks made by `optimize`, read by StreamingDataset and StreamingDataLoader."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from litdata import StreamingDataLoader, StreamingDataset, TokensLoader, optimize

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import tokens as token_workload

_SEQUENCES_A_CALL = 512


def _token_block(data: str, start: int) -> Any:
    """Whole sequences of LENGTH + 1 ids, one after the other: its token blocks do not overlap."""
    ids, count = open_tokens(Path(data)), token_workload.samples(Path(data))
    for number in range(start, min(start + _SEQUENCES_A_CALL, count)):
        yield torch.from_numpy(ids[number * LENGTH : (number + 1) * LENGTH + 1].astype(np.int32)).to(torch.uint16)


def prepare_tokens(job: Job) -> None:
    count = token_workload.samples(job.data_path)
    optimize(
        fn=partial(_token_block, job.data),
        inputs=list(range(0, count, _SEQUENCES_A_CALL)),
        output_dir=job.prepared,
        chunk_size=(LENGTH + 1) * 4096,
        item_loader=TokensLoader(),
        num_workers=2,
    )


def _shift(items: list[Any]) -> Any:
    block = torch.stack(items).long()
    return block[:, :-1], block[:, 1:]


def tokens(job: Job, *, workers: int) -> Loader:
    data = StreamingDataset(job.prepared, item_loader=TokensLoader(block_size=LENGTH + 1), shuffle=True)
    size = job.batch or token_workload.BATCH
    loader = StreamingDataLoader(data, batch_size=size, num_workers=workers, collate_fn=_shift, shuffle=True)
    return PerEpoch(lambda number: iter(loader))


def _jpeg(files: list[str], at: int) -> Any:
    return {"image": Path(files[at]).read_bytes(), "label": at}


def prepare_images(job: Job) -> None:
    files = image_files(job.data_path)
    optimize(
        fn=partial(_jpeg, files),
        inputs=list(range(len(files))),
        output_dir=job.prepared,
        chunk_bytes="64MB",
        num_workers=2,
    )


class Decoded(StreamingDataset):
    """JPEG bytes decoded in the worker, as its documentation does it."""

    def __getitem__(self, index: Any) -> Any:
        item = super().__getitem__(index)
        samples.one_opencv_thread()
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return torch.from_numpy(samples.opencv_image(item["image"], rng)), item["label"]


def images(job: Job, *, workers: int) -> Loader:
    return _loader(Decoded(job.prepared, shuffle=True), job, workers)


def _square(data: str, at: int) -> Any:
    return {"image": np.ascontiguousarray(image_squares(Path(data))[at]), "label": at}


def prepare_images_cached(job: Job) -> None:
    count = image_workload.samples(job.data_path)
    optimize(
        fn=partial(_square, job.data),
        inputs=list(range(count)),
        output_dir=job.prepared,
        chunk_bytes="64MB",
        num_workers=2,
    )


class Squares(StreamingDataset):
    """Pixels as they are in the chunks, cropped in the worker."""

    def __getitem__(self, index: Any) -> Any:
        item = super().__getitem__(index)
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return torch.from_numpy(samples.cropped_square(np.asarray(item["image"]), rng)), item["label"]


def images_cached(job: Job, *, workers: int) -> Loader:
    return _loader(Squares(job.prepared, shuffle=True), job, workers)


def _loader(data: Any, job: Job, workers: int) -> Loader:
    size = job.batch or image_workload.BATCH
    loader = StreamingDataLoader(data, batch_size=size, num_workers=workers, shuffle=True)
    return PerEpoch(lambda number: map(tuple, loader))
