"""A loader of the shape that forebay's own has: a true DataLoader whose state is one global position.

Batches come ready from an iterable facade (`batch_size=None`, `num_workers=0`); the ranks take turns at the batches of
one global order, so the state means the same on any number of ranks.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset


class _Facade(IterableDataset[Any]):
    def __init__(self) -> None:
        self.owner: Any = None

    def __iter__(self) -> Iterator[Any]:
        return self.owner.batches()


class ResumableLoader(DataLoader[Any]):
    """`rows` samples of (x: 4 floats, y: class of 3), `batch` a rank, in an order drawn from (seed, epoch)."""

    _is_accelerate_prepared = True
    use_stateful_dataloader = True
    end_of_dataloader = False
    remainder = -1

    def __init__(self, rows: int = 48, batch: int = 4, *, rank: int = 0, world: int = 1, mapping: bool = False) -> None:
        facade = _Facade()
        super().__init__(facade, batch_size=None, num_workers=0)
        facade.owner = self
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(rows, 4, generator=generator)
        self.y = torch.randint(0, 3, (rows,), generator=generator)
        self.per_batch, self.rank, self.world, self.mapping = batch, rank, world, mapping
        self.epoch, self.position = 0, 0

    def __len__(self) -> int:
        return len(self.x) // (self.per_batch * self.world)

    def batches(self) -> Iterator[Any]:
        rows, stride = len(self.x), self.per_batch * self.world
        if self.position >= len(self) * stride:
            self.epoch, self.position = self.epoch + 1, 0
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(self.epoch))
        while self.position + stride <= rows:
            begin = self.position + self.rank * self.per_batch
            chosen = order[begin : begin + self.per_batch]
            self.position += stride
            yield {"x": self.x[chosen], "y": self.y[chosen]} if self.mapping else (self.x[chosen], self.y[chosen])

    def state_dict(self) -> dict[str, Any]:
        return {"version": 1, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]
