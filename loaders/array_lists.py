"""Lists of small arrays: what a collate function leaves that returns its samples as they are.

Pickle takes each array alone, through several calls of Python: for a batch of small ones that is most of what it costs. Here
a list of them becomes one leaf, its arrays one behind the other, and on the other side arrays with memory of their own, as
they are behind torch's queues. What this must not change is which objects are the same: where an array or a list stands at
two places, or something is met that may hold one, the batch is pickled as it is.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from forebay.loaders.leaves import SMALL_LEAF, Segment, reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST = 4
"""Arrays for which a leaf of their own pays."""
_WIDEST = 64
"""Parts of a list that are looked at one by one."""
_PLAIN = frozenset((int, float, complex, bool, str, bytes, type(None), torch.Tensor, torch.Size, torch.dtype))
"""Types that hold no array."""
_KINDS = "biufc"
_LONGEST_ITEM = 8
"""Bytes of a number, or of half of a complex one: what a frame is aligned to."""

Shapes = Sequence[int | tuple[int, ...]]


class _Leave(Exception):
    """The batch is to be pickled as it is."""


@dataclass(frozen=True, slots=True)
class ArrayList:
    """Stands for a list or tuple of arrays in what is pickled."""

    arrays: "Sequence[NDArray[Any]]"
    shapes: Shapes
    """Of each; of arrays of one dimension, their length."""
    nbytes: int

    def leaf(self, segment: Segment) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """What is pickled, once the numbers have a place in a segment of the frame."""
        offset = segment.add(self.arrays, self.nbytes)
        return arrays_from, (offset, self.arrays[0].dtype.str, self.shapes, type(self.arrays) is tuple)


def with_array_lists(data: Any) -> Any:
    """A batch with an `ArrayList` in the place of each list of small arrays; the batch itself where there are none."""
    try:
        return _Walk().swapped(data)
    except _Leave:
        return data


def arrays_from(offset: int, dtype: str, shapes: Shapes, as_tuple: bool) -> Any:
    """The list, from the frame that this thread reads."""
    ends = list(itertools.accumulate(one if isinstance(one, int) else math.prod(one) for one in shapes))
    flat = np.frombuffer(reading.memory.small, np.dtype(dtype), ends[-1], offset)
    found = [flat[start:end].copy() for start, end in itertools.pairwise([0, *ends])]
    if not isinstance(shapes[0], int):
        found = [one.reshape(shape) for one, shape in zip(found, shapes, strict=True)]
    return tuple(found) if as_tuple else found


@dataclass(slots=True)
class _Walk:
    _seen: set[int] = field(default_factory=set)
    """Arrays and containers: each may stand at one place only."""

    def swapped(self, one: Any) -> Any:
        kind = type(one)
        if kind in _PLAIN or issubclass(kind, np.generic):
            return one
        self._see((one,))
        if kind is dict:
            if not set(map(type, one)) <= _PLAIN:
                raise _Leave
            return dict(zip(one, self._parts([*one.values()]), strict=True))
        if kind is list or kind is tuple:
            kinds = set(map(type, one))
            if kinds <= _PLAIN:
                return one
            if kinds == {np.ndarray} and len(one) >= _FEWEST:
                return self._joined(one)
            return kind(self._parts(one))
        if kind is np.ndarray and not one.dtype.hasobject:
            return one
        raise _Leave

    def _parts(self, parts: Sequence[Any]) -> list[Any]:
        if len(parts) > _WIDEST:
            raise _Leave
        return [self.swapped(part) for part in parts]

    def _joined(self, arrays: "Sequence[NDArray[Any]]") -> Any:
        dtype = arrays[0].dtype
        if dtype.kind not in _KINDS or dtype.alignment > _LONGEST_ITEM or not dtype.isnative or dtype.metadata:
            raise _Leave
        shapes: list[Any] = [one.shape for one in arrays]
        same = [one.dtype for one in arrays].count(dtype) == len(arrays)
        if not same or {one.flags.c_contiguous for one in arrays} != {True}:
            raise _Leave
        sizes = [math.prod(shape) for shape in shapes]
        if max(sizes) * dtype.itemsize >= SMALL_LEAF:
            raise _Leave
        self._see(arrays)
        flat = set(map(len, shapes)) == {1}
        return ArrayList(arrays, sizes if flat else shapes, sum(sizes) * dtype.itemsize)

    def _see(self, some: Sequence[Any]) -> None:
        before = len(self._seen)
        self._seen.update(map(id, some))
        if len(self._seen) != before + len(some):
            raise _Leave
