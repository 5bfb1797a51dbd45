"""One sample or one batch by hand, in NumPy, Pillow and OpenCV: what users give to loaders that only move samples."""

import io
from typing import Any

import numpy as np

from forebay.bench.datasets.tokens import LENGTH
from forebay.bench.workloads.images import CROP, MEAN, STD, random_resized_crop

_SCALE = (1 / (255 * np.array(STD))).astype(np.float32)
_SHIFT = (-np.array(MEAN) / np.array(STD)).astype(np.float32)


def pillow_image(encoded: bytes, rng: np.random.Generator) -> np.ndarray:
    """A JPEG to (3, 224, 224) float32 with Pillow, as torchvision's transforms do it."""
    from PIL import Image

    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    top, left, height, width = random_resized_crop(image.height, image.width, rng)
    box = (left, top, left + width, top + height)
    pixels = np.asarray(image.resize((CROP, CROP), Image.Resampling.BILINEAR, box=box))
    return normalized(pixels, flip=rng.random() < 0.5)


def opencv_image(encoded: bytes, rng: np.random.Generator) -> np.ndarray:
    """A JPEG to (3, 224, 224) float32 with OpenCV, which is the faster way and does not smooth when it shrinks."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    top, left, height, width = random_resized_crop(pixels.shape[0], pixels.shape[1], rng)
    pixels = cv2.resize(pixels[top : top + height, left : left + width], (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    return normalized(pixels, flip=rng.random() < 0.5)


def one_opencv_thread() -> None:
    """OpenCV's own threads would fight with those of the loader."""
    import cv2

    cv2.setNumThreads(0)


def cropped_square(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A (256, 256, 3) picture to (3, 224, 224) float32: random crop, flip, normalize."""
    top, left = rng.integers(0, pixels.shape[0] - CROP + 1), rng.integers(0, pixels.shape[1] - CROP + 1)
    return normalized(pixels[top : top + CROP, left : left + CROP], flip=rng.random() < 0.5)


def normalized(pixels: np.ndarray, *, flip: bool, out: np.ndarray | None = None) -> np.ndarray:
    """Interleaved uint8 (H, W, 3) to planar float32, plane by plane, each in one multiplication and one addition."""
    made = np.empty((3, *pixels.shape[:2]), np.float32) if out is None else out
    seen = pixels[:, ::-1] if flip else pixels
    for plane in range(3):
        np.multiply(seen[:, :, plane], _SCALE[plane], out=made[plane])
        made[plane] += _SHIFT[plane]
    return made


def generator(number: int, epoch: int) -> np.random.Generator:
    """Randomness of a sample."""
    return np.random.default_rng((epoch, number))


def token_batch(tokens: np.ndarray, numbers: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sequences `numbers` (N,) of the file as int64 inputs and targets (N, LENGTH)."""
    inputs = np.empty((len(numbers), LENGTH), np.int64)
    targets = np.empty((len(numbers), LENGTH), np.int64)
    for row, number in enumerate(numbers):
        start = int(number) * LENGTH
        inputs[row] = tokens[start : start + LENGTH]
        targets[row] = tokens[start + 1 : start + LENGTH + 1]
    return inputs, targets


def permuted(count: int, epoch: int) -> np.ndarray:
    """Numbers 0 .. count - 1 in the order of an epoch."""
    return np.random.default_rng(epoch).permutation(count)


def batches_of(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut into batches."""
    return [numbers[at : at + size] for at in range(0, len(numbers), size)]


def as_tensors(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """NumPy arrays as torch tensors, without a copy."""
    import torch

    return tuple(torch.from_numpy(np.asarray(one)) for one in arrays)
