"""Whether a cache would pay: what it costs to compute a row up to the first random transform, and to read it from a unit."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from forebay.engine.frontier import frontier_of, split_at
from forebay.engine.plan import make_plan
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.transforms.transform import Rows

if TYPE_CHECKING:
    from forebay.engine.dataset import Dataset

WORTH = 2.0
"""A cache is advised where computing a row takes so many times as long as reading it; below that it only fills a disk."""


@dataclass(frozen=True, slots=True)
class CacheCost:
    """Measured on some rows of one thread."""

    computed: float
    """Seconds a row to read it from the source and run what stands before the frontier."""
    read: float
    """Seconds a row to copy its bytes once from memory, as reading a unit that the system holds does at most."""
    row_bytes: float
    """What a row takes in the cache."""
    rows: int
    """Rows that were measured."""

    @property
    def pays(self) -> bool:
        return self.computed > WORTH * self.read

    def describe(self, total: int | None) -> str:
        """One line for `explain`; `total`: rows of the data set, where they are known."""
        whole = f", {self.row_bytes * total / 1e9:,.2f} GB in all" if total else ""
        advice = "it pays from the second epoch on" if self.pays else "it does not pay"
        return (
            f"cache    none; .cache() would hold {self.row_bytes:,.0f} bytes a row{whole}: {self.computed * 1e6:,.2f} µs a row "
            f"to compute, {self.read * 1e6:,.2f} µs to read, on {self.rows:,} rows: {advice}"
        )


def cache_cost(dataset: "Dataset", sample: int, *, at: int | None = None) -> CacheCost | None:
    """Measure a cache behind the first `at` transforms (None: at the frontier) on the first `sample` rows.

    None where there are no rows, or nothing stands before it.
    """
    before, _ = split_at(dataset.source.schema, dataset.graph, frontier_of(dataset.graph) if at is None else at)
    if not before.transforms:
        return None
    plan = make_plan(dataset.source.schema, before)
    began, taken, rows = time.perf_counter(), [], 0
    for fragment in dataset.source.fragments():
        for batch in dataset.source.read(fragment, columns=plan.columns, on_bad_row=lambda *_: None):
            taken.append(batch)
            rows += batch.num_rows
            if rows >= sample:
                break
        if rows >= sample:
            break
    reading = (time.perf_counter() - began) / max(rows, 1)
    if rows == 0:
        return None
    merged = pa.Table.from_batches(taken).slice(0, sample).combine_chunks().to_batches()[0]
    ids = Rows(sample_ids(0, 0, merged.num_rows))
    run_stages(plan.stages, merged.slice(0, 1), Rows(ids.ids[:1]), on_bad="skip", tally=Tally())  # compiles
    began = time.perf_counter()
    made, _ = run_stages(plan.stages, merged, ids, on_bad="skip", tally=Tally())
    running = (time.perf_counter() - began) / merged.num_rows
    if made.num_rows == 0:
        return None
    nbytes = made.nbytes
    source, target = np.ones(nbytes, np.uint8), np.ones(nbytes, np.uint8)
    began = time.perf_counter()
    np.copyto(target, source)
    copying = (time.perf_counter() - began) / made.num_rows
    return CacheCost(reading + running, copying, nbytes / made.num_rows, merged.num_rows)
