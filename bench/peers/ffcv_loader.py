"""FFCV: one .beton file, operations that it compiles with Numba into loops over its threads."""

from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.fields.rgb_image import ResizedCropRGBImageDecoder
from ffcv.loader import Loader as FFCVLoader
from ffcv.loader import OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from PIL import Image

from forebay.bench.datasets.images import image_files, image_squares
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads.images import CROP, MEAN, STD

_QUALITY = 90
"""Its writer takes pixels only: JPEGs are encoded again, at the quality that its ImageNet example uses."""


class Decoded:
    """What its writer takes: a data set of (pixels, number)."""

    def __init__(self, files: list[str]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return Image.open(self._files[at]).convert("RGB"), at


class Squares:
    """The 256x256 pixels, each with its number."""

    def __init__(self, data: str) -> None:
        self._data = Path(data)

    def __len__(self) -> int:
        return image_workload.samples(self._data)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return np.ascontiguousarray(image_squares(self._data)[at]), at


def prepare_images(job: Job) -> None:
    files = [str(one) for one in image_files(job.data_path)]
    _write(job, Decoded(files), RGBImageField(write_mode="jpg", jpeg_quality=_QUALITY))


def prepare_images_cached(job: Job) -> None:
    _write(job, Squares(job.data), RGBImageField(write_mode="raw"))


def _beton(job: Job) -> Path:
    return job.prepared_path / "images.beton"


def _write(job: Job, data: Any, field: RGBImageField) -> None:
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    writer = DatasetWriter(str(_beton(job)), {"image": field, "label": IntField()}, num_workers=2)
    writer.from_indexed_dataset(data)


class RandomCropDecoder(ResizedCropRGBImageDecoder):
    """A random crop without a change of scale, made the way its documentation adds a decoder: by its crop alone."""

    scale = ratio = None

    @property
    def get_crop_generator(self) -> Any:
        return _random_crop


def _random_crop(height: int, width: int, _scale: Any, _ratio: Any) -> tuple[int, int, int, int]:
    top = int(np.random.uniform(0, height - CROP + 1))
    left = int(np.random.uniform(0, width - CROP + 1))
    return top, left, CROP, CROP


def images(job: Job, *, workers: int) -> Loader:
    return _loader(job, RandomResizedCropRGBImageDecoder((CROP, CROP)), workers)


def images_cached(job: Job, *, workers: int) -> Loader:
    return _loader(job, RandomCropDecoder((CROP, CROP)), workers)


def _loader(job: Job, decoder: Any, workers: int) -> Loader:
    mean, std = (255 * np.array(one) for one in (MEAN, STD))
    loader = FFCVLoader(
        str(_beton(job)),
        batch_size=job.batch or image_workload.BATCH,
        num_workers=workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        pipelines={
            "image": [
                decoder,
                RandomHorizontalFlip(),
                NormalizeImage(mean, std, np.float32),
                ToTensor(),
                ToTorchImage(channels_last=False),
            ],
            "label": [IntDecoder(), ToTensor(), Squeeze()],
        },
    )
    return PerEpoch(lambda number: iter(loader))
