"""Pad batches to the multiple that a recipe's kernels need, and keep shapes few."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.quantize import Recipe


def pad_multiple(*needs: Recipe | int) -> int:
    """The least multiple that suits all of them: recipes, or numbers such as 128 for the blocks of FlexAttention."""
    return math.lcm(*(need if isinstance(need, int) else need.pad_multiple for need in needs)) if needs else 1


@dataclass(frozen=True, slots=True)
class PadTo:
    """Pads the last dimension of the token tensors of a batch: use it as the last step of a `collate_fn`.

    Only a mapping's tensors with two or more dimensions are padded, at the end, each with its own value.
    """

    multiple: int
    """The length becomes a multiple of this."""
    fill: Mapping[str, int] = field(default_factory=lambda: {"input_ids": 0, "attention_mask": 0, "labels": -100})
    """What to pad with, by name; tensors of other names are left alone."""

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise SpecError(f"PadTo has multiple={self.multiple}, expected 1 or more; see pad_multiple(recipe)")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch whose padded tensors are new; the others are the same objects."""
        return {name: self._padded(name, value) for name, value in batch.items()}

    def _padded(self, name: str, value: Any) -> Any:
        if name not in self.fill or not isinstance(value, torch.Tensor) or value.dim() < 2:
            return value
        missing = -value.shape[-1] % self.multiple
        return torch.nn.functional.pad(value, (0, missing), value=self.fill[name]) if missing else value
