"""Record batches in memory that two processes share: written once, read where they lie."""

from typing import Any

import pyarrow as pa


def batch_bytes(batch: pa.RecordBatch) -> int:
    """Bytes that `write_batch` takes."""
    sink = pa.MockOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return int(sink.size())


def write_batch(batch: pa.RecordBatch, memory: Any) -> None:
    """Write a batch, with its schema, to memory (anything writable that exports a buffer)."""
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(memory))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read_batch(memory: Any) -> pa.RecordBatch:
    """The batch that was written to `memory`; it lies there, and holds the object that exports it."""
    with pa.ipc.open_stream(pa.py_buffer(memory)) as reader:
        return reader.read_next_batch()
