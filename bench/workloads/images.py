"""images: JPEGs through RandomResizedCrop 224, flip and normalize to float32 NCHW, batch 64, shuffled."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from forebay.bench.datasets.images import write_images
from forebay.bench.datasets.store import made_once

BATCH = 64
UNIT = "images"
ABOUT = "6,016 JPEGs of about 500x375: RandomResizedCrop 224, flip, normalize, float32 NCHW, batch 64, shuffled"
CROP = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONTRACT = (("images", (3, CROP, CROP), "float32"), ("labels", (), "int64"))
IMAGES, QUICK_IMAGES = 6_016, 256


def make_data(*, quick: bool) -> Path:
    """The data set's directory, made if it is not there."""
    images = QUICK_IMAGES if quick else IMAGES
    return made_once(f"images-{images}", lambda to: write_images(to, images))


def samples(data: Path) -> int:
    """Images in the data set."""
    return int(json.loads((data / "images.json").read_text())["count"])


def count(batch: Any) -> int:
    """Samples of a batch (limits give the number itself)."""
    return batch if isinstance(batch, int) else len(batch[1])


def ids(batch: Any) -> np.ndarray:
    """Which images a batch holds: labels are their numbers."""
    return batch[1].numpy()


class Oracle:
    """Random crops have no one right value: that they lie in the range of normalized pixels, and are pictures, is checked."""

    def __init__(self, data: Path) -> None:
        self._low = min(-mean / std for mean, std in zip(MEAN, STD, strict=True)) - 1e-3
        self._high = max((1 - mean) / std for mean, std in zip(MEAN, STD, strict=True)) + 1e-3

    def faults(self, batch: Any) -> list[str]:
        """What cannot be a normalized picture."""
        pixels = batch[0]
        low, high = float(pixels.min()), float(pixels.max())
        if not (self._low <= low and high <= self._high):
            return [
                f"values from {low:.3f} to {high:.3f}; normalized pixels lie in {self._low:.3f} to {self._high:.3f}"
            ]
        flat = pixels.flatten(1).std(1)
        return ["an image of one colour"] if float(flat.min()) < 0.02 else []


def random_resized_crop(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(top, left, height, width), drawn as torchvision documents it: scale 0.08 to 1, ratio 3/4 to 4/3."""
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
