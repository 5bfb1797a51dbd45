"""Functions for map_batches as a user writes them, at the top level of a module, so that other processes find them."""

import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def with_pid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Which process ran it."""
    return pa.record_batch({"pid": pa.array(np.full(batch.num_rows, os.getpid()))})


def squared(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Plain numbers."""
    return pa.record_batch({"square": pc.power(batch.column("row"), 2)})


def cubed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Other numbers under the same name."""
    return pa.record_batch({"square": pc.power(batch.column("row"), 3)})


def same_twice(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A copy of `row`."""
    return pa.record_batch({"same": batch.column("row")})


def spelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text and lists, whose rows vary in length."""
    rows = batch.column("row").to_pylist()
    return pa.record_batch(
        {
            "text": pa.array(["x" * (row % 5) for row in rows], pa.string()),
            "counted": pa.array([list(range(row % 7)) for row in rows], pa.list_(pa.int64())),
        }
    )


_KEPT: list[pa.RecordBatch] = []


def keeps_its_input(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keeps all it was given, and says how much of it is as it was: `whole` is 1 while nothing was written over."""
    _KEPT.append(batch)
    whole = all(one.num_rows == 0 or one.column("row")[0].as_py() == one.column("same")[0].as_py() for one in _KEPT)
    return pa.record_batch({"whole": pa.array(np.full(batch.num_rows, int(whole)))})


def fails_at_1234(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cannot take one row."""
    if 1234 in batch.column("row").to_pylist():
        raise ZeroDivisionError("twelve thirty-four")
    return batch


def breaks_its_contract(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns too few rows."""
    return batch.slice(0, batch.num_rows // 2)


def leaves_oddly(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Raises something that no policy for bad rows catches, and that no pipe takes."""
    if batch.num_rows:
        raise _Leaves(1, 2)
    return batch


class _Leaves(BaseException):
    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")
        self.hold = lambda: None


def dies(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Is killed, as by the kernel when memory is out."""
    if batch.num_rows and 700 in batch.column("row").to_pylist():
        os.kill(os.getpid(), signal.SIGKILL)
    return batch


def sleeps(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Takes its time."""
    if batch.num_rows:
        time.sleep(0.2)
    return batch
