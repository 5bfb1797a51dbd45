"""How the loader reads frames: tensors over the memory where the worker left their numbers."""

import ctypes
import pickle
from typing import Any

import torch

from forebay.loaders import leaves
from forebay.loaders.leases import Leases
from forebay.loaders.leaves import BUFFER, COPIED, DTYPES, HEAD, PLACED, SMALL, Head


def unpack(frame: bytearray, leases: Leases | None) -> Any:
    """The message of a frame.

    Each tensor has a storage of its own, as it has behind torch's queues; what lies in the slot holds its lease.
    """
    head = Head(*HEAD.unpack_from(frame))
    slot = None
    if head.slot >= 0 and leases is not None:
        slot = leases.lease(head.slot, head.capacity)
    view = memoryview(frame)
    buffers_end = HEAD.size + head.buffers * BUFFER.size
    small = view[buffers_end : buffers_end + head.small]
    if head.small_at >= 0 and slot is not None:
        small = memoryview(slot).cast("B")[head.small_at :]
    memory = _Memory(slot, small, head.copied_at)
    if head.pickle_at >= 0 and slot is not None:
        pickled = memoryview(slot).cast("B")[head.pickle_at : head.pickle_at + head.pickle_bytes]
    else:
        pickled = view[buffers_end + head.small :]
    places = [BUFFER.unpack_from(frame, HEAD.size + number * BUFFER.size) for number in range(head.buffers)]
    buffers = [memory.buffer(*place) for place in places]
    before, leaves.reading.memory = getattr(leaves.reading, "memory", None), memory
    try:
        return pickle.loads(pickled, buffers=buffers)
    finally:
        leaves.reading.memory = before


class _Memory:
    """The segments of one frame."""

    def __init__(self, slot: "ctypes.Array[ctypes.c_char] | None", small: memoryview, copied_at: int) -> None:
        self._slot: Any = slot
        self.small = small
        self._starts = {COPIED: copied_at, PLACED: 0}

    def tensor(
        self, segment: int, offset: int, code: int, shape: tuple[int, ...], strides: tuple[int, ...] | None
    ) -> torch.Tensor:
        """A leaf."""
        dtype, count = DTYPES[code], 1
        for size in shape:
            count *= size
        if segment == SMALL:
            own = bytearray(self.small[offset : offset + count * dtype.itemsize])
            flat = torch.frombuffer(own, dtype=dtype, count=count)
        else:
            flat = torch.frombuffer(self._slot, dtype=dtype, count=count, offset=self._starts[segment] + offset)
        return flat.view(shape) if strides is None else flat.as_strided(shape, strides)

    def buffer(self, segment: int, offset: int, nbytes: int) -> Any:
        """Memory for an out-of-band buffer: writable, as if it had been pickled."""
        if segment == SMALL:
            return bytearray(self.small[offset : offset + nbytes])
        start = self._starts[segment] + offset
        return memoryview(self._slot).cast("B")[start : start + nbytes]
