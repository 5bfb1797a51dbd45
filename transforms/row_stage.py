"""The stage of one transform that stands alone."""

from dataclasses import dataclass

import pyarrow as pa

from forebay.transforms.transform import Apply, Rows


@dataclass(frozen=True, slots=True)
class RowStage:
    """One row-local transform, bound."""

    label: str
    reads: tuple[str, ...]
    schema: pa.Schema
    apply: Apply

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        return self.apply(batch, rows)
