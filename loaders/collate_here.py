"""Collating in the loader's own process: torch's way, but large batches lie in huge pages.

torch takes new memory for each batch, and a large one is given back to the system with its last view. Most of the time then
goes into the faults of its small pages. The tensor is torch's own in any case; the system is only told, before the first store
to it, that pages of 2 MB will do.
"""

import mmap
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data._utils import collate

from forebay.loaders.advice import advise
from forebay.loaders.stacking import alike

_LEAST = 1 << 23
"""Bytes of a tensor for which it is done."""


def in_huge_pages(collate_fn: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """The same function; torch's own such that it puts large batches into huge pages."""
    possible = collate_fn is collate.default_collate and hasattr(mmap, "MADV_HUGEPAGE")
    return _collate if possible else collate_fn


def _collate(batch: list[Any]) -> Any:
    known = collate.default_collate_fn_map
    if known.get(torch.Tensor) is collate.collate_tensor_fn:
        known = {**known, torch.Tensor: _stack}
    return collate.collate(batch, collate_fn_map=known)


def _stack(batch: list[torch.Tensor], *, collate_fn_map: Any = None) -> torch.Tensor:
    """torch's `collate_tensor_fn`."""
    first = batch[0]
    if first.nbytes * len(batch) < _LEAST or not all(alike(one, first) for one in batch):
        return collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)
    made = first.new_empty((len(batch), *first.shape))
    start = -(-made.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    advise(start, made.data_ptr() + made.nbytes - start, mmap.MADV_HUGEPAGE)
    return torch.stack(batch, 0, out=made)
