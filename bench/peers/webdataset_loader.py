"""WebDataset: tar files read in order, mixed by shuffled shards and a shuffle buffer (not a global shuffle)."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.workloads import images as image_workload

_SHARDS = 16
_BUFFER = 1000


def prepare_images(job: Job) -> None:
    files = image_files(job.data_path)
    _write(job, "jpg", lambda at: Path(files[at]).read_bytes(), len(files))


def prepare_images_cached(job: Job) -> None:
    pixels = image_squares(job.data_path)

    def encode(at: int) -> bytes:
        into = io.BytesIO()
        np.save(into, pixels[at])
        return into.getvalue()

    _write(job, "npy", encode, len(pixels))


def _write(job: Job, kind: str, encode: Any, count: int) -> None:
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    for shard in range(_SHARDS):
        with tarfile.open(f"{job.prepared}/{shard:03d}.tar", "w") as tar:
            for at in range(shard, count, _SHARDS):
                for suffix, value in ((kind, encode(at)), ("cls", str(at).encode())):
                    entry = tarfile.TarInfo(f"{at:06d}.{suffix}")
                    entry.size = len(value)
                    tar.addfile(entry, io.BytesIO(value))


class Decode:
    """A JPEG file to a float array."""

    def __call__(self, encoded: bytes) -> Any:
        samples.one_opencv_thread()
        return samples.opencv_image(encoded, np.random.default_rng(int(torch.randint(2**62, ()))))


class Crop:
    """A .npy file to a cropped float array."""

    def __call__(self, encoded: bytes) -> Any:
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return samples.cropped_square(np.load(io.BytesIO(encoded)), rng)


def images(job: Job, *, workers: int) -> Loader:
    return _loader(job, "jpg", Decode(), workers)


def images_cached(job: Job, *, workers: int) -> Loader:
    return _loader(job, "npy", Crop(), workers)


def _loader(job: Job, kind: str, decode: Any, workers: int) -> Loader:
    size = job.batch or image_workload.BATCH
    shards = sorted(str(one) for one in job.prepared_path.glob("*.tar"))
    data = (
        webdataset.WebDataset(shards, shardshuffle=_SHARDS, nodesplitter=None)
        .shuffle(_BUFFER)
        .to_tuple(kind, "cls")
        .map_tuple(decode, int)
        .batched(size, partial=True)
    )
    loader = webdataset.WebLoader(data, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    # batches are cut in each worker, so each worker's last one is short: mixed and cut again, as its manual says
    return PerEpoch(lambda number: map(_pair, loader))


def _pair(batch: Any) -> Any:
    arrays, numbers = batch
    return torch.as_tensor(np.asarray(arrays)), torch.as_tensor(np.asarray(numbers)).long()
