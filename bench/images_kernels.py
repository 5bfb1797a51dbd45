"""Image chains beside Pillow and libjpeg-turbo, one thread: `python -m forebay.bench.images_kernels [--quick]`.

JPEG files of 500 x 375 (and 375 x 500), quality 90, cut with fixed seeds from the two photographs that scikit-learn ships,
go through decode, random resized crop to 224, flip and normalize into a float32 batch that is there already. All candidates
take turns; the figures are medians of a thread's CPU time an image, the ratios medians of the rounds' own ratios.

The chain as torchvision writes it is spelled out here with Pillow and torch: the loader's `Image.open().convert("RGB")`,
`RandomResizedCrop`, `RandomHorizontalFlip`, `ToTensor`, `Normalize`, and the stacking of the batch.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay import transforms as T
from forebay.loaders.ring import Ring
from forebay.loaders.slot import slot_bytes
from forebay.transforms.fuse_image import fuse
from forebay.transforms.stage import SlotStage, TensorSpec
from forebay.transforms.transform import Rows, Transform

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Table = dict[str, dict[str, float]]


def photographs(count: int) -> list[bytes]:
    """`count` JPEG files of 500 x 375 or 375 x 500, quality 90."""
    import sklearn.datasets
    from PIL import Image

    folder = Path(sklearn.datasets.__file__).parent / "images"
    photos = [Image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(0)
    files = []
    for at in range(count):
        photo = photos[at % 2]
        width, height = (500, 375) if at % 4 < 3 else (375, 500)
        zoom = rng.uniform(0.55, 1.0) * min(photo.width / width, photo.height / height)
        w, h = int(width * zoom), int(height * zoom)
        left, top = int(rng.integers(0, photo.width - w + 1)), int(rng.integers(0, photo.height - h + 1))
        part = photo.crop((left, top, left + w, top + h)).resize((width, height), Image.Resampling.BICUBIC)
        into = io.BytesIO()
        part.save(into, "JPEG", quality=90)
        files.append(into.getvalue())
    return files


def torchvision_style(files: list[bytes], out: Any) -> None:
    """decode, RandomResizedCrop, RandomHorizontalFlip, ToTensor and Normalize as torchvision 0.2x writes them."""
    import torch
    from PIL import Image

    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (MEAN, STD))
    made = []
    for file in files:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        top, left, height, width = _crop_params(image.width, image.height)
        image = image.crop((left, top, left + width, top + height)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(SIZE, SIZE, 3)
        tensor = tensor.permute((2, 0, 1)).contiguous().to(torch.float32).div(255)
        made.append(tensor.clone().sub_(mean).div_(std))
    torch.stack(made, out=out)


def _crop_params(width: int, height: int) -> tuple[int, int, int, int]:
    import torch

    area = height * width
    low, high = torch.log(torch.tensor((3 / 4, 4 / 3)))
    for _ in range(10):
        target = area * torch.empty(1).uniform_(0.08, 1.0).item()
        shape = torch.exp(torch.empty(1).uniform_(float(low), float(high))).item()
        w, h = round((target * shape) ** 0.5), round((target / shape) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            top = torch.randint(0, height - h + 1, size=(1,)).item()
            return int(top), int(torch.randint(0, width - w + 1, size=(1,)).item()), h, w
    return 0, 0, height, width


def stage(chain: list[Transform], schema: pa.Schema, first: int = 0) -> Any:
    """One fused stage."""
    return fuse(chain, schema, [None] * len(chain), range(first, first + len(chain)))


def decoding(files: list[bytes]) -> dict[str, Callable[[], object]]:
    """The candidates that begin with files."""
    import simplejpeg
    import torch

    batch = pa.record_batch([pa.array(files, pa.binary())], ["image"])
    rows = Rows(np.arange(len(files), dtype=np.uint64))
    out = np.zeros((len(files), 3, SIZE, SIZE), np.float32)
    room = np.zeros(500 * 375 * 3, np.uint8)
    rest: list[Transform] = [T.RandomResizedCrop(SIZE), T.HorizontalFlip(), T.NormalizeImage()]
    fused, fast = (stage([T.DecodeImage(fast=fast), *rest], batch.schema) for fast in (False, True))
    alone: list[SlotStage] = []
    schema = batch.schema
    for op, one in enumerate([T.DecodeImage(), *rest]):
        alone.append(stage([one], schema, op))
        schema = one.output_schema(schema)

    def one_by_one() -> None:
        now = batch
        for one in alone[:-1]:
            now = one.run(now, rows)  # type: ignore[attr-defined]  # an ImageStage is a Stage, too
        alone[-1].run_into(now, rows, None, {"image": out})

    tensor = torch.from_numpy(np.zeros_like(out))
    return {
        "Pillow + torch, as torchvision": lambda: torchvision_style(files, tensor),
        "libjpeg-turbo alone": lambda: [simplejpeg.decode_jpeg(file, "RGB") for file in files],
        "libjpeg-turbo alone, room kept": lambda: [simplejpeg.decode_jpeg(f, "RGB", buffer=room) for f in files],
        "forebay, one by one": one_by_one,
        "forebay, fused": lambda: fused.run_into(batch, rows, None, {"image": out}),
        "forebay, fused, fast=True": lambda: fast.run_into(batch, rows, None, {"image": out}),
    }


def cached(files: list[bytes], folder: Path) -> dict[str, Callable[[], object]]:
    """The candidates that begin with decoded images of 256 pixels in a memory-mapped file."""
    batch = pa.record_batch([pa.array(files, pa.binary())], ["image"])
    rows = Rows(np.arange(len(files), dtype=np.uint64))
    kept = stage([T.DecodeImage(), T.Resize(256)], batch.schema).run(batch, rows)
    path = folder / "kept.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, kept.schema) as writer:
        writer.write_batch(kept)
    mapped = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    take = np.random.default_rng(1).permutation(len(files))
    spec = TensorSpec((3, SIZE, SIZE), np.dtype(np.float32))
    out = Ring().take(slot_bytes(len(files), [spec])).column("image", len(files), spec)  # as a loader has it
    out[:] = 0
    other = np.ones_like(out)
    chain = [T.RandomCrop(SIZE), T.HorizontalFlip(), T.NormalizeImage()]
    after = stage(chain, mapped.schema, 2)
    return {
        "copy of the output": lambda: np.copyto(other, out),
        "forebay, from cached pixels": lambda: after.run_into(mapped, rows, take, {"image": out}),
    }


def measure(candidates: dict[str, Callable[[], object]], *, rounds: int, images: int, against: str) -> Table:
    """Microseconds of CPU an image, and how many times as fast as `against`, medians over rounds in which all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, work in candidates.items():
            began = time.thread_time()
            work()
            if number:  # the first round warms up
                seconds[name].append(time.thread_time() - began)
    base = np.array(seconds[against])
    return {
        name: {"us": 1e6 * float(np.median(one)) / images, "ratio": float(np.median(base / np.array(one)))}
        for name, one in seconds.items()
    }


