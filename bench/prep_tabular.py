"""Preparing a table: forebay against hand-written Polars streaming, pyarrow and pandas, side by side.

`python -m forebay.bench.prep_tabular` makes 10 Parquet files of 500,000 rows (13 float32 columns with 10% nulls, 26 int64
columns, one label), and has each candidate fill nulls with 0, take log1p, standardize by the data's own mean and deviation,
take the integers modulo 100,000, and write Parquet again with the same settings (`parquet_settings`). Each run is a process of
its own; runs alternate.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forebay.bench.parquet_settings import GROUP_ROWS, arrow_settings, polars_settings

FLOATS = [f"f{at:02d}" for at in range(13)]
INTEGERS = [f"c{at:02d}" for at in range(26)]
MODULUS = 100_000
FILES = 10


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one candidate."""

    candidate: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    """Largest resident size of the process, as the kernel kept it."""
    output_bytes: int


def make_data(directory: Path, rows: int) -> Path:
    """FILES files of `rows` / FILES rows with a fixed seed, unless they are there."""
    target = directory / f"tabular-{rows}"
    if (target / "done").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    each = rows // FILES
    for number in range(FILES):
        rng = np.random.default_rng(number)
        columns: dict[str, Any] = {}
        for name in FLOATS:
            columns[name] = pa.array(rng.exponential(20, each).astype(np.float32), mask=rng.random(each) < 0.1)
        for name in INTEGERS:
            columns[name] = rng.integers(0, 10_000_000, each)
        columns["label"] = rng.integers(0, 2, each)
        pq.write_table(pa.table(columns), target / f"{number:02d}.parquet", compression="zstd")
    (target / "done").touch()
    return target


def forebay(source: str, target: str) -> None:
    import forebay as fb
    from forebay import transforms as T

    ds = fb.scan(f"{source}/*.parquet").apply(
        T.FillNull(FLOATS, value=0.0), T.Log1p(FLOATS), T.Standardize(FLOATS), T.Modulo(INTEGERS, divisor=MODULUS)
    )
    ds.fit().write(target)


def polars(source: str, target: str) -> None:
    import polars as pl

    scan = pl.scan_parquet(f"{source}/*.parquet")
    logged = [pl.col(name).fill_null(0.0).log1p() for name in FLOATS]
    stats = scan.select(
        *[one.cast(pl.Float64).mean().name.suffix("_mean") for one in logged],
        *[one.cast(pl.Float64).std(ddof=0).name.suffix("_std") for one in logged],
    ).collect(engine="streaming")
    scaled = [
        ((pl.col(name).fill_null(0.0).log1p() - stats[f"{name}_mean"][0]) / stats[f"{name}_std"][0]).cast(pl.Float32)
        for name in FLOATS
    ]
    made = scan.with_columns(*scaled, *[pl.col(name) % MODULUS for name in INTEGERS])
    Path(target).mkdir()
    made.sink_parquet(f"{target}/out.parquet", engine="streaming", **polars_settings())


def pyarrow(source: str, target: str) -> None:
    files = sorted(Path(source).glob("*.parquet"))
    count, sums, squares = 0, np.zeros(len(FLOATS)), np.zeros(len(FLOATS))
    for path in files:
        for batch in pq.ParquetFile(path).iter_batches(65_536, columns=FLOATS):
            count += batch.num_rows
            for at, name in enumerate(FLOATS):
                logged = pc.cast(pc.log1p(pc.fill_null(batch.column(name), 0.0)), pa.float64())
                sums[at] += pc.sum(logged).as_py()
                squares[at] += pc.sum(pc.multiply(logged, logged)).as_py()
    means = sums / count
    deviations = np.sqrt(squares / count - means**2)
    Path(target).mkdir()
    schema = pq.read_schema(files[0])
    with pq.ParquetWriter(f"{target}/out.parquet", schema, **arrow_settings(schema)) as out:
        for path in files:
            for batch in pq.ParquetFile(path).iter_batches(GROUP_ROWS):
                out.write_batch(_pyarrow_batch(batch, schema, means, deviations))


