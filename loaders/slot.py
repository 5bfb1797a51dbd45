"""A slot: memory for the columns of one chunk, lent to whoever holds a view of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from forebay.transforms.stage import TensorSpec

ALIGN = 64
"""A cache line: no two columns share one, and kernels may use aligned loads."""


class Column(NamedTuple):
    """Where a column lies in a slot."""

    key: Any
    """Its name where it holds all rows of the chunk; (name, number) where those of one batch."""
    at: int
    nbytes: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Layout(NamedTuple):
    """The columns of so many rows, one behind another."""

    columns: tuple[Column, ...]
    nbytes: int

    @classmethod
    def of(cls, rows: int, specs: Mapping[str, TensorSpec]) -> "Layout":
        """`rows` rows of these columns."""
        columns, at = [], 0
        for name, spec in specs.items():
            columns.append(_column(name, at, rows, spec))
            at += padded(columns[-1].nbytes)
        return cls(tuple(columns), at)


class Slot:
    """Memory for one chunk, handed out column by column, seen by kernels as NumPy arrays and by the trainer as tensors.

    The lease is an array that every tensor's storage holds: it ends when the last tensor or view of one dies, wherever
    that is. NumPy ties a view to the last array of a chain of views, which is why the lease lies over a
    memoryview: were it a view of the memory, each view of it would be tied to that, and the lease would end at once.
    """

    def __init__(self, memory: NDArray[np.uint8], lease: NDArray[np.uint8]) -> None:
        self.memory, self._lease = memory, lease
        self._columns: list[Column] = []
        self._used = 0

    @property
    def whole(self) -> torch.Tensor:
        """(bytes,) uint8 tensor over all of it."""
        return torch.from_numpy(self._lease)

    @property
    def used(self) -> int:
        """Bytes that columns take."""
        return self._used

    def lay(self, layout: Layout) -> dict[str, NDArray[Any]]:
        """Room for all columns of a layout, in a slot that has none yet: name -> (rows, *shape), to write to."""
        self._columns, self._used = list(layout.columns), layout.nbytes
        # over the memory, not over the lease: it must not keep a lease alive by itself
        return {one.key: np.ndarray(one.shape, one.dtype, self.memory, one.at) for one in layout.columns}

    def column(self, key: Any, rows: int, spec: TensorSpec) -> NDArray[Any]:
        """Room for `rows` rows of one more column, (rows, *shape), to write to; `key` as of `Column`."""
        made = _column(key, self._used, rows, spec)
        self._columns.append(made)
        self._used += padded(made.nbytes)
        return np.ndarray(made.shape, made.dtype, self.memory, made.at)

    def batches(self, sizes: Sequence[int], copy: torch.Tensor | None = None) -> dict[str, Sequence[torch.Tensor]]:
        """Column -> its rows of each batch, where batches of so many rows follow one another; over a copy of `whole` if one
        is given."""
        alike = sizes.count(sizes[0]) == len(sizes)
        found: dict[str, Sequence[torch.Tensor]] = {}
        for one in self._columns:
            if not isinstance(one.key, str):
                continue
            if len(sizes) == 1:
                found[one.key] = (self._tensor(one, one.shape, copy),)
            elif alike:
                shape = (len(sizes), sizes[0], *one.shape[1:])
                found[one.key] = self._tensor(one, shape, copy).unbind(0)
            else:
                found[one.key] = torch.split_with_sizes(self._tensor(one, one.shape, copy), sizes)
        return found

    def singles(self, copy: torch.Tensor | None = None) -> dict[tuple[str, int], torch.Tensor]:
        """(name, number of the batch) -> tensor, of the columns that hold one batch."""
        columns = (one for one in self._columns if not isinstance(one.key, str))
        return {one.key: self._tensor(one, one.shape, copy) for one in columns}

    def _tensor(self, column: Column, shape: tuple[int, ...], copy: torch.Tensor | None) -> torch.Tensor:
        if copy is None:
            # NumPy makes the view: torch gives up the GIL in each of its own, and other threads want it
            return torch.from_numpy(np.ndarray(shape, column.dtype, self._lease, column.at))
        return copy[column.at : column.at + column.nbytes].view(_TORCH[column.dtype]).view(shape)


def slot_bytes(rows: int, specs: Sequence[TensorSpec]) -> int:
    """Bytes of a slot for `rows` rows of these columns."""
    return sum(padded(rows * row_bytes(one)) for one in specs)


def row_bytes(spec: TensorSpec) -> int:
    """Bytes of one row of a column."""
    return math.prod(spec.shape) * spec.dtype.itemsize


def padded(size: int) -> int:
    """`size` rounded up to whole cache lines."""
    return -(-size // ALIGN) * ALIGN


def _column(key: Any, at: int, rows: int, spec: TensorSpec) -> Column:
    return Column(key, at, rows * row_bytes(spec), spec.dtype, (rows, *spec.shape))


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
