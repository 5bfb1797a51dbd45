"""The other ranks that train the same model: DDP, FSDP2, or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Replicas:
    """When gradients are exchanged, and sums over the ranks that exchange them."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._ddp = model if isinstance(model, DistributedDataParallel) else None
        # FSDP2 changes the class of the module: fully_shard(model) makes it an FSDPModule.
        self._fsdp: Any = model if hasattr(model, "set_requires_gradient_sync") else None
        self._group: Any = self._find_group()
        together = self._ddp is not None or self._fsdp is not None
        self.world = dist.get_world_size(self._group) if together else 1

    def _find_group(self) -> Any:
        if self._ddp is not None:
            return self._ddp.process_group
        return None

    @contextmanager
    def synchronize(self, now: bool) -> Iterator[None]:
        """Around forward and backward of a microbatch: exchange gradients only when `now`."""
        if self._fsdp is not None:
            self._fsdp.set_requires_gradient_sync(now)
            self._fsdp.set_is_last_backward(now)
            yield
        elif self._ddp is not None and not now:
            with self._ddp.no_sync():
                yield
        else:
            yield

    def total(self, value: float) -> float:
        """Sum over the ranks. One small exchange; alone, none."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self._device)
        dist.all_reduce(shared, group=self._group)
        return float(shared)

    def first(self, value: float) -> float:
        """The value of the group's first rank, on all of them."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self._device)
        dist.broadcast(shared, group_src=0, group=self._group)
        return float(shared)