def _pyarrow_batch(batch: pa.RecordBatch, schema: pa.Schema, means: Any, deviations: Any) -> pa.RecordBatch:
    columns = []
    for field in schema:
        column = batch.column(field.name)
        if field.name in FLOATS:
            at = FLOATS.index(field.name)
            logged = pc.log1p(pc.fill_null(column, 0.0))
            column = pc.cast(pc.divide(pc.subtract(logged, means[at]), deviations[at]), pa.float32())
        elif field.name in INTEGERS:
            column = pc.subtract(column, pc.multiply(pc.divide(column, MODULUS), MODULUS))  # Arrow has no modulo
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def pandas(source: str, target: str) -> None:
    import pandas as pd

    files = sorted(Path(source).glob("*.parquet"))
    count, sums, squares = 0, np.zeros(len(FLOATS)), np.zeros(len(FLOATS))
    for path in files:
        logged = np.log1p(pd.read_parquet(path, columns=FLOATS).fillna(0.0)).astype(np.float64)
        count, sums, squares = count + len(logged), sums + logged.sum().values, squares + (logged**2).sum().values
    means = sums / count
    deviations = np.sqrt(squares / count - means**2)
    Path(target).mkdir()
    settings = arrow_settings(pq.read_schema(files[0]))
    for path in files:
        frame = pd.read_parquet(path)
        frame[FLOATS] = ((np.log1p(frame[FLOATS].fillna(0.0)) - means) / deviations).astype(np.float32)
        frame[INTEGERS] %= MODULUS
        frame.to_parquet(f"{target}/{path.name}", index=False, row_group_size=GROUP_ROWS, **settings)


CANDIDATES: dict[str, Callable[[str, str], None]] = {
    "forebay": forebay,
    "polars": polars,
    "pyarrow": pyarrow,
    "pandas": pandas,
}


def run(candidate: str, source: Path, target: Path) -> Run:
    """One candidate in a process of its own."""
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    command = [sys.executable, "-m", "forebay.bench.prep_tabular", "--run", candidate, str(source), str(target)]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{candidate} failed")
    size = sum(one.stat().st_size for one in target.rglob("*.parquet"))
    wall = time.perf_counter() - start
    return Run(candidate, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, size)


def check(targets: dict[str, Path]) -> None:
    """All outputs hold the same rows in the same order: floats within 1e-4 (float32 arithmetic differs), integers exactly."""
    first, *others = targets
    streams = {name: _batches(path) for name, path in targets.items()}
    for batch in streams[first]:
        for name in others:
            other = next(streams[name])
            for column in [*INTEGERS, "label"]:
                if not batch.column(column).equals(other.column(column)):
                    raise SystemExit(f"{name} and {first} differ in column {column}")
            for column in FLOATS:
                left, right = batch.column(column).to_numpy(), other.column(column).to_numpy()
                if not np.allclose(left, right, rtol=1e-4, atol=1e-4):
                    raise SystemExit(f"{name} and {first} differ in column {column}")
    if any(next(streams[name], None) is not None for name in others):
        raise SystemExit(f"{first} lacks rows")


def _batches(directory: Path, rows: int = 50_000) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    count = 0
    for path in sorted(directory.rglob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(rows):
            held.append(pa.Table.from_batches([batch]))
            count += batch.num_rows
            while count >= rows:
                whole = pa.concat_tables(held).combine_chunks()
                yield whole.slice(0, rows)
                held, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(held).combine_chunks()


def table(runs: list[Run], rows: int) -> str:
    """Medians with the spread of wall time, as Markdown."""
    lines = [
        "| candidate | wall s (least to most) | rows/s | CPU s | peak MB | output MB |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.candidate for one in runs):
        mine = [one for one in runs if one.candidate == name]
        wall = statistics.median(one.wall_s for one in mine)
        spread = f"{min(one.wall_s for one in mine):.2f} to {max(one.wall_s for one in mine):.2f}"
        cpu = statistics.median(one.cpu_s for one in mine)
        peak = max(one.peak_bytes for one in mine) / 1e6
        size = mine[0].output_bytes / 1e6
        lines.append(f"| {name} | {wall:.2f} ({spread}) | {rows / wall:,.0f} | {cpu:.2f} | {peak:,.0f} | {size:,.0f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[Run]:
    """Run the comparison and print the table; JSON to `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--against", nargs="*", default=[name for name in CANDIDATES if name != "forebay"])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "forebay-bench")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=3, metavar=("CANDIDATE", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        CANDIDATES[options.run[0]](*options.run[1:])
        return []
    source = make_data(options.directory, options.rows)
    targets = {name: options.directory / f"out-{name}" for name in ["forebay", *options.against]}
    runs = [run(name, source, target) for _ in range(options.turns) for name, target in targets.items()]
    check(targets)
    sys.stdout.write(table(runs, options.rows) + "\n")
    if options.json:
        options.json.write_text(json.dumps({"rows": options.rows, "runs": [asdict(one) for one in runs]}, indent=1))
    for target in targets.values():
        shutil.rmtree(target)
    return runs


if __name__ == "__main__":
    main()
