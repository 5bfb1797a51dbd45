"""Stacking a batch's samples in its slot."""

import ctypes
from collections.abc import Sequence

import torch

from forebay.loaders.alike import alike
from forebay.loaders.slot_writer import SlotWriter

_LARGE = 1 << 17
"""Bytes of a sample that is written from where it lies; smaller ones are stacked first, in memory that the cache holds."""
_STORED_AT_ONCE = 1 << 22
"""Bytes that are stored before full pages are taken out of the page table."""
_AT_ONCE = 1 << 18
"""Bytes that are stacked before they are written."""


def stack_into(
    slots: SlotWriter, memory: "ctypes.Array[ctypes.c_char]", made: torch.Tensor, batch: Sequence[torch.Tensor]
) -> bool:
    """Stack `batch` into a slot's memory, which `made` (len(batch), *shape of the first) lies over.

    Returns:
        False when there is no more memory for the slot.

    Raises:
        RuntimeError: their shapes differ, or one cannot be turned into the first one's type.
    """
    each = batch[0].nbytes
    mapped = slots.mapped_bytes(memory) // each
    if mapped and not slots.back(memory, mapped * each):
        return False
    step = max(1, _STORED_AT_ONCE // each)
    for start in range(0, mapped, step):
        end = min(start + step, mapped)
        _stack(batch[start:end], batch[0], made[start:end])
        slots.stored(memory, end * each)
    if mapped == len(batch):
        return True
    if each >= _LARGE and all(alike(one, batch[0]) for one in batch[mapped:]):
        pieces = [_bytes_of(one) for one in batch[mapped:]]
        return slots.write(memory, mapped * each, pieces)
    step = max(1, _AT_ONCE // each)
    room = torch.empty((min(step, len(batch) - mapped), *made.shape[1:]), dtype=made.dtype)
    for start in range(mapped, len(batch), step):
        part = batch[start : start + step]
        _stack(part, batch[0], room[: len(part)])
        if not slots.write(memory, start * each, [_bytes_of(room[: len(part)])]):
            return False
    return True


def _stack(part: Sequence[torch.Tensor], first: torch.Tensor, room: torch.Tensor) -> None:
    if part[0].shape != first.shape:
        raise RuntimeError("stack expects each tensor to be equal size")
    torch.stack(tuple(part), 0, out=room)


def _bytes_of(tensor: torch.Tensor) -> "ctypes.Array[ctypes.c_char]":
    return (ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr())
