"""Text columns as the kernels see them: offsets into one buffer of bytes; and columns made of such buffers."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_NO_BYTES = np.zeros(0, np.uint8)


def text_bytes(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(N + 1,) where the texts (or binary values) of a column begin and end, and all its bytes, uncopied."""
    _, places, data = column.buffers()
    if not len(column):
        return np.zeros(1, np.int64), _NO_BYTES
    offsets = np.frombuffer(places, np.int64 if _large(column.type) else np.int32)
    here = offsets[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return here, _NO_BYTES if data is None else np.frombuffer(data, np.uint8)


def text_room(nbytes: int) -> tuple[pa.Buffer, NDArray[np.uint8]]:
    """A buffer for that many bytes of text, and the same to write to."""
    buffer = pa.allocate_buffer(nbytes)
    return buffer, np.frombuffer(buffer, np.uint8) if nbytes else _NO_BYTES


def text_column(like: pa.Array, offsets: NDArray[np.int64], data: pa.Buffer) -> pa.Array:
    """A column of the texts in `data`, with the type and the nulls of `like`."""
    places = offsets if _large(like.type) else offsets.astype(np.int32)
    buffers = [validity(like), pa.py_buffer(places), data.slice(0, int(offsets[-1]))]
    return pa.Array.from_buffers(like.type, len(like), buffers, like.null_count)


def validity(column: pa.Array) -> pa.Buffer | None:
    """The bitmap of a column's values that are not null, from the first bit on; None where none is null."""
    if not column.null_count:
        return None
    import pyarrow.compute as pc  # megabytes, which texts without nulls do without

    return pc.is_valid(column).buffers()[1]


def _large(type: pa.DataType) -> bool:
    return pa.types.is_large_string(type) or pa.types.is_large_binary(type)
