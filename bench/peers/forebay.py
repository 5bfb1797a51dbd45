"""forebay itself, through its public API."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.bench.datasets.documents import LEAST
from forebay.bench.datasets.images import image_files
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, MODULUS, table_files
from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import python as python_workload
from forebay.bench.workloads import ragged_text as text_workload
from forebay.bench.workloads import tokens as token_workload
from forebay.bench.workloads import transport as transport_workload

_ROWS = 256
_TOKEN_ROWS = 32_768


_TRANSFORMS = {
    "tokens": ("ShiftTokens",),
    "images": ("DecodeImage", "RandomResizedCrop", "HorizontalFlip", "NormalizeImage"),
    "images_cached": ("DecodeImage", "Resize", "CenterCrop", "RandomCrop", "HorizontalFlip", "NormalizeImage"),
    "tabular": ("FillNull", "Log1p", "Standardize", "Modulo", "Stack"),
    "ragged_text": ("Tokenize",),
    "prep_tabular": ("FillNull", "Log1p", "Standardize", "Modulo"),
    "prep_text": ("NormalizeUnicode", "TrimText", "Where", "DropDuplicates"),
}


def imports(workload: str) -> None:
    """What a script imports at its top, as the files of the other peers do; names are resolved when they are asked for."""
    from forebay import DataLoader  # noqa: F401

    if workload not in _TRANSFORMS:  # a torch data set, with one import changed
        return
    from forebay import scan, transforms  # noqa: F401

    for name in _TRANSFORMS[workload]:
        getattr(transforms, name)


class Columns:
    """A forebay loader whose batches (dicts) come as tuples in the workload's order."""

    def __init__(self, loader: Any, names: tuple[str, ...]) -> None:
        self._loader, self._names = loader, names

    def epoch(self, number: int) -> Any:
        self._loader.set_epoch(number)
        for batch in self._loader:
            yield tuple(batch[name] for name in self._names)


def prepare_tokens(job: Job) -> None:
    """Rows of LENGTH + 1 ids in one Arrow file."""
    tokens, count = open_tokens(job.data_path), token_workload.samples(job.data_path)
    schema = pa.schema([("ids", pa.list_(pa.uint16(), LENGTH + 1))])
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(f"{job.prepared}/tokens.arrow", "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        # large record batches: rows of a batch that lie in one of them are gathered together
        for start in range(0, count, _TOKEN_ROWS):
            rows = min(_TOKEN_ROWS, count - start)
            first = (start + np.arange(rows)) * LENGTH
            block = tokens[first[:, None] + np.arange(LENGTH + 1)]
            ids = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), LENGTH + 1)
            writer.write(pa.record_batch([ids], schema=schema))


def tokens(job: Job, *, threads: int) -> Loader:
    import forebay as fb
    from forebay import transforms as T

    ds = fb.scan(f"{job.prepared}/tokens.arrow").apply(T.ShiftTokens("ids"))
    loader = fb.DataLoader(ds, batch_size=job.batch or token_workload.BATCH, shuffle=True, num_workers=threads)
    return Columns(loader, ("input_ids", "labels"))


