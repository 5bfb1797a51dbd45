"""How long a new process takes from nothing to its first rows, on a warm kernel cache.

    python -m forebay.bench.first_use [--runs N] [--quick]

Two processes take turns: one imports NumPy and pyarrow, which any such pipeline stands on, the other runs one over a small
Parquet file (fill, log1p, standardize, fitted first). CPU seconds of each whole process; the difference is forebay's own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from forebay.cli.console import say

_LIBRARIES = """
import numpy, pyarrow, pyarrow.compute, pyarrow.parquet
"""
_PIPELINE = """
import forebay as fb
from forebay import transforms as T
ds = fb.scan({path!r}).apply(T.FillNull(["x"], value=0), T.Log1p(["x"]), T.Standardize(["x", "y"])).fit()
assert next(iter(ds.iter_batches())).num_rows
"""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print one line of JSON, and return it as a dict."""
    parser = argparse.ArgumentParser(prog="python -m forebay.bench.first_use", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one run, for tests")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/rows.parquet"
        _write(path)
        code = {"libraries": _LIBRARIES, "pipeline": _PIPELINE.format(path=path)}
        for one in code.values():  # fills the kernel cache and the page cache
            _cpu_seconds(one)
        spent: dict[str, list[float]] = {name: [] for name in code}
        for _ in range(1 if asked.quick else asked.runs):
            for name, one in code.items():
                spent[name].append(_cpu_seconds(one))
    found = {name: statistics.median(times) for name, times in spent.items()}
    found["forebay"] = found["pipeline"] - found["libraries"]
    say(json.dumps({name: round(seconds, 3) for name, seconds in found.items()}))
    return found


def _write(path: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    pq.write_table(pa.table({"x": rng.random(10_000, np.float32), "y": rng.integers(0, 9, 10_000)}), path)


def _cpu_seconds(code: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
