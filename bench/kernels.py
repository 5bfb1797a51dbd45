"""Kernels on one thread, beside numpy and scikit-learn and the memory's bandwidth, in one alternating run.

    python -m forebay.bench.kernels [--quick] [--rows N] [--rounds N] [--json PATH]

Time is the thread's own (CPU seconds), the median of the rounds. Bandwidth is that of numpy copying an array of the same
length, bytes read and bytes written, measured between the kernels.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from forebay.bench.kernel_cases import Case, cases


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the table, and return (or write) it as plain values."""
    parser = argparse.ArgumentParser(prog="python -m forebay.bench.kernels", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a size that runs in a second, for tests")
    parser.add_argument("--rows", type=int, default=1 << 24, help="rows of a column (default 16 M)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args(arguments)
    rows, rounds = (1 << 15, 2) if asked.quick else (asked.rows, asked.rounds)
    found = measure(cases(rows), rows, rounds)
    _print(found)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


def measure(todo: list[Case], rows: int, rounds: int) -> dict[str, Any]:
    """Seconds of each case, its reference and a bare copy, round by round."""
    source, target = np.ones(rows, np.float32), np.zeros(rows, np.float32)
    ours: dict[int, list[float]] = {at: [] for at in range(len(todo))}
    theirs: dict[int, list[float]] = {at: [] for at in range(len(todo))}
    copies = []
    for one in todo:  # the first runs compile, and touch the pages of what they write
        one.ours(), one.reference()
    for _ in range(rounds):
        for at, one in enumerate(todo):
            ours[at].append(_seconds(one.ours))
            theirs[at].append(_seconds(one.reference))
            copies.append(_seconds(lambda: np.copyto(target, source)))
    bandwidth = 2 * source.nbytes / statistics.median(copies)
    table = []
    for at, one in enumerate(todo):
        mine, other = statistics.median(ours[at]), statistics.median(theirs[at])
        table.append(
            {
                "name": one.name,
                "kind": one.kind,
                "reference": one.reference_name,
                "rows": one.rows,
                "ns_per_row": mine / one.rows * 1e9,
                "times_reference": other / mine,
                "share_of_bandwidth": one.nbytes / mine / bandwidth,
            }
        )
    return {
        "machine": platform.processor() or platform.machine(),
        "rows": rows,
        "rounds": rounds,
        "copy_bytes_per_s": bandwidth,
        "kernels": table,
    }


def _seconds(run: Callable[[], Any]) -> float:
    start = time.thread_time()
    run()
    return max(time.thread_time() - start, 1e-9)


def _print(found: dict[str, Any]) -> None:
    table = Table(title=f"one thread; a bare copy moves {found['copy_bytes_per_s'] / 1e9:.1f} GB/s (read and written)")
    for heading in ("kernel", "ns a row", "against", "times as fast", "of the bandwidth", "promised"):
        table.add_column(heading, justify="left" if heading in ("kernel", "against") else "right")
    for one in found["kernels"]:
        promised = "3x, 70 %" if one["kind"] == "move" else "3x" if one["reference"] != "forebay, unfused" else ""
        table.add_row(
            one["name"],
            f"{one['ns_per_row']:.2f}",
            one["reference"],
            f"{one['times_reference']:.1f}",
            f"{one['share_of_bandwidth']:.0%}",
            promised,
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
