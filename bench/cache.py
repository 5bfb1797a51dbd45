"""Images with and without the cache, against the stock loader: `python -m forebay.bench.cache [--quick]`.

JPEGs of about 500x375 go through decode, resize (short side 256), random crop 224, flip, normalize, in batches of 64 float32
images, two threads or workers on each side. Timed in turn, several times:

* stock: torch's DataLoader over a data set that uses Pillow and does the same by hand,
* forebay without a cache, with one that is empty, and with one that is full; those without and with an empty one change
  places from round to round,
* decode, resize, write: what filling a cache cannot do without, by hand: two threads read and decode whole files, resize them
  into memory that is used again, and write the pixels of 64 at a time to a file: no checksum, no sync, no names,
* copying: two threads copy as many finished float32 batches from one place in memory to another.

Printed are medians of images a second, of CPU microseconds an image (user and system time of all processes), and how many
processors that makes; then medians of what the rounds say of the promises, by wall time and by CPU time, which other work
on the machine disturbs less. "least possible" is what the first epoch would be slower by if it consisted of the bare decode,
resize and write, and of what the second epoch does.

The JPEGs are smooth random fields with some noise: 300 different ones, each written several times under different names.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from forebay.engine.cache_stage import CachedSource
from forebay.engine.dataset import Dataset, scan
from forebay.loaders.dataloader import DataLoader
from forebay.transforms.image_decode import DecodeImage
from forebay.transforms.image_encoded import EncodedImages
from forebay.transforms.image_geometry import HorizontalFlip, Resize
from forebay.transforms.image_normalize import NormalizeImage
from forebay.transforms.image_output import plain
from forebay.transforms.image_placement import Placement
from forebay.transforms.image_random_crop import RandomCrop
from forebay.transforms.image_render import Renderer

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


def fill_by_hand(folder: Path, into: Path) -> int:
    """Decode and resize all images and write the pixels, 64 to a file, in two threads."""
    everything = sorted(folder.rglob("*.jpg"))

    def unit(at: int) -> None:
        paths = everything[at : at + BATCH]
        column = pa.array([path.read_bytes() for path in paths], pa.binary())
        images = EncodedImages(column, None, DecodeImage())
        placement = Placement.whole(images.sizes)
        Resize(256).place(placement, np.zeros((len(paths), 0)))
        renderer, output = Renderer(placement, np.ones(len(paths), np.int64)), plain(3)
        sizes = placement.sizes.prod(axis=1) * 3
        room = np.empty(int(sizes.max()), np.uint8)
        with open(into / str(at), "wb", buffering=0) as file:
            for row, size in enumerate(sizes.tolist()):
                renderer.draw(images.pixels(row), row, output=output, flat=room, place=0)
                file.write(room[:size].data)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(unit, range(0, len(everything), BATCH)))
    return len(everything)


@dataclass(frozen=True, slots=True)
class Timed:
    """One run."""

    images: int
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time, of processes that ended meanwhile, too."""

    @classmethod
    def of(cls, work: Callable[[], int]) -> "Timed":
        before, began = os.times(), time.perf_counter()
        images = work()
        wall, after = time.perf_counter() - began, os.times()
        return cls(images, wall, sum(after[:4]) - sum(before[:4]))

    @property
    def rate(self) -> float:
        return self.images / self.wall


def measure(folder: Path, count: int, rounds: int) -> dict[str, list[Timed]]:
    """What was run -> its time in each round."""
    without = pipeline(folder)
    sources, targets = ([np.ones((BATCH, 3, CROP, CROP), np.float32) for _ in range(2 * WORKERS)] for _ in range(2))
    found: dict[str, list[Timed]] = {}

    def note(name: str, work: Callable[[], int]) -> None:
        found.setdefault(name, []).append(Timed.of(work))

    def filling() -> None:
        with tempfile.TemporaryDirectory() as cold:
            cached = without.cache(cold)
            loader = loader_of(cached)
            note("first epoch, filling", partial(epoch, loader))
            note("second epoch", partial(epoch, loader))
            cast(CachedSource, cached.source).cache.close()  # what is on its way to the disk would miss its folder

    turns = [lambda: note("no cache", partial(epoch, loader_of(without))), filling]
    epoch(loader_of(without))  # compiles
    for number in range(rounds):
        note("stock", lambda: stock_epoch(folder))
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
        with tempfile.TemporaryDirectory() as room:
            note("decode, resize, write", partial(fill_by_hand, folder, Path(room)))
        note("copying", lambda: copy_batches(sources, targets, count))
    return found


def compare(found: Mapping[str, Sequence[Timed]]) -> dict[str, float]:
    """Medians over the rounds of what is promised."""

    def median(of: Callable[..., float], *names: str) -> float:
        return statistics.median(of(*one) for one in zip(*(found[name] for name in names), strict=True))

    plain, first, second, hand = "no cache", "first epoch, filling", "second epoch", "decode, resize, write"
    return {
        "times stock": median(lambda a, b: a.rate / b.rate, second, "stock"),
        "of the copy limit": median(lambda a, b: a.rate / b.rate, second, "copying"),
        "first epoch slower by": median(lambda a, b: a.wall / b.wall - 1, first, plain),
        "  by CPU time": median(lambda a, b: a.cpu / b.cpu - 1, first, plain),
        "  least possible": median(lambda a, b, c: (a.wall + b.wall) / c.wall - 1, hand, second, plain),
        "  least possible by CPU": median(lambda a, b, c: (a.cpu + b.cpu) / c.cpu - 1, hand, second, plain),
    }


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure, print a table, and return it."""
    parser = argparse.ArgumentParser(description="Images with and without the cache, against the stock loader.")
    parser.add_argument("--quick", action="store_true", help="few images: shows that it runs, not how fast")
    parser.add_argument("--images", type=int, default=None, help="how many (6000)")
    parser.add_argument("--rounds", type=int, default=None, help="how often each is run (3)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    count = given.images or (256 if given.quick else 6000)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), count)
        found = measure(Path(folder), count, given.rounds or (1 if given.quick else 3))
    rates = {name: statistics.median(one.rate for one in runs) for name, runs in found.items()}
    lines = [f"{'':<24}{'images/s':>12}{'CPU us/image':>14}{'processors':>12}"]
    for name, runs in found.items():
        each = statistics.median(one.cpu / one.images for one in runs) * 1e6
        lines.append(
            f"{name:<24}{rates[name]:>12.1f}{each:>14.1f}{statistics.median(one.cpu / one.wall for one in runs):>12.2f}"
        )
    said = compare(found)
    lines += [f"{name:<24}{value:>12.2f}" for name, value in said.items()]
    lines.append("promised: " + ", ".join(f"{name} {value:g}" for name, value in PROMISES.items()))
    sys.stdout.write("\n".join(lines) + "\n")
    return {**rates, **{name.strip(): value for name, value in said.items()}}


if __name__ == "__main__":
    main()
