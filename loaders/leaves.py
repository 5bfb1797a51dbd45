"""Leaves: tensors and buffers of a batch, as places in memory that a pickle can name."""

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

SMALL, COPIED, PLACED = 0, 1, 2
"""Segments: small leaves; leaves that are copied to the slot; leaves that were made there (offsets are the slot's)."""

SMALL_LEAF = 1 << 14
"""Bytes. Below, a copy through the pipe costs less than looking after a slot (`bench/loader_torch.py`)."""

ALIGN = 64

HEAD = struct.Struct("<qqqqqqqq")
"""What a frame begins with, see `Head`."""
BUFFER = struct.Struct("<qqq")
"""Segment, offset and bytes of an out-of-band buffer."""

_INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "bool")
_FLOATS = ("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128")
_FLOATS8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
DTYPES = tuple(getattr(torch, name) for name in (*_INTEGERS, *_FLOATS, *_FLOATS8) if hasattr(torch, name))
"""Types of numbers that plain memory holds."""
CODES = {dtype: code for code, dtype in enumerate(DTYPES)}


@dataclass(slots=True)
class Head:
    """Where the parts of a frame are."""

    slot: int = -1
    """The slot that the frame hands over; -1: none."""
    capacity: int = 0
    """Bytes that the slot has."""
    small: int = 0
    """Bytes of small leaves in the frame."""
    small_at: int = -1
    """Where small leaves lie in the slot; -1: in the frame."""
    copied_at: int = 0
    """Where copied leaves begin in the slot."""
    pickle_at: int = -1
    """Where the pickle lies in the slot; -1: in the frame."""
    pickle_bytes: int = 0
    buffers: int = 0
    """Number of out-of-band buffers."""

    def packed(self) -> bytes:
        """What a frame begins with."""
        where = self.slot, self.capacity, self.small, self.small_at, self.copied_at, self.pickle_at
        return HEAD.pack(*where, self.pickle_bytes, self.buffers)


reading = threading.local()
"""What this thread unpickles: `memory`, with a method `tensor` that makes a tensor of a leaf, and `small`, the memory of small
leaves."""


def leaf(*where: Any) -> Any:
    """Stands in a pickle for a tensor."""
    memory = getattr(reading, "memory", None)
    if memory is None:
        raise RuntimeError(f"a batch was unpickled outside its loader (at {where})")
    return memory.tensor(*where)


@dataclass(slots=True)
class Segment:
    """Leaves that lie one behind the other."""

    size: int = 0
    parts: list[Any] = field(default_factory=list)
    """Memory of all, in order, with what lies between."""

    def add(self, pieces: Sequence[Any], nbytes: int) -> int:
        """Put a leaf of one or more pieces of memory, `nbytes` together, behind what is there; returns its offset."""
        offset = -(-self.size // ALIGN) * ALIGN
        if offset > self.size:
            self.parts.append(bytes(offset - self.size))
        self.parts += pieces
        self.size = offset + nbytes
        return offset

    def joined(self) -> bytes:
        """All as one string of bytes."""
        return b"".join(self.parts)


def plain_strides(tensor: torch.Tensor) -> tuple[int, ...] | None | bool:
    """Whether a tensor is nothing but numbers in memory of this process, each once.

    Returns:
        None when it is contiguous, its strides when it is a permutation of that (channels last), False when another
        process needs torch's own way to see the same.
    """
    if not tensor.is_cpu or tensor.layout is not torch.strided or tensor.requires_grad or tensor.is_nested:
        return False
    if tensor.is_conj() or tensor.is_neg() or tensor.untyped_storage().is_shared():
        return False
    if tensor.is_contiguous():
        return None
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return tensor.stride()


def address_of(raw: memoryview) -> int:
    """Where a flat buffer lies."""
    return int(np.frombuffer(raw, np.uint8).__array_interface__["data"][0]) if raw.nbytes else 0
