"""A data set on a real S3 server, for tests: 60,000 rows, as Parquet and as Arrow."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.s3_server import ENVIRONMENT, KEY, SECRET, S3Server

from forebay.engine.dataset import Dataset, scan
from forebay.formats.remote_fetch import RemoteOptions
from forebay.formats.remote_reads import RemoteReads
from forebay.formats.retry import RetryPolicy
from forebay.formats.store import Store

ROWS = 60_000
QUICK = RetryPolicy(first=0.02, longest=0.2, patience=5.0)


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """A server over the folder, with its keys in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}.items():
            patch.setenv(name, value)
        made = S3Server(folder)
        made.start()
        try:
            yield made
        finally:
            made.stop()


def rows() -> pa.Table:
    """The rows of the data set; `at` is their number."""
    rng = np.random.default_rng(0)
    return pa.table({"at": np.arange(ROWS), "x": rng.random(ROWS), "y": rng.random(ROWS).astype(np.float32)})


def prepare(server: S3Server, folder: Path) -> dict[str, str]:
    """Path in the bucket, by format; written to the store by the engine."""
    raw = folder / "x.parquet"
    pq.write_table(rows(), raw, row_group_size=20_000)
    for format in ("parquet", "arrow"):
        scan(str(raw)).write(server.url(f"prepared/{format}"), format=format, max_rows=10_000)
    return {format: f"prepared/{format}" for format in ("parquet", "arrow")}


def opened(server: S3Server, path: str, port: int | None = None, **options: object) -> Dataset:
    """The data set through `port`, with little patience."""
    found = scan(server.url(path, port))
    files = server.files(port)
    given = {"retry": QUICK, **options}
    cache = given.pop("cache", None)
    reads = RemoteReads(files, RemoteOptions(**given), cache)  # type: ignore[arg-type]
    found.source.store = Store(files, False, remote=reads)
    return found


def content(dataset: Dataset) -> pa.Table:
    """All rows, in order."""
    return pa.Table.from_batches(dataset.iter_batches())
