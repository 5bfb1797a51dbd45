"""Prove that sequences packed into one row do not see each other.

transformers finds the bounds of packed sequences from `position_ids` only where there is no attention mask and no
cache. With `use_cache=True` (its default, even in `train()`) or an all-ones `attention_mask` the sequences contaminate
one another, and nothing fails.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from forebay.formats.errors import DataError, SchemaError


def logits_of(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    """`model(**batch)`: its `.logits`, or the tensor that it returns."""
    out = model(**batch)
    found: torch.Tensor = out if isinstance(out, torch.Tensor) else out.logits
    return found


@torch.no_grad()
def check_packing(
    model: nn.Module,
    batch: dict[str, Any],
    *,
    tolerance: float = 1e-3,
    logits: Callable[[nn.Module, dict[str, Any]], torch.Tensor] = logits_of,
) -> float:
    """Compare the logits of a packed batch with those of each of its sequences alone.

    Args:
        model: in any mode; dropout is off during the check.
        batch: one packed batch: `input_ids` and restarting `position_ids`, both (1, L).
        tolerance: largest difference that counts as rounding, as a share of the largest logit.
        logits: how to call the model.

    Returns:
        The largest relative difference found.

    Raises:
        SchemaError: the batch is not packed, or has an `attention_mask`.
        DataError: the sequences see each other; says what to change.
    """
    _check_packed(batch)
    ids, positions = batch["input_ids"], batch["position_ids"]
    starts = [*torch.nonzero(positions[0] == 0).flatten().tolist(), ids.shape[1]]
    was_training = model.training
    model.eval()
    try:
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "num_tokens")}
        together = logits(model, inputs)[0].float()
        alone = [
            logits(model, {"input_ids": ids[:, a:b], "position_ids": positions[:, a:b]})[0].float()
            for a, b in zip(starts, starts[1:], strict=False)
        ]
    finally:
        model.train(was_training)
    separate = torch.cat(alone)
    difference = float((together - separate).abs().max() / separate.abs().max())
    if difference > tolerance:
        raise DataError(
            f"packed sequences see each other: logits differ by {difference:.2g} of the largest (tolerance "
            f"{tolerance:g}). Set model.config.use_cache = False, give no attention_mask, and use an attention that "
            "reads position_ids or cu_seq_lens"
        )
    return difference


def _check_packed(batch: dict[str, Any]) -> None:
    if "attention_mask" in batch:
        raise SchemaError("a packed batch must have no 'attention_mask': with one, position_ids are not looked at")
    if "position_ids" not in batch or "input_ids" not in batch:
        raise SchemaError(f"a packed batch has 'input_ids' and 'position_ids'; this one has {sorted(batch)}")
    ids, positions = batch["input_ids"], batch["position_ids"]
    if ids.dim() != 2 or ids.shape[0] != 1 or ids.shape != positions.shape:
        raise SchemaError(
            "expected input_ids and position_ids of shape (1, L), found "
            f"{tuple(ids.shape)} and {tuple(positions.shape)}"
        )
