"""How shards are laid out: row-group size, page size, encoding and zstd level, by what they cost to write and to read.

    python -m forebay.bench.shards [--rows N] [--turns N] [--directory PATH]

Writes the table of `prep_tabular` (one file of 500,000 rows) in each layout, reads it whole, and reads single row groups
in random order, as a shuffling loader does. Prints CPU seconds (medians of the turns, which go through all layouts one
after the other), bytes on disk, and the bytes in memory of a row group.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from forebay.bench.prep_tabular import FILES, FLOATS, INTEGERS, make_data


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to write the file."""

    row_group: int
    page: int
    encoding: str
    """plain, split (BYTE_STREAM_SPLIT), delta (integers only) or dictionary."""
    level: int = 1
    """Of zstd; 0: lz4 instead."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds, medians of the turns."""

    layout: Layout
    write_s: float
    read_s: float
    groups_s: float
    """Reading every row group once, in random order, one file opening each."""
    nbytes: int


LAYOUTS = [
    *(Layout(group, 1 << 20, "split") for group in (8_192, 32_768, 65_536, 131_072, 500_000)),
    *(Layout(65_536, page, "split") for page in (64 << 10, 256 << 10, 8 << 20)),
    *(Layout(65_536, 1 << 20, encoding) for encoding in ("plain", "delta", "dictionary")),
    *(Layout(65_536, 1 << 20, "split", level) for level in (0, 3, 6)),
]


def measure(table: Any, layouts: list[Layout], directory: Path, turns: int) -> list[Cost]:
    """The cost of each layout: turn by turn through all of them, so that a busy moment does not fall on one alone."""
    directory.mkdir(parents=True, exist_ok=True)
    spent: dict[Layout, list[tuple[float, float, float]]] = {one: [] for one in layouts}
    sizes: dict[Layout, int] = {}
    for _ in range(turns):
        for at, layout in enumerate(layouts):
            path = directory / f"layout-{at}.parquet"
            spent[layout].append(_turn(table, layout, path))
            sizes[layout] = path.stat().st_size
            path.unlink()
    costs = []
    for layout in layouts:
        write, read, groups = (statistics.median(one) for one in zip(*spent[layout], strict=True))
        costs.append(Cost(layout, write, read, groups, sizes[layout]))
    return costs


def _turn(table: Any, layout: Layout, path: Path) -> tuple[float, float, float]:
    write = _seconds(lambda: _write(table, layout, path))
    read = _seconds(lambda: pq.ParquetFile(path).read(use_threads=False))
    order = np.random.default_rng(0).permutation(pq.ParquetFile(path).num_row_groups).tolist()
    groups = _seconds(lambda: [pq.ParquetFile(path).read_row_group(at, use_threads=False) for at in order])
    return write, read, groups


def _write(table: Any, layout: Layout, path: Path) -> None:
    settings: dict[str, Any] = {"use_dictionary": layout.encoding == "dictionary"}
    if layout.encoding == "split":
        settings["column_encoding"] = dict.fromkeys([*FLOATS, *INTEGERS, "label"], "BYTE_STREAM_SPLIT")
    elif layout.encoding == "delta":
        settings["column_encoding"] = dict.fromkeys([*INTEGERS, "label"], "DELTA_BINARY_PACKED")
    pq.write_table(
        table,
        path,
        row_group_size=layout.row_group,
        data_page_size=layout.page,
        compression="zstd" if layout.level else "lz4",
        compression_level=layout.level or None,
        write_page_index=True,
        **settings,
    )


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def table(costs: list[Cost], bytes_per_row: float) -> str:
    """Markdown."""
    lines = [
        "| row group | in memory MB | page KB | encoding | zstd | write CPU s | read CPU s | groups CPU s | MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in costs:
        layout = one.layout
        lines.append(
            f"| {layout.row_group:,} | {layout.row_group * bytes_per_row / 1e6:.1f} | {layout.page >> 10} | "
            f"{layout.encoding} | {layout.level or 'lz4'} | {one.write_s:.3f} | {one.read_s:.3f} | {one.groups_s:.3f} | "
            f"{one.nbytes / 1e6:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[Cost]:
    """Measure all layouts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "forebay-bench")
    options = parser.parse_args(arguments)
    source = make_data(options.directory, options.rows * FILES)
    data = pq.read_table(source / "00.parquet").combine_chunks()
    costs = measure(data, LAYOUTS, options.directory / "layouts", options.turns)
    sys.stdout.write(table(costs, data.nbytes / data.num_rows) + "\n")
    return costs


if __name__ == "__main__":
    main()
