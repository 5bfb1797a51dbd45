"""A function for `map_batches` that leaves a line in a file each time it runs."""

import os

import pyarrow as pa

JOURNAL = "FOREBAY_TEST_JOURNAL"


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    if batch.num_rows:
        with open(os.environ[JOURNAL], "a", encoding="ascii") as file:
            file.write(f"{batch.num_rows}\n")
    values = batch.column("x").to_numpy() * 2
    return batch.set_column(batch.schema.get_field_index("x"), "x", pa.array(values))
