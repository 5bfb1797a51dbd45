"""Fingerprints: a short name for what something is, equal on every machine, different when anything that matters differs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

_C_LIBRARY = pa.system_memory_pool()
"""For a kilobyte Arrow's own allocator takes four megabytes."""


def fingerprint(*parts: Any) -> str:
    """32 hex digits for plain values, Arrow schemas and arrays, and mappings and sequences of them.

    Raises:
        TypeError: a value has no stable form (a function, say); hashing its repr would make two runs differ.
    """
    state = xxhash.xxh3_128()
    for part in parts:
        _feed(state, part)
    return str(state.hexdigest())


def _feed(state: Any, value: Any) -> None:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        data = value if isinstance(value, bytes) else repr(value).encode()
        state.update(f"{type(value).__name__}:{len(data)}:".encode() + data)
    elif isinstance(value, Mapping):
        state.update(f"map:{len(value)}:".encode())
        for key in sorted(value):
            _feed(state, key)
            _feed(state, value[key])
    elif isinstance(value, list | tuple):
        state.update(f"list:{len(value)}:".encode())
        for item in value:
            _feed(state, item)
    elif isinstance(value, pa.Schema):
        state.update(b"schema:" + value.serialize(memory_pool=_C_LIBRARY).to_pybytes())
    elif isinstance(value, pa.Array | pa.ChunkedArray):
        _feed_array(state, value)
    elif isinstance(value, np.ndarray):
        state.update(f"ndarray:{value.dtype.str}:{value.shape}:".encode() + value.tobytes())
    elif isinstance(value, np.generic):
        _feed(state, value.item())
    else:
        raise TypeError(f"a fingerprint of {type(value).__name__} would not be stable")


def _feed_array(state: Any, array: pa.Array | pa.ChunkedArray) -> None:
    chunk = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    whole = pa.concat_arrays([chunk])  # drops the offset of a slice, so that equal arrays hash equal
    sink = pa.BufferOutputStream()
    table = pa.table({"": whole})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    state.update(b"array:" + sink.getvalue().to_pybytes())
