"""Who claims and writes slots of an arena, as a worker does."""

import os
from typing import Any

from forebay.loaders.arena import Arena
from forebay.loaders.slot_claims import SlotClaims
from forebay.loaders.slot_writer import SlotWriter


def claims_of(arena: Arena, worker: int = 0, **options: Any) -> SlotClaims:
    """The claims of one of two workers."""
    return SlotClaims(arena, worker, **{"workers": 2, "limit": 1 << 22, **options})


def writer_of(arena: Arena, **options: Any) -> SlotWriter:
    """What a worker writes batches with."""
    return SlotWriter(arena, claims_of(arena, **options))


def bytes_held(arena: Arena) -> int:
    """Memory that the system keeps for the slots."""
    return os.fstat(arena.fd).st_blocks * 512


def right(batch: Any, rows: list[int]) -> bool:
    """Is this the batch of these rows of `torch_sets.Images`?"""
    images, labels = batch
    return labels.tolist() == rows and all((image == row).all() for image, row in zip(images, rows, strict=True))
