"""The ring: memory for batches, used again when the last view of it is gone."""

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forebay.transforms.stage import TensorSpec

_ALIGN = 64
"""A cache line: no two columns share one, and kernels may use aligned loads."""


@dataclass(slots=True)
class Slot:
    """Memory for `rows` rows of every column, seen by kernels as NumPy arrays and by the trainer as tensors.

    The lease is the array that the tensors' storage holds: it ends when the last tensor or view of one dies, wherever
    that is. (A lease on an array in between would end at once, since NumPy ties views to the first owner of the memory.)
    """

    arrays: dict[str, NDArray[Any]]
    """Column -> (rows, *shape): where kernels write."""
    tensors: dict[str, torch.Tensor]
    """The same memory."""

    def batches(self, rows: int, batch_size: int) -> list[dict[str, torch.Tensor]]:
        """The first `rows` rows cut into batches, the last may be smaller. All views are made in a few calls, since a batch
        of small rows is due every few microseconds."""
        cut = {name: torch.split(one[:rows], batch_size) for name, one in self.tensors.items()}
        names = list(cut)
        return [dict(zip(names, parts, strict=True)) for parts in zip(*cut.values(), strict=True)]


@dataclass(slots=True)
class Ring:
    """Slots of one size. A slot whose tensors are all gone is used again; when none is free, a fresh one is made.

    Nothing that a trainer still holds is ever written again.
    """

    specs: Mapping[str, TensorSpec]
    rows: int
    """Rows of a slot."""
    pinned: bool = False
    """Whether memory is page-locked for copies to a GPU."""
    made: int = 0
    """Slots made so far: how many were out at the same time."""
    _free: list[NDArray[np.uint8]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        """Bytes of a slot."""
        return sum(_padded(self.rows * _row_bytes(one)) for one in self.specs.values())

    def take(self) -> Slot:
        """A slot to write to."""
        with self._lock:
            memory = self._free.pop() if self._free else None
            self.made += memory is None
        if memory is None:
            memory = _allocate(self.nbytes, self.pinned)
        lease = memory[:]
        weakref.finalize(lease, self._free.append, memory).atexit = False
        whole = torch.from_numpy(lease)
        arrays, tensors, at = {}, {}, 0
        for name, spec in self.specs.items():
            size = self.rows * _row_bytes(spec)
            shape = (self.rows, *spec.shape)
            part = whole[at : at + size].view(_TORCH[spec.dtype]).view(shape)
            tensors[name] = part
            # a plain view of the memory, not of the lease: it must not keep a lease alive by itself
            arrays[name] = memory[at : at + size].view(spec.dtype).reshape(shape)
            at += _padded(size)
        return Slot(arrays, tensors)


_TORCH = {
    np.dtype(np.bool_): torch.bool,
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.int8): torch.int8,
    np.dtype(np.int16): torch.int16,
    np.dtype(np.uint16): torch.uint16,
    np.dtype(np.int32): torch.int32,
    np.dtype(np.uint32): torch.uint32,
    np.dtype(np.int64): torch.int64,
    np.dtype(np.uint64): torch.uint64,
    np.dtype(np.float16): torch.float16,
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}


def _row_bytes(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape, dtype=np.int64)) * spec.dtype.itemsize


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _allocate(size: int, pinned: bool) -> NDArray[np.uint8]:
    if pinned:
        return torch.empty(max(size, 1), dtype=torch.uint8, pin_memory=True).numpy()
    return np.empty(max(size, 1), np.uint8)
