"""Writing shards in processes that are killed or held to a small file size."""

import os
import resource
import signal
import sys

import pyarrow as pa

from forebay.formats.store import store_for
from forebay.formats.writer import ShardOptions, ShardWriter

SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.binary())])


def batch(rows: int = 1000, width: int = 1000, seed: int = 0) -> pa.RecordBatch:
    """Rows that do not compress."""
    data = pa.array([os.urandom(width) if seed == 0 else bytes([seed % 256]) * width for _ in range(rows)])
    return pa.record_batch([pa.array(range(rows), pa.int64()), data], schema=SCHEMA)


def write_until_killed(directory: str, format: str) -> None:
    """Publish one shard, then die in the middle of the second."""
    store, inner = store_for(directory)
    options = ShardOptions(format=format, max_rows=2000, row_group_rows=1000)  # type: ignore[arg-type]  # a test's word
    writer = ShardWriter(store, inner, "part-00000", SCHEMA, options)
    for _ in range(3):
        writer.write(batch())
    os.kill(os.getpid(), signal.SIGKILL)


def write_beyond_limit(directory: str, format: str) -> None:
    """Print the error of a writer that may write half a megabyte a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    store, inner = store_for(directory)
    options = ShardOptions(format=format, row_group_rows=100)  # type: ignore[arg-type]  # a test's word
    try:
        with ShardWriter(store, inner, "part-00000", SCHEMA, options) as writer:
            for _ in range(10):
                writer.write(batch())
    except OSError as error:
        sys.stdout.write(f"{type(error).__name__} {error}")


if __name__ == "__main__":
    {"kill": write_until_killed, "limit": write_beyond_limit}[sys.argv[1]](*sys.argv[2:])
