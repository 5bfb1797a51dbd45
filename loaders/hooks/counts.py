"""How many samples and tokens a batch holds, without waiting for a device."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch


class BatchCount(NamedTuple):
    """Sizes of one batch."""

    samples: int
    """Rows; for a packed batch, the number of sequences in it."""
    tokens: int = 0
    """Real tokens, 0 when there are none or when only a device could tell."""
    padded_tokens: int = 0
    """Token places."""


def count_batch(batch: Any) -> BatchCount:
    """Count a batch of the common kinds.

    Samples are the leading dimension of the first tensor found. A mapping with `input_ids` (N rows, L places) also has
    tokens; the real ones are taken from what the loader planned where it says so: `num_tokens`, an int, or
    `cu_seq_lens_q` (packed). Next from `attention_mask` where that is on the CPU (its sum, so that costs in proportion
    to its size). A mask on a device is not summed, since the answer would have to be waited for: all places count.
    """
    if isinstance(batch, torch.Tensor):
        return BatchCount(batch.shape[0] if batch.dim() else 1)
    if isinstance(batch, Mapping):
        ids = batch.get("input_ids")
        return _count_tokens(batch, ids) if isinstance(ids, torch.Tensor) else _first(batch.values())
    if isinstance(batch, list | tuple):
        return _first(batch)
    return BatchCount(0)


def _first(parts: Any) -> BatchCount:
    for part in parts:
        found = count_batch(part)
        if found.samples:
            return found
    return BatchCount(0)


def _count_tokens(batch: Mapping[str, Any], ids: torch.Tensor) -> BatchCount:
    places, rows = ids.numel(), ids.shape[0]
    bounds = batch.get("cu_seq_lens_q")
    if isinstance(bounds, torch.Tensor):
        rows = bounds.numel() - 1
    planned = batch.get("num_tokens")
    if isinstance(planned, int):
        return BatchCount(rows, planned, places)
    mask = batch.get("attention_mask")
    if bounds is None and isinstance(mask, torch.Tensor) and mask.device.type == "cpu":
        return BatchCount(rows, int(mask.sum()), places)
    return BatchCount(rows, places, places)