def errors(files: list[bytes]) -> dict[str, float]:
    """Grey levels between exact decoding and `fast`, and between exact and reduced decoding before Resize(64)."""
    batch = pa.record_batch([pa.array(files, pa.binary())], ["image"])
    rows = Rows(np.arange(len(files), dtype=np.uint64))

    def pixels(*chain: Transform) -> NDArray[np.float64]:
        found = stage([*chain, T.NormalizeImage(dtype="uint8")], batch.schema).run(batch, rows)["image"]
        return found.to_numpy_ndarray().astype(np.float64)

    crop, small = T.CenterCrop(SIZE), (T.Resize(64), T.CenterCrop(64))
    fast = np.abs(pixels(T.DecodeImage(fast=True), crop) - pixels(T.DecodeImage(), crop))
    reduced = np.abs(pixels(T.DecodeImage(), *small) - pixels(T.DecodeImage(reduce=False), *small))
    return {
        "fast_mean": float(fast.mean()),
        "fast_max": float(fast.max()),
        "reduced_mean": float(reduced.mean()),
        "reduced_max": float(reduced.max()),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print the tables, and return them."""
    parser = argparse.ArgumentParser(description="Image chains beside Pillow and libjpeg-turbo, one thread.")
    parser.add_argument("--quick", action="store_true", help="few images: shows that it runs, not how fast")
    quick = parser.parse_args(arguments).quick
    import torch

    torch.set_num_threads(1)
    files = photographs(4 if quick else 128)
    rounds = 2 if quick else 15
    alone = "libjpeg-turbo alone"
    decoded = measure(decoding(files), rounds=rounds, images=len(files), against=alone)
    with tempfile.TemporaryDirectory() as folder:
        candidates = cached(files, Path(folder))
        copied = measure(candidates, rounds=rounds, images=len(files), against="copy of the output")
    away = errors(files)
    lines = [f"{len(files)} files of 500 x 375, {np.mean([len(one) for one in files]) / 1000:.0f} kB on average"]
    for table, base in ((decoded, alone), (copied, "copy of the output")):
        lines += ["", f"{'chain':<32}{'us an image':>12}{f'  times as fast as {base}'}"]
        lines += [f"{name:<32}{row['us']:>12.0f}{row['ratio']:>10.2f}" for name, row in table.items()]
    peer = decoded["Pillow + torch, as torchvision"]["us"]
    lines += [
        "",
        f"fused against torchvision's chain: {peer / decoded['forebay, fused']['us']:.2f} times (3 asked); against "
        f"{alone}: {decoded['forebay, fused']['ratio']:.2f} (0.80 asked)",
        f"fused against one by one: {decoded['forebay, one by one']['us'] / decoded['forebay, fused']['us']:.2f} times",
        f"from cached pixels against a copy: {copied['forebay, from cached pixels']['ratio']:.2f} (0.80 asked)",
        f"grey levels off: fast=True {away['fast_mean']:.2f} on average, {away['fast_max']:.0f} at most; reduced decoding "
        f"before Resize(64) {away['reduced_mean']:.2f} on average, {away['reduced_max']:.0f} at most",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return {"decoded": decoded, "cached": copied, "errors": away}


if __name__ == "__main__":
    main()
