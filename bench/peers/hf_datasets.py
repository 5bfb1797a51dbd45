"""Hugging Face datasets: memory-mapped Arrow, indices shuffled, rows formatted as torch or NumPy."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Array3D, Dataset, Features, Sequence, Value
from torch.utils.data import DataLoader

from forebay.bench.datasets.documents import LEAST
from forebay.bench.datasets.images import SQUARE, image_files, image_squares
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, table_files, table_stats
from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.parquet_settings import arrow_settings
from forebay.bench.peers import samples
from forebay.bench.peers.packed_text import packed
from forebay.bench.peers.text_preparation import clean
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import ragged_text as text_workload
from forebay.bench.workloads import tabular as table_workload
from forebay.bench.workloads import tokens as token_workload

_ROWS = 256


def prepare_tokens(job: Job) -> None:
    ids, count = open_tokens(job.data_path), token_workload.samples(job.data_path)

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield {"ids": ids[number * LENGTH : (number + 1) * LENGTH + 1]}

    features = Features({"ids": Sequence(Value("uint16"), length=LENGTH + 1)})
    _save(job, rows, features)


def tokens(job: Job, *, workers: int) -> Loader:
    data = datasets.load_from_disk(job.prepared).with_format("numpy")
    size = job.batch or token_workload.BATCH
    if workers:
        return _torch_loader(data, size, workers, _shift)

    def epoch(number: int) -> Iterator[Any]:
        for batch in data.shuffle(seed=number).iter(size):
            wide = torch.from_numpy(batch["ids"].astype(np.int64))
            yield wide[:, :-1], wide[:, 1:]

    return PerEpoch(epoch)


def _shift(rows: list[Any]) -> Any:
    wide = torch.from_numpy(np.stack([row["ids"] for row in rows]).astype(np.int64))
    return wide[:, :-1], wide[:, 1:]


def prepare_images(job: Job) -> None:
    files = image_files(job.data_path)

    def rows() -> Iterator[dict[str, Any]]:
        for at, path in enumerate(files):
            yield {"image": Path(path).read_bytes(), "label": at}

    _save(job, rows, Features({"image": Value("binary"), "label": Value("int64")}))


class Decode:
    """A transform on access: a list of JPEG files to float arrays."""

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        samples.one_opencv_thread()
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return {
            "image": [torch.from_numpy(samples.opencv_image(one, rng)) for one in rows["image"]],
            "label": rows["label"],
        }


class Crop:
    """A transform on access: arrays of pixels to cropped float arrays."""

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        pixels = (np.asarray(one, np.uint8) for one in rows["image"])
        return {"image": [torch.from_numpy(samples.cropped_square(one, rng)) for one in pixels], "label": rows["label"]}


def images(job: Job, *, workers: int) -> Loader:
    data = datasets.load_from_disk(job.prepared).with_transform(Decode())
    return _torch_loader(data, job.batch or image_workload.BATCH, workers, _stack)


def _stack(rows: list[Any]) -> Any:
    return torch.stack([row["image"] for row in rows]), torch.tensor([row["label"] for row in rows])


def prepare_images_cached(job: Job) -> None:
    pixels = image_squares(job.data_path)

    def rows() -> Iterator[dict[str, Any]]:
        for at, one in enumerate(pixels):
            yield {"image": one, "label": at}

    _save(job, rows, Features({"image": Array3D((SQUARE, SQUARE, 3), "uint8"), "label": Value("int64")}))


class CropNumpy:
    """Rows formatted as NumPy to a batch."""

    def __call__(self, rows: list[Any]) -> Any:
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        made = np.stack([samples.cropped_square(row["image"], rng) for row in rows])
        return torch.from_numpy(made), torch.tensor([int(row["label"]) for row in rows])


def images_cached(job: Job, *, workers: int) -> Loader:
    data = datasets.load_from_disk(job.prepared).with_format("numpy")
    return _torch_loader(data, job.batch or image_workload.BATCH, workers, CropNumpy())


def tabular(job: Job, *, workers: int) -> Loader:
    """Streamed from the Parquet files as Arrow tables."""
    _, mean, std = table_stats(job.data_path)
    size = job.batch or table_workload.BATCH
    data = datasets.load_dataset("parquet", data_files=table_files(job.data_path), split="train", streaming=True)

    def epoch(number: int) -> Iterator[Any]:
        for table in data.with_format("arrow").iter(size):
            # a batch that spans row groups comes in pieces
            whole = table.combine_chunks() if isinstance(table, pa.Table) else table
            yield samples.as_tensors(table_workload.transformed(whole, mean, std))

    return PerEpoch(epoch)


def _save(job: Job, rows: Any, features: Any) -> None:
    made = Dataset.from_generator(rows, features=features, cache_dir=f"{job.prepared}-tmp", writer_batch_size=_ROWS)
    made.save_to_disk(job.prepared)
    shutil.rmtree(f"{job.prepared}-tmp", ignore_errors=True)


def _torch_loader(data: Any, batch: int, workers: int, collate: Any) -> Loader:
    loader: Any = DataLoader(
        data, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
    )
    return PerEpoch(lambda number: iter(loader))


class Tokenize:
    """A transform on access: texts to lists of tokens; a batch at once, since the loader asks for rows by batches."""

    def __init__(self, data: Path, *, parallel: bool) -> None:
        self._data, self._parallel = data, parallel
        self._tokenizer: Any = None

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        if self._tokenizer is None:
            self._tokenizer = text_workload.tokenizer(self._data, parallel=self._parallel)
        return {"ids": [one.ids for one in self._tokenizer.encode_batch_fast(rows["text"])], "number": rows["number"]}


def _pack(rows: list[Any]) -> Any:
    return packed([row["ids"] for row in rows], [row["number"] for row in rows])


def ragged_text(job: Job, *, workers: int) -> Loader:
    file = str(job.data_path / "documents.arrow")
    data = Dataset(datasets.table.MemoryMappedTable(pa.ipc.open_file(pa.memory_map(file)).read_all(), file))
    data = data.with_transform(Tokenize(job.data_path, parallel=workers == 0))
    return _torch_loader(data, job.batch or text_workload.BATCH, workers, _pack)


def _write_parquet(data: Any, target: str) -> None:
    """Its own to_parquet takes none of these settings."""
    schema = data.features.arrow_schema
    with pq.ParquetWriter(f"{target}/out.parquet", schema, **arrow_settings(schema)) as out:
        for table in data.with_format("arrow").iter(65_536):
            out.write_table(table)


class Moments:
    """A `map` function over Arrow tables: sums and squares of log1p, a row a batch."""

    def __call__(self, table: Any) -> Any:
        made: dict[str, list[float]] = {"rows": [table.num_rows]}
        for name in FLOATS:
            logged = np.log1p(table.column(name).fill_null(np.float32(0)).to_numpy()).astype(np.float64)
            made[f"{name}_sum"], made[f"{name}_squares"] = [float(logged.sum())], [float((logged**2).sum())]
        return pa.table(made)


class Scale:
    """A `map` function over Arrow tables: the columns as the workload wants them."""

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        self._mean, self._std = mean, std

    def __call__(self, table: Any) -> Any:
        dense, sparse, label = table_workload.transformed(table, self._mean, self._std)
        columns = {name: np.ascontiguousarray(dense[:, at]) for at, name in enumerate(FLOATS)}
        columns |= {name: np.ascontiguousarray(sparse[:, at]) for at, name in enumerate(INTEGERS)}
        return pa.table({**columns, "label": label})


def prep_tabular(job: Job, *, processes: int) -> Loader:
    """Two maps over Arrow tables, with its cache thrown away between runs."""
    from forebay.bench.peers.preparation import prepared

    def work(source: str, target: str) -> None:
        how: dict[str, Any] = {"batched": True, "batch_size": 65_536, "num_proc": processes}
        cache = f"{target}-cache"
        data = datasets.load_dataset(
            "parquet", data_files=table_files(Path(source)), split="train", cache_dir=cache
        ).with_format("arrow")
        sums = data.map(Moments(), remove_columns=data.column_names, **how).with_format("numpy")[:]
        rows = sums["rows"].sum()
        mean = np.array([sums[f"{name}_sum"].sum() for name in FLOATS]) / rows
        std = np.sqrt(np.array([sums[f"{name}_squares"].sum() for name in FLOATS]) / rows - mean**2)
        Path(target).mkdir(parents=True)
        made = data.map(Scale(mean, std), remove_columns=data.column_names, **how)
        _write_parquet(made, target)
        shutil.rmtree(cache)

    return prepared(job, work)


class First:
    """A `filter` function, in one process: texts that did not come before."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, texts: list[str]) -> list[bool]:
        kept = []
        for text in texts:
            kept.append(text not in self._seen)
            self._seen.add(text)
        return kept


def _clean(rows: dict[str, Any]) -> dict[str, Any]:
    return {"text": [clean(text) for text in rows["text"]]}


def _long_enough(texts: list[str]) -> list[bool]:
    return [len(text) >= LEAST for text in texts]


def prep_text(job: Job, *, processes: int) -> Loader:
    """A map and a filter in processes, then a filter that remembers, with its cache thrown away between runs."""
    from forebay.bench.peers.preparation import prepared

    def work(source: str, target: str) -> None:
        how: dict[str, Any] = {"batched": True, "num_proc": processes}
        cache, files = f"{target}-cache", sorted(str(one) for one in Path(source).glob("*.parquet"))
        data = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
        made = data.map(_clean, **how).filter(_long_enough, input_columns="text", **how)
        made = made.filter(
            First(), input_columns="text", batched=True, load_from_cache_file=False, new_fingerprint="first"
        )
        Path(target).mkdir(parents=True)
        _write_parquet(made, target)
        shutil.rmtree(cache)

    return prepared(job, work)
