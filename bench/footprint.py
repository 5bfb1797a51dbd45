"""What a loading process is made of: memory and CPU time after each step from an empty interpreter to an epoch.

    python -m forebay.bench.footprint [--quick] [--threads N]

Four new processes, on kernels that are compiled already: `forebay.DataLoader` over tokens in an Arrow file (global shuffle) and
over wide rows of a Parquet file (one after another), the stock loader over the same tokens in a NumPy file, and Numba alone,
which forebay imports only where a kernel's image is missing. PSS counts each shared page in parts; "without files" leaves
pages of files out, which the system can drop.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.bench.footprint_steps import COLUMNS
from forebay.cli.console import say

LENGTH = 2_048
RUNS = ("tokens", "tabular", "torch", "numba")


def main(arguments: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Measure, print a table for each process, and return what was found: run -> steps."""
    parser = argparse.ArgumentParser(prog="python -m forebay.bench.footprint", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="little data, for tests")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        _write(Path(directory), rows=2_000 if asked.quick else 30_000)
        for run in ("tokens", "tabular"):  # writes the images of their kernels where there are none
            _run(run, directory, asked.threads)
        found = {run: _run(run, directory, asked.threads) for run in RUNS}
    for run, steps in found.items():
        say(f"\n| {run} | PSS MB | without files | CPU s | wall s |\n|---|---:|---:|---:|---:|")
        for one in steps:
            say(f"| {one['step']} | {one['pss']:.0f} | {one['without']:.0f} | {one['cpu']:.2f} | {one['wall']:.2f} |")
    return found


def _run(run: str, directory: str, threads: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "forebay.bench.footprint_steps", run, directory, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the process {run} failed: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _write(directory: Path, *, rows: int) -> None:
    """Tokens for both loaders, and a wide table."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    tokens = np.random.default_rng(0).integers(0, 50_000, (rows, LENGTH + 1), np.uint16)
    np.save(directory / "tokens.npy", tokens)
    ids = pa.FixedSizeListArray.from_arrays(pa.array(tokens.reshape(-1)), LENGTH + 1)
    batch = pa.record_batch({"ids": ids})
    with pa.ipc.new_file(str(directory / "tokens.arrow"), batch.schema) as sink:
        sink.write_batch(batch)
    table = pa.table({f"c{at}": np.random.default_rng(at).random(8 * rows, np.float32) for at in range(COLUMNS)})
    pq.write_table(table, directory / "table.parquet", row_group_size=65_536)


if __name__ == "__main__":
    main()
