"""JPEG files of about 500x375, cut from the photographs that scikit-learn ships, each piece another one."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 375, 500
SQUARE = 256
_QUALITY = 90


def photographs() -> list[np.ndarray]:
    """The photographs as (height, width, 3) uint8."""
    from PIL import Image
    from sklearn import datasets

    folder = Path(datasets.__file__).parent / "images"
    return [np.asarray(Image.open(folder / name).convert("RGB")) for name in ("china.jpg", "flower.jpg")]


def piece(photos: list[np.ndarray], number: int) -> np.ndarray:
    """Piece `number`: a window of a photograph, of random place, zoom, flip and brightness, brought to about 500x375."""
    from PIL import Image

    rng = np.random.default_rng(number)
    photo = photos[number % len(photos)]
    height = int(rng.integers(260, photo.shape[0] + 1))
    width = min(photo.shape[1], height * WIDTH // HEIGHT)
    top, left = rng.integers(0, photo.shape[0] - height + 1), rng.integers(0, photo.shape[1] - width + 1)
    window = photo[top : top + height, left : left + width]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    size = (WIDTH + int(rng.integers(-20, 21)), HEIGHT + int(rng.integers(-15, 16)))
    scaled = np.asarray(Image.fromarray(np.ascontiguousarray(window)).resize(size, Image.Resampling.BICUBIC))
    return np.clip(scaled * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8)


def write_images(directory: Path, count: int) -> None:
    """`NUMBER.jpg` for each image, and `squares.npy`: the same images of 256x256, interleaved uint8 (N, 256, 256, 3)."""
    import simplejpeg

    photos = photographs()
    squares = np.lib.format.open_memmap(directory / "squares.npy", "w+", np.uint8, (count, SQUARE, SQUARE, 3))

    def make(number: int) -> None:
        encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(piece(photos, number)), quality=_QUALITY)
        (directory / f"{number:06d}.jpg").write_bytes(encoded)
        squares[number] = square(encoded)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, range(count)))
    squares.flush()
    (directory / "images.json").write_text(json.dumps({"count": count}))


def square(encoded: bytes) -> np.ndarray:
    """An image with its shorter side scaled to 256 and its middle cut out: what the prepared formats keep."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    scale = SQUARE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SQUARE) // 2, (image.height - SQUARE) // 2
    return np.asarray(image.crop((left, top, left + SQUARE, top + SQUARE)))


def image_files(directory: Path) -> list[str]:
    """The JPEG files; the number of an image is its place."""
    count = json.loads((directory / "images.json").read_text())["count"]
    return [str(directory / f"{number:06d}.jpg") for number in range(count)]


def image_squares(directory: Path) -> np.ndarray:
    """`squares.npy`, memory-mapped."""
    return np.load(directory / "squares.npy", mmap_mode="r")
