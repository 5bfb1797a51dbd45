"""A chunk that is filled: some batches in one or two slots, and the views that a trainer gets of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from forebay.loaders.slot import Slot

Batch = dict[str, Any]
Move = Callable[[torch.Tensor], torch.Tensor]


@dataclass(slots=True)
class Filled:
    """Batches of one chunk. All views are made in a few calls, since a batch of small rows is due every few microseconds."""

    sizes: list[int]
    """Rows of each batch."""
    names: Sequence[str]
    """Columns of a batch, in order; those in no slot and no value are left out."""
    slots: list[Slot] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    """Of each batch, what is no tensor: text as lists, plain numbers."""

    def batches(self, move: Move | None = None) -> list[Batch]:
        """The batches, over the slots' memory or over what `move` makes of each slot's used part (a copy on a device)."""
        cut: dict[str, Sequence[torch.Tensor]] = {}
        singles: dict[tuple[str, int], torch.Tensor] = {}
        for slot in self.slots:
            copy = None if move is None else move(slot.whole[: slot.used])
            cut.update(slot.batches(self.sizes, copy))
            singles.update(slot.singles(copy))
        if not singles and not self.values:
            names = [name for name in self.names if name in cut]
            parts = [cut[name] for name in names]
            return [dict(zip(names, batch, strict=True)) for batch in zip(*parts, strict=True)]
        found: list[Batch] = [{} for _ in self.sizes]
        for name, columns in cut.items():
            for batch, tensor in zip(found, columns, strict=True):
                batch[name] = tensor
        for (name, number), tensor in singles.items():
            found[number][name] = tensor
        for batch, values in zip(found, self.values, strict=False):
            batch.update(values)
        order = {name: at for at, name in enumerate(self.names)}
        return [dict(sorted(batch.items(), key=lambda one: order.get(one[0], len(order)))) for batch in found]
