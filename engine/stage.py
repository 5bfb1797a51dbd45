"""The stage of a filter: the one kind that the engine tells from the others, since it counts the rows that go."""

from dataclasses import dataclass

import pyarrow as pa

from forebay.transforms.transform import Keep, Rows


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