def prepare_images(job: Job) -> None:
    """The JPEG files as they are, in one Arrow file, with their numbers as labels."""
    files = image_files(job.data_path)
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(f"{job.prepared}/images.arrow", "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, len(files), _ROWS):
            some = files[start : start + _ROWS]
            encoded = [Path(one).read_bytes() for one in some]
            labels = np.arange(start, start + len(some))
            writer.write(pa.record_batch([pa.array(encoded, pa.binary()), pa.array(labels)], schema=schema))


def images(job: Job, *, threads: int) -> Loader:
    import forebay as fb
    from forebay import transforms as T

    ds = fb.scan(f"{job.prepared}/images.arrow").apply(
        T.DecodeImage(), T.RandomResizedCrop(image_workload.CROP), T.HorizontalFlip(), T.NormalizeImage()
    )
    loader = fb.DataLoader(ds, batch_size=job.batch or image_workload.BATCH, shuffle=True, num_workers=threads)
    return Columns(loader, ("image", "label"))


def _cached(job: Job) -> Any:
    import forebay as fb
    from forebay import transforms as T

    scanned = fb.scan(f"{job.prepared}/images.arrow").apply(T.DecodeImage(), T.Resize(256), T.CenterCrop(256))
    random = scanned.apply(T.RandomCrop(image_workload.CROP), T.HorizontalFlip(), T.NormalizeImage())
    return random.cache(f"{job.prepared}/cache")


def prepare_images_cached(job: Job) -> None:
    """The cache, filled by one epoch."""
    prepare_images(job)
    for _ in Columns(_loader_of(_cached(job), job, 2), ("image", "label")).epoch(0):
        continue


def images_cached(job: Job, *, threads: int) -> Loader:
    return Columns(_loader_of(_cached(job), job, threads), ("image", "label"))


def _loader_of(ds: Any, job: Job, threads: int) -> Any:
    import forebay as fb

    return fb.DataLoader(ds, batch_size=job.batch or image_workload.BATCH, shuffle=True, num_workers=threads)


def prepare_tabular(job: Job) -> None:
    """What the fitted transforms learn, as the other systems are given mean and deviation."""
    import forebay as fb
    from forebay import transforms as T

    ds = fb.scan(table_files(job.data_path)).apply(
        T.FillNull(FLOATS, value=0.0),
        T.Log1p(FLOATS),
        T.Standardize(FLOATS),
        T.Modulo(INTEGERS, divisor=MODULUS),
        T.Stack(FLOATS, into="dense"),
        T.Stack(INTEGERS, into="sparse"),
    )
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    (job.prepared_path / "fitted.pickle").write_bytes(pickle.dumps(ds.fit()))


def tabular(job: Job, *, threads: int) -> Loader:
    import forebay as fb
    from forebay.bench.workloads.tabular import BATCH

    ds = pickle.loads((job.prepared_path / "fitted.pickle").read_bytes())
    loader = fb.DataLoader(ds, batch_size=job.batch or BATCH, shuffle=False, num_workers=threads)
    return Columns(loader, ("dense", "sparse", "label"))


def python(job: Job, *, workers: int) -> Loader:
    return _plain(python_workload.dataset(job.data_path), job.batch or python_workload.BATCH, workers)


def transport(job: Job, *, workers: int, side: int = 224) -> Loader:
    return _plain(transport_workload.dataset(job.data_path, side), job.batch or transport_workload.BATCH, workers)


def _plain(dataset: Any, batch: int, workers: int) -> Loader:
    """A torch data set, with one import changed."""
    import forebay as fb

    loader = fb.DataLoader(
        dataset,
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return PerEpoch(lambda number: map(tuple, loader))


def ragged_text(job: Job, *, threads: int) -> Loader:
    import forebay as fb
    from forebay import transforms as T

    tokenize = T.Tokenize("text", tokenizer=str(job.data_path / "tokenizer.json"), into="ids")
    loader = fb.DataLoader(
        fb.scan(str(job.data_path / "documents.arrow")).apply(tokenize),
        batch_size=job.batch or text_workload.BATCH,
        shuffle=True,
        num_workers=threads,
        pad=fb.Packed("ids"),
    )
    return Columns(loader, ("input_ids", "labels", "position_ids", "cu_seq_lens_q", "number"))


def prep_text(job: Job) -> Loader:
    from forebay.bench.peers.preparation import prepared

    def work(source: str, target: str) -> None:
        import forebay as fb
        from forebay import transforms as T

        ds = fb.scan(f"{source}/*.parquet").apply(
            T.NormalizeUnicode("text"),
            T.TrimText("text", inner=True),
            T.Where(f"length(text) >= {LEAST}"),
            T.DropDuplicates("text"),
        )
        ds.fit().write(target)

    return prepared(job, work)


def prep_tabular(job: Job) -> Loader:
    from forebay.bench.peers.preparation import prepared
    from forebay.bench.prep_tabular import forebay

    return prepared(job, forebay)
