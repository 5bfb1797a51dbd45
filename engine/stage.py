"""Stages of one transform each: what the plan makes of a transform that has no family to fuse with."""

from dataclasses import dataclass

import pyarrow as pa

from forebay.transforms.transform import Apply, Keep, Rows


@dataclass(frozen=True, slots=True)
class RowStage:
    """One row-local transform, bound."""

    label: str
    reads: tuple[str, ...]
    schema: pa.Schema
    apply: Apply

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        return self.apply(batch, rows)


@dataclass(frozen=True, slots=True)
class FilterStage:
    """One filter, bound. Its rows go without being bad: they are counted under its label."""

    label: str
    reads: tuple[str, ...]
    schema: pa.Schema
    keep: Keep

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        kept: pa.RecordBatch = batch.filter(pa.array(self.keep(batch, rows)))
        return kept
