"""Images with and without the cache, against the stock loader: `python -m forebay.bench.cache [--quick]`.

JPEGs of about 500x375 go through decode, resize (short side 256), random crop 224, flip, normalize, in batches of 64 float32
images, two threads or workers on each side. Timed in turn, several times, medians of images a second:

* stock: torch's DataLoader over a data set that uses Pillow and does the same by hand,
* forebay without a cache, with one that is empty, and with one that is full,
* copying: two threads copy as many finished float32 batches from one place in memory to another.

The JPEGs are smooth random fields with some noise: 300 different ones, each written several times under different names.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forebay.engine.dataset import Dataset, scan
from forebay.loaders.dataloader import DataLoader
from forebay.transforms.image_decode import DecodeImage
from forebay.transforms.image_geometry import HorizontalFlip, Resize
from forebay.transforms.image_normalize import NormalizeImage
from forebay.transforms.image_random_crop import RandomCrop

BATCH = 64
WORKERS = 2
CROP = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DIFFERENT = 300

PROMISES = {"times stock": 35.0, "of the copy limit": 0.70, "first epoch slower by": 0.15}


def write_images(folder: Path, count: int) -> None:
    """`count` JPEGs in ten class folders."""
    import simplejpeg
    from PIL import Image

    rng = np.random.default_rng(0)
    made = []
    for _ in range(min(count, DIFFERENT)):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        made.append(simplejpeg.encode_jpeg(np.ascontiguousarray(noisy), quality=90))
    for at in range(count):
        path = folder / f"class{at % 10}" / f"{at:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[at % len(made)])


class PillowImages(torch.utils.data.Dataset[Any]):
    """The same work, an image at a time, as most training scripts do it."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.rglob("*.jpg"))
        self._mean = torch.tensor(MEAN).view(3, 1, 1)
        self._std = torch.tensor(STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        path = self._paths[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left = int(torch.randint(0, image.width - CROP + 1, ()))
        top = int(torch.randint(0, image.height - CROP + 1, ()))
        pixels = torch.from_numpy(np.array(image.crop((left, top, left + CROP, top + CROP))))
        tensor = pixels.permute(2, 0, 1).contiguous().float().div(255)
        if torch.rand(()) < 0.5:
            tensor = tensor.flip(2)
        return (tensor - self._mean) / self._std, int(path.parent.name[-1])


def pipeline(folder: Path) -> Dataset:
    """The forebay side, without a cache."""
    normalize = NormalizeImage(mean=MEAN, std=STD)
    images = scan(str(folder)).select("image", "label")
    return images.apply(DecodeImage(), Resize(256), RandomCrop(CROP), HorizontalFlip(), normalize)


def loader_of(dataset: Dataset) -> DataLoader:
    return DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS, seed=0)


def epoch(loader: DataLoader) -> int:
    """Images of the loader's next epoch."""
    return sum(len(batch["image"]) for batch in loader)


def stock_epoch(folder: Path) -> int:
    """Images of one epoch of torch's loader."""
    loader = torch.utils.data.DataLoader(PillowImages(folder), batch_size=BATCH, shuffle=True, num_workers=WORKERS)
    return sum(len(images) for images, _ in loader)


def copy_batches(sources: list[NDArray[np.float32]], targets: list[NDArray[np.float32]], count: int) -> int:
    """Copy as many finished images as an epoch has, a batch at a time, in two threads."""

    def copy(at: int) -> None:
        np.copyto(targets[at % len(targets)], sources[(at + 1) % len(sources)])

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(copy, range(-(-count // BATCH))))
    return count


def rate(work: Callable[[], int]) -> float:
    """Images a second."""
    began = time.perf_counter()
    images = work()
    return images / (time.perf_counter() - began)


def measure(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Medians of images a second, by what was run."""
    plain = pipeline(folder)
    sources, targets = ([np.ones((BATCH, 3, CROP, CROP), np.float32) for _ in range(2 * WORKERS)] for _ in range(2))
    found: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], int]) -> None:
        found.setdefault(name, []).append(rate(work))

    epoch(loader_of(plain))  # compiles
    for _ in range(rounds):
        note("stock", lambda: stock_epoch(folder))
        note("no cache", partial(epoch, loader_of(plain)))
        with tempfile.TemporaryDirectory() as cold:
            cached = loader_of(plain.cache(cold))
            note("first epoch, filling", partial(epoch, cached))
            note("second epoch", partial(epoch, cached))
        note("copying", lambda: copy_batches(sources, targets, count))
    return {name: statistics.median(values) for name, values in found.items()}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure, print a table, and return it."""
    parser = argparse.ArgumentParser(description="Images with and without the cache, against the stock loader.")
    parser.add_argument("--quick", action="store_true", help="few images: shows that it runs, not how fast")
    parser.add_argument("--images", type=int, default=None, help="how many (6000)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    count = given.images or (256 if given.quick else 6000)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), count)
        table = measure(Path(folder), count, 1 if given.quick else 3)
    table["times stock"] = table["second epoch"] / table["stock"]
    table["of the copy limit"] = table["second epoch"] / table["copying"]
    table["first epoch slower by"] = table["no cache"] / table["first epoch, filling"] - 1
    lines = [f"{name:<24}{value:>12.2f}" for name, value in table.items()]
    lines.append("promised: " + ", ".join(f"{name} {value:g}" for name, value in PROMISES.items()))
    sys.stdout.write("\n".join(lines) + "\n")
    return table


if __name__ == "__main__":
    main()
