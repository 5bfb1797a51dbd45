"""What the ranks of the checkpoint tests do: train, save in mid-epoch, go on elsewhere."""

from typing import Any

import torch
import torch.nn.functional as F
from support.rank_steps import make_model
from support.resumable_loader import ResumableLoader
from support.shards import shard_loader
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.checkpoint import load_checkpoint, save_checkpoint
from forebay.loaders.hooks.checkpoint_sharded import load_sharded, save_sharded
from forebay.loaders.hooks.ema import Ema
from forebay.loaders.hooks.train_step import LossSum, StepSpec, TrainStep


def loss(model: nn.Module, batch: Any) -> LossSum:
    x, y = batch
    return LossSum(F.cross_entropy(model(x), y, reduction="sum"), len(x))


def train(
    rank: int, world: int, path: str, loads: bool, updates: int, shards: bool = False, data: str = ""
) -> tuple[list[torch.Tensor], int, list[torch.Tensor], list[torch.Tensor]]:
    """Two microbatches of 4 samples an update, on one rank after another or on two at once; then save.

    The loader is a stand-in of the tests, or forebay's own over the folder `data`.

    Returns: losses of this rank's microbatches, updates in all, weights, average.
    """
    model: nn.Module = make_model()
    if shards:
        from torch.distributed.fsdp import fully_shard

        fully_shard(model)
    inner = model
    if world > 1 and not shards:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    step = TrainStep(model, optimizer, spec=StepSpec(accumulate=2 // world))
    loader: Any = shard_loader(data) if data else ResumableLoader(rank=rank, world=world)
    ema = Ema(0.9)
    losses = []
    with attach(loader, optimizer, hooks=[ema], model=inner) as run:
        parts = {"loader": loader, "run": run, "step": step}
        if loads and shards:
            load_sharded(path, model=inner, optimizer=optimizer, **parts)
        elif loads:
            load_checkpoint(path, model=model, optimizer=optimizer, **parts)
        goal = run.ctx.step + updates
        while run.ctx.step < goal:
            for batch in loader:
                losses.append(step(batch, loss).loss)
                if run.ctx.step == goal:
                    break
        if not loads:
            if shards:
                save_sharded(path, model=inner, optimizer=optimizer, **parts)
            else:
                save_checkpoint(path, model=model, optimizer=optimizer, **parts)
        average = list(ema.state_dict()["average"].values())
        return losses, run.ctx.step, _whole(list(inner.parameters())), _whole(average)


def sharded_save_message(rank: int, world: int, path: str) -> str:
    """What saving a model cut into shards into one file says."""
    from torch.distributed.fsdp import fully_shard

    model = make_model()
    fully_shard(model)
    try:
        save_checkpoint(path, model=model)
    except SpecError as error:
        return str(error)
    return "saved"


def _whole(tensors: list[Any]) -> list[torch.Tensor]:
    return [(t.full_tensor() if hasattr(t, "full_tensor") else t).detach().clone() for t in tensors]
