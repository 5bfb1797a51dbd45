"""Kernels on one thread, beside numpy and scikit-learn and the memory's bandwidth, in one alternating run.

    python -m forebay.bench.kernels [--quick] [--rows N] [--rounds N] [--json PATH]

Time is the thread's own (CPU seconds); ratios are those of runs that follow one another, the median of the rounds. Bandwidth is
that of numpy copying an array of the same length, bytes read and bytes written, measured beside each kernel. Before each run the
caches are filled with something else, and who begins changes from round to round: nobody finds the column in the cache since
another has just read it.

"At a copy's speed" is how many times as fast as the reference a bare copy of as many bytes was. Where it is below the promise,
the reference is held by the memory itself, and nothing that reads the column and writes the result can keep the promise.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from forebay.bench.kernel_cases import Case, cases

_OTHER = 96 << 20
"""Bytes that fill the caches between runs: three times the last level of the machines that this was measured on."""


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
    other = np.zeros(min(8 * rows, _OTHER), np.uint8)
    spent = np.zeros((rounds, len(todo), 3))
    """Seconds of ours, the reference and the copy: neighbours in time, since other work on the machine comes and goes."""
    for one in todo:  # the first runs compile, and touch the pages of what they write
        one.ours(), one.reference()
    for number in range(rounds):
        for at, one in enumerate(todo):
            runs = (one.ours, one.reference, lambda: np.copyto(target, source))
            for turn in range(3):
                which = (turn + number) % 3
                other += 1
                spent[number, at, which] = _seconds(runs[which])
    ours, theirs, copies = spent[:, :, 0], spent[:, :, 1], spent[:, :, 2]
    copied = 2 * source.nbytes / copies
    nbytes = np.array([one.nbytes for one in todo])
    at_copy = theirs / (nbytes / copied)
    moved = nbytes / ours
    table = [
        {
            "name": one.name,
            "kind": one.kind,
            "reference": one.reference_name,
            "rows": one.rows,
            "ns_per_row": float(np.median(ours[:, at])) / one.rows * 1e9,
            "times_reference": float(np.median(theirs[:, at] / ours[:, at])),
            "at_copy_speed": float(np.median(at_copy[:, at])),
            "share_of_bandwidth": float(np.median(moved[:, at] / copied[:, at])),
        }
        for at, one in enumerate(todo)
    ]
    return {
        "machine": platform.processor() or platform.machine(),
        "rows": rows,
        "rounds": rounds,
        "copy_bytes_per_s": float(np.median(copied)),
        "kernels": table,
    }


def _seconds(run: Callable[[], Any]) -> float:
    start = time.thread_time()
    run()
    return max(time.thread_time() - start, 1e-9)


def _print(found: dict[str, Any]) -> None:
    table = Table(title=f"one thread; a bare copy moves {found['copy_bytes_per_s'] / 1e9:.1f} GB/s (read and written)")
    for heading in (
        "kernel",
        "ns a row",
        "against",
        "times as fast",
        "at a copy's speed",
        "of the bandwidth",
        "promised",
    ):
        table.add_column(heading, justify="left" if heading in ("kernel", "against") else "right")
    for one in found["kernels"]:
        promised = "3x, 70 %" if one["kind"] == "move" else "3x" if one["reference"] != "forebay, unfused" else ""
        table.add_row(
            one["name"],
            f"{one['ns_per_row']:.2f}",
            one["reference"],
            f"{one['times_reference']:.1f}",
            f"{one['at_copy_speed']:.1f}",
            f"{one['share_of_bandwidth']:.0%}",
            promised,
        )
    console = Console(width=120)
    console.print(table)
    console.print(
        "At a copy's speed: times as fast as the reference that a bare copy of as many bytes, read and written, was in the "
        "same rounds. Where it is below 3, the reference is held by the memory, and three times is out of reach."
    )


if __name__ == "__main__":
    main()
