"""Memory of a loop's last batches, used again when nobody holds it any more.

Whether somebody does is known exactly: a tensor, a view, an array or an operator that may still look at memory holds its
storage, and torch counts who does. A batch over memory that is used again is like one over new memory: it has its own
storage, that can be resized or shared, and who did that keeps it.
"""

import sys
import weakref
from functools import cache
from typing import Any

import torch


class SpareMemory:
    """Tensors over the memory of the last two batches: one is mostly with the trainer while the next is made."""

    def __init__(self) -> None:
        self._older: list[torch.Tensor] = []
        self._last: list[torch.Tensor] = []
        self._now: list[torch.Tensor] = []

    def begin(self) -> None:
        """A batch begins: memory that the last two did not have is let go."""
        self._older, self._last, self._now = self._last, self._now, []

    def take(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor | None:
        """A contiguous tensor over memory that nobody holds, to be written to, or None. `keep` what is made of it."""
        for batch in (self._last, self._older):
            for at, kept in enumerate(batch):
                if kept.shape == shape and kept.dtype == dtype and _is_free(kept):
                    return batch.pop(at)
        return None

    def keep(self, made: torch.Tensor) -> None:
        """Remember a new tensor, all of whose memory it lies over, for when it is gone."""
        if _alone() is not None:
            self._now.append(made.data)  # a tensor of its own, that is no view of the other

    def clear(self) -> None:
        """The loop is over."""
        self._older, self._last, self._now = [], [], []


def _is_free(kept: torch.Tensor) -> bool:
    """Whether memory is held by this tensor alone, and is as torch makes it."""
    storage = kept.untyped_storage()
    as_made = storage.nbytes() == kept.nbytes and storage.resizable() and not storage.is_shared()
    unseen = not vars(storage) and not weakref.getweakrefcount(storage)
    mode = kept.is_inference() == torch.is_inference_mode_enabled()
    del storage
    return as_made and unseen and mode and _holders(kept) == _alone()


def _holders(tensor: torch.Tensor) -> tuple[int, int]:
    """How often a tensor's storage is held by tensors, and its Python object by others."""
    storage: Any = tensor.untyped_storage()
    return torch._C._storage_Use_Count(storage._cdata), sys.getrefcount(storage)


@cache
def _alone() -> tuple[int, int] | None:
    """What `_holders` says of memory that nobody else holds; None where this torch does not tell it from other memory."""
    kept = torch.empty(1).data
    try:
        alone, again = _holders(kept), _holders(kept)
        view = kept[:0]
        seen_view = _holders(kept)
        del view
        storage = kept.untyped_storage()
        seen_storage = _holders(kept)
        del storage
        return alone if alone == again == _holders(kept) and alone not in (seen_view, seen_storage) else None
    except (AttributeError, TypeError):
        return None
