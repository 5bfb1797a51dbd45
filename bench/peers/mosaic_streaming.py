"""Mosaic streaming: MDS shards, StreamingDataset with py1e shuffle, its own loader.

It imports torchvision for data sets that are not used here, and PyPI's torchvision does not work beside a CPU build of
torch. So the few names that it imports are put in their place, empty.
"""

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import samples
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import tokens as token_workload


def _empty(name: str, **names: Any) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []
    module.__dict__.update(names)
    sys.modules[name] = module


_empty("torchvision")
_empty("torchvision.transforms", ToTensor=object)
_empty("torchvision.transforms.functional", to_tensor=None)
_empty("torchvision.datasets", VisionDataset=object)

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset  # noqa: E402  # after the names above


def prepare_tokens(job: Job) -> None:
    ids, count = open_tokens(job.data_path), token_workload.samples(job.data_path)
    with MDSWriter(out=job.prepared, columns={"ids": f"ndarray:uint16:{LENGTH + 1}"}) as writer:
        for number in range(count):
            writer.write({"ids": np.array(ids[number * LENGTH : (number + 1) * LENGTH + 1])})


def _shift(rows: list[Any]) -> Any:
    block = torch.from_numpy(np.stack([row["ids"] for row in rows]).astype(np.int64))
    return block[:, :-1], block[:, 1:]


def tokens(job: Job, *, workers: int) -> Loader:
    size = job.batch or token_workload.BATCH
    data = StreamingDataset(local=job.prepared, shuffle=True, batch_size=size, num_canonical_nodes=1)
    return _loader(data, size, workers, _shift)


def prepare_images(job: Job) -> None:
    with MDSWriter(out=job.prepared, columns={"image": "bytes", "label": "int64"}) as writer:
        for at, path in enumerate(image_files(job.data_path)):
            writer.write({"image": Path(path).read_bytes(), "label": np.int64(at)})


class Decode:
    """A batch of JPEG files."""

    def __call__(self, rows: list[Any]) -> Any:
        samples.one_opencv_thread()
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        made = np.stack([samples.opencv_image(row["image"], rng) for row in rows])
        return torch.from_numpy(made), torch.tensor([int(row["label"]) for row in rows])


class Crop:
    """A batch of pictures."""

    def __call__(self, rows: list[Any]) -> Any:
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        made = np.stack([samples.cropped_square(row["image"], rng) for row in rows])
        return torch.from_numpy(made), torch.tensor([int(row["label"]) for row in rows])


def images(job: Job, *, workers: int) -> Loader:
    size = job.batch or image_workload.BATCH
    data = StreamingDataset(local=job.prepared, shuffle=True, batch_size=size, num_canonical_nodes=1)
    return _loader(data, size, workers, Decode())


def prepare_images_cached(job: Job) -> None:
    with MDSWriter(out=job.prepared, columns={"image": "ndarray:uint8:256,256,3", "label": "int64"}) as writer:
        for at, one in enumerate(image_squares(job.data_path)):
            writer.write({"image": np.array(one), "label": np.int64(at)})


def images_cached(job: Job, *, workers: int) -> Loader:
    size = job.batch or image_workload.BATCH
    data = StreamingDataset(local=job.prepared, shuffle=True, batch_size=size, num_canonical_nodes=1)
    return _loader(data, size, workers, Crop())


def _loader(data: Any, size: int, workers: int, collate: Any) -> Loader:
    loader = StreamingDataLoader(
        data, batch_size=size, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )
    return PerEpoch(lambda number: iter(loader))
