"""Cleaning of text beside what users write with pyarrow, Polars and Python: `python -m forebay.bench.text_kernels [--quick]`.

The documents of `prep_text` (about 150 words, some letters with accents, three documents in ten with accents taken apart, odd
white space), one thread. All take turns, results are compared, figures are medians of CPU time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forebay import transforms as T
from forebay.bench.datasets.documents import write_unclean
from forebay.bench.peers.text_preparation import clean
from forebay.transforms.transform import Rows

_OURS = "forebay"
Runs = dict[str, Callable[[], Any]]


def texts(count: int) -> pa.Array:
    """So many documents, as `prep_text` reads them."""
    with tempfile.TemporaryDirectory() as place:
        write_unclean(Path(place), count)
        files = sorted(Path(place).glob("*.parquet"))
        return pa.concat_tables([pq.read_table(one, columns=["text"]) for one in files])["text"].combine_chunks()


def candidates(column: pa.Array) -> dict[str, Runs]:
    """For each step, forebay first, what gives the same."""
    import polars as pl

    frame: Any = pl.from_arrow(column)
    composed = pc.utf8_normalize(column, "NFC")
    words: Any = pl.from_arrow(composed)
    return {
        "NFC": {
            "forebay": _bound(T.NormalizeUnicode("text"), column),
            "pyarrow": lambda: pc.utf8_normalize(column, "NFC"),
            "polars": lambda: frame.str.normalize("NFC"),
        },
        "white space": {
            "forebay": _bound(T.TrimText("text", inner=True), composed),
            "pyarrow": lambda: pc.utf8_trim_whitespace(pc.replace_substring_regex(composed, r"[\s\p{Z}]+", " ")),
            "polars": lambda: words.str.replace_all(r"\s+", " ").str.strip_chars(),
        },
        "both": {
            "forebay": _bound(T.TrimText("text", inner=True), column, first=T.NormalizeUnicode("text")),
            "python": lambda: [clean(text) for text in column.to_pylist()],
        },
    }


def _bound(one: Any, column: pa.Array, *, first: Any = None) -> Callable[[], pa.Array]:
    batch, rows = pa.record_batch([column], ["text"]), Rows(np.zeros(0, np.uint64))
    steps = [step.bind(batch.schema, None, 0) for step in (first, one) if step is not None]

    def run() -> pa.Array:
        made: Any = batch
        for step in steps:
            made = step(made, rows)
        return made.column(0)

    return run


def measure(count: int, rounds: int) -> dict[str, dict[str, float]]:
    """Nanoseconds a byte of CPU, by step and candidate; what they give must be equal."""
    column = texts(count)
    found: dict[str, dict[str, float]] = {}
    for step, runs in candidates(column).items():
        wanted = runs["forebay"]().to_pylist()
        for name, run in runs.items():
            if list(_plain(run())) != wanted:
                raise SystemExit(f"{name} and forebay differ in {step}")
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                began = time.process_time()
                run()
                spent[name].append(time.process_time() - began)
        found[step] = {name: statistics.median(one) / column.nbytes * 1e9 for name, one in spent.items()}
    return found


def _plain(made: Any) -> list[Any]:
    return made if isinstance(made, list) else list(made.to_list() if hasattr(made, "to_list") else made.to_pylist())


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table, and return it."""
    parser = argparse.ArgumentParser(description="Cleaning of text.")
    parser.add_argument("--documents", type=int, default=8_192)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few documents: shows that it runs, not how fast")
    given = parser.parse_args(arguments)
    found = measure(256, 1) if given.quick else measure(given.documents, given.rounds)
    lines = ["| step | candidate | ns a byte | forebay is |", "|---|---|---:|---:|"]
    lines += [
        f"| {step} | {name} | {value:.2f} | {'' if name == 'forebay' else f'{value / one[_OURS]:.1f} x'} |"
        for step, one in found.items()
        for name, value in one.items()
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return found


if __name__ == "__main__":
    main()
