"""The hooks over forebay's own loader: counted, resumed in mid-epoch on other ranks, and in the frameworks."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.accelerate_state import forget_accelerate
from support.rank_checkpoints import train
from support.ranks import on_ranks
from support.shards import class_shards, shard_loader

from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.device_prefetch import DevicePrefetch
from forebay.loaders.hooks.lightning import lightning_callback
from forebay.loaders.hooks.meter import Meter

FIRST, SECOND = 4, 5  # updates of two microbatches before and after saving: an epoch has 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return class_shards(tmp_path_factory.mktemp("shards"))


def test_it_is_watched_in_place_and_left_as_it_was(folder: str) -> None:
    loader = shard_loader(folder, num_workers=1)
    cls = type(loader)
    with attach(loader, hooks=[Meter()]) as run:
        batches = list(loader)
    assert (run.ctx.microbatch, run.ctx.samples) == (12, 48) == (len(batches), sum(len(y) for _, y in batches))
    assert type(loader) is cls


def test_read_ahead_the_state_is_that_of_the_batch_given_out(folder: str) -> None:
    whole = [y.tolist() for _, y in shard_loader(folder)]
    prefetch = DevicePrefetch(shard_loader(folder), "cpu")
    iterator = iter(prefetch)
    begun = [next(iterator)[1].tolist() for _ in range(5)]
    resumed = DevicePrefetch(shard_loader(folder), "cpu")
    resumed.load_state_dict(prefetch.state_dict())
    assert begun + [y.tolist() for _, y in resumed] == whole


@pytest.mark.parametrize("worlds", [(1, 1), (2, 1), (1, 2)], ids=["1 to 1", "2 to 1", "1 to 2"])
@pytest.mark.slow
def test_losses_are_equal_to_the_last_bit_on_other_ranks(worlds: tuple[int, int], folder: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = str(tmp_path / "run.pt")
    losses, updates, weights, _ = train(0, 1, str(tmp_path / "whole.pt"), False, FIRST + SECOND, False, folder)
    before, after = worlds

    def part(world: int, loads: bool, count: int) -> Any:
        arguments = (path, loads, count, False, folder)
        return on_ranks(world, train, *arguments) if world > 1 else [train(0, 1, *arguments)]

    first, second = part(before, False, FIRST), part(after, True, SECOND)
    found = [
        loss for half in (first, second) for together in zip(*(r[0] for r in half), strict=True) for loss in together
    ]
    assert [float(loss) for loss in found] == [float(loss) for loss in losses]
    assert second[0][1] == updates
    torch.testing.assert_close(second[0][2], weights, rtol=0, atol=0)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_lightning_goes_on_in_mid_epoch(folder: str, tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Linear(4, 3)
            self.losses: list[float] = []

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(float(loss))
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.05)

    def fit(steps: int, checkpoint: str | None = None, save: str | None = None) -> tuple[list[float], Any]:
        callback, module = lightning_callback([Meter()]), Module()
        options: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        saves = save is not None
        trainer = pl.Trainer(
            default_root_dir=tmp_path,
            max_steps=steps,
            callbacks=[callback],
            accelerator="cpu",
            enable_checkpointing=saves,
            **options,
        )
        trainer.fit(module, shard_loader(folder), ckpt_path=checkpoint)
        if save is not None:
            trainer.save_checkpoint(save)
        return module.losses, callback.run.ctx

    whole, _ = fit(16)
    path = str(tmp_path / "mid.ckpt")
    first, _ = fit(7, save=path)
    second, ctx = fit(16, checkpoint=path)
    assert first + second == whole and (ctx.step, ctx.microbatch) == (16, 16)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_accelerate_steps_the_last_short_window(folder: str) -> None:
    accelerate = pytest.importorskip("accelerate")
    forget_accelerate()
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=5)
    model = torch.nn.Linear(4, 3)
    model, optimizer, loader = accelerator.prepare(
        model, torch.optim.AdamW(model.parameters()), shard_loader(folder, num_workers=1)
    )
    with attach(loader, optimizer, hooks=[Meter()]) as run:
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
                optimizer.zero_grad()
    assert (run.ctx.microbatch, run.ctx.step) == (12, 3)
