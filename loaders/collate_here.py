"""Collating in the loader's own process: torch's way, but large batches take the memory of an earlier one that is gone.

torch takes new memory for each batch, and a large one is given back to the system with its last view. Most of the time then
goes into the faults of its pages. The tensor is torch's own in any case.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data._utils import collate

from forebay.loaders.alike import alike
from forebay.loaders.spare_memory import SpareMemory

_LEAST, _MOST = 1 << 23, 1 << 30
"""Bytes of a tensor for which it is done: malloc keeps less by itself, and more is not to wait for its next use."""


def in_spare_memory(collate_fn: Callable[[list[Any]], Any], spare: SpareMemory) -> Callable[[list[Any]], Any]:
    """The same function; torch's own such that it puts large batches into spare memory."""
    if collate_fn is not collate.default_collate:
        return collate_fn

    def stack(batch: list[torch.Tensor], *, collate_fn_map: Any = None) -> torch.Tensor:
        first = batch[0]
        if not _LEAST <= first.nbytes * len(batch) <= _MOST or not all(alike(one, first) for one in batch):
            return collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)
        room = spare.take(torch.Size((len(batch), *first.shape)), first.dtype)
        if room is None:
            made = collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)
        else:
            made = torch.stack(batch, 0, out=room).data
        spare.keep(made)
        return made

    def collated(batch: list[Any]) -> Any:
        spare.begin()
        known = collate.default_collate_fn_map
        if known.get(torch.Tensor) is collate.collate_tensor_fn:
            known = {**known, torch.Tensor: stack}
        return collate.collate(batch, collate_fn_map=known)

    return collated
