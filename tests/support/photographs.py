"""Image files cut from the two photographs that scikit-learn ships, with fixed seeds."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image


@cache
def photographs():
    """The photographs, (427, 640, 3) uint8."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [np.asarray(Image.open(folder / name).convert("RGB")) for name in ("china.jpg", "flower.jpg")]


def cut(number, height, width):
    """Piece `number` of this size."""
    rng = np.random.default_rng(number)
    photo = photographs()[number % 2]
    top = rng.integers(0, photo.shape[0] - height + 1)
    left = rng.integers(0, photo.shape[1] - width + 1)
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def encoded(pixels, kind="JPEG", **options):
    """An image file of these pixels."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    into = io.BytesIO()
    image.save(into, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return into.getvalue()


@cache
def jpegs(count=12, height=300, width=400):
    """`count` JPEG files, every third upright."""
    shapes = [(height, width), (height, width), (width, height)]
    return [encoded(cut(at, *shapes[at % 3])) for at in range(count)]
