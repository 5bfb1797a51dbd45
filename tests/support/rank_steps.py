"""What the ranks of the TrainStep and batch-size tests do."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from forebay.loaders.hooks.batch_size_search import find_batch_size
from forebay.loaders.hooks.precision import Precision
from forebay.loaders.hooks.train_step import LossSum, StepSpec, TrainStep
from forebay.loaders.hooks.windows import WindowCounts

TOKENS = [3, 1, 4, 2, 2, 5, 1, 6]
"""Real tokens in each microbatch: uneven on purpose."""


def microbatches(count: int = 8) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(5)
    sizes = TOKENS[:count]
    return [(torch.randn(n, 4, generator=generator), torch.randn(n, 3, generator=generator)) for n in sizes]


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def loss_sum(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> LossSum:
    x, y = batch
    return LossSum(F.mse_loss(model(x), y, reduction="sum"), len(x))


def planned_sum(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> LossSum:
    return loss_sum(model, batch)._replace(window_tokens=sum(TOKENS))


def weights_after(step: TrainStep, mine: list[Any], loss: Any) -> None:
    for batch in step.over(mine):
        step(batch, loss)


def ddp_weights(rank: int, world: int) -> list[Any]:
    """Weights and number of exchanges after one update over two ranks, for counts unplanned and planned."""
    return [_ddp_weights(rank, world, loss=loss) for loss in (loss_sum, planned_sum)]


def _ddp_weights(rank: int, world: int, *, loss: Any) -> Any:
    model = DistributedDataParallel(make_model())
    exchanged: list[int] = []

    def count_exchange(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        exchanged.append(1)
        return allreduce_hook(state, bucket)

    model.register_comm_hook(None, count_exchange)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = TrainStep(model, optimizer, spec=StepSpec(accumulate=4, clip_norm=100.0))
    weights_after(step, microbatches()[rank::world], loss)
    return [p.detach().clone() for p in model.parameters()], len(exchanged)


def fsdp_weights(rank: int, world: int, precision: str) -> Any:
    """The same with FSDP2 on a CPU mesh; returns the whole weights, the norm and the counters."""
    from torch.distributed.fsdp import fully_shard

    model = make_model()
    for layer in (model[0], model[2]):
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    spec = StepSpec(accumulate=4, clip_norm=0.5, precision=Precision(precision), init_scale=256.0)  # type: ignore[arg-type]
    step = TrainStep(model, optimizer, spec=spec)
    norm = None
    for batch in step.over(microbatches()[rank::world]):
        norm = step(batch, loss_sum).grad_norm
    return [p.full_tensor().detach().clone() for p in model.parameters()], norm, step.updates


def fsdp_overflow_on_one_rank(rank: int, world: int, fused: bool) -> Any:
    """Only row 0 of the weight, which rank 0 holds, has a gradient that is not finite: do both ranks skip?"""
    from torch.distributed.fsdp import fully_shard

    model = nn.Linear(4, 4)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
    step = TrainStep(model, optimizer, spec=StepSpec(precision=Precision("fp16"), init_scale=256.0))
    step(torch.ones(2, 4), lambda model, x: model(x)[:, 0].sum() * float("inf"))
    skipped = step.skipped
    step(torch.ones(2, 4), lambda model, x: model(x).sum())
    finite = bool(torch.isfinite(model.weight.to_local()).all())  # type: ignore[operator]  # a DTensor now
    return skipped, step.updates, step.scaler.get_scale(), finite


def uneven_memory(rank: int, world: int) -> Any:
    """Rank 1 has room for 24 samples, rank 0 for 100: both must find 24's answer."""
    room = 24 if rank else 100
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError(f"no room for {size}")

    return find_batch_size(attempt, start=8, most=64), tried


def window_counts(rank: int, world: int) -> list[int]:
    """The counts that each rank's batches are given, two batches a window, of uneven sizes."""
    sizes = [[3, 1, 4], [2, 2, 5]][rank]
    loader = [{"labels": torch.zeros(1, size)} for size in sizes]
    return [batch["num_items_in_window"] for batch in WindowCounts(loader, 2)]
