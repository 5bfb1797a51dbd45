"""Training with Lightning's Trainer and Fabric, on one rank or several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import ModelCheckpoint
from support.framework_data import BATCH, loss_of, make_loader, make_net, rows_in

import forebay as fb


class Module(pl.LightningModule):
    """Keeps the rows of each training step, and of each validation batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = make_net()
        self.seen: list[list[int]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append(rows_in(batch))
        return loss_of(self.net, batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(rows_in(batch))

    def predict_step(self, batch: Any, batch_idx: int) -> list[int]:
        return rows_in(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def make_trainer(folder: str | Path, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet["enable_checkpointing"] = False
    return pl.Trainer(default_root_dir=folder, accelerator="cpu", **{**quiet, "max_epochs": -1, **options})


def fit(loader: Any, folder: str | Path, steps: int, **options: Any) -> tuple[Any, Any]:
    """(module, trainer) after `steps` steps in all."""
    module, checkpoint = Module(), options.pop("ckpt_path", None)
    trainer = make_trainer(folder, max_steps=steps, **options)
    trainer.fit(module, loader, ckpt_path=checkpoint)
    return module, trainer


def stopped_and_resumed(
    make: Callable[[], Any], folder: str | Path, steps: tuple[int, int], **options: Any
) -> list[Any]:
    """Two modules: after `steps[0]` steps and a checkpoint, and after the rest with new objects."""
    stop, end = steps
    saves = ModelCheckpoint(dirpath=folder, every_n_train_steps=stop, save_top_k=-1, filename="{step}")
    first, _ = fit(make(), folder, stop, enable_checkpointing=True, callbacks=[saves], **options)
    second, _ = fit(make(), folder, end, ckpt_path=f"{folder}/step={stop}.ckpt", **options)
    return [first, second]


def weights(module: Any) -> list[torch.Tensor]:
    return [one.detach().clone() for one in module.parameters()]


def ddp_fit(rank: int, world: int, kind: str, data: str, folder: str) -> dict[str, Any]:
    """17 steps at once; then 9, a checkpoint, and the rest in a new Trainer. The loaders are made before there is a group."""
    many: dict[str, Any] = {"strategy": "ddp", "devices": world}
    whole, trainer = fit(make_loader(kind, data), folder, 17, **many)
    first, second = stopped_and_resumed(lambda: make_loader(kind, data), folder, (9, 17), **many)
    stock = torch.utils.data.DataLoader(fb.scan(data), batch_size=BATCH, shuffle=True)
    return {
        "stock over forebay": fit(stock, folder, 7, **many)[0].seen,
        "whole": whole.seen,
        "first": first.seen,
        "second": second.seen,
        "equal weights": all(map(torch.equal, weights(whole), weights(second))),
        "class": type(trainer.train_dataloader).__name__,
        "sampler": type(trainer.train_dataloader.sampler).__name__,
        "world": trainer.world_size,
    }


def fabric_run(
    kind: str, data: str, path: str | None, steps: tuple[int, int], **options: Any
) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Rows of steps `steps[0]` to `steps[1]`, and the weights then. Loads from `path` what is not the beginning, else saves
    there."""
    from forebay import frameworks

    begin, end = steps
    fabric = Fabric(accelerator="cpu", **options)
    fabric.launch()
    net = make_net()
    model, optimizer = fabric.setup(net, torch.optim.AdamW(net.parameters(), lr=0.05))
    loader = fabric.setup_dataloaders(make_loader(kind, data))
    state = {"model": model, "optimizer": optimizer, "loader": loader}
    if begin:
        fabric.load(path, state)
        frameworks.resume_fabric(loader)
    seen: list[list[int]] = []
    while begin + len(seen) < end:
        for batch in loader:
            seen.append(rows_in(batch))
            fabric.backward(loss_of(model, batch))
            optimizer.step()
            optimizer.zero_grad()
            if begin + len(seen) == end:
                break
    if path is not None and not begin:
        fabric.save(path, state)
    return seen, [one.detach().clone() for one in net.parameters()]


def fabric_runs(rank: int, world: int, kind: str, data: str, folder: str) -> dict[str, Any]:
    """17 steps at once; then 9 and the rest, in another Fabric."""
    many: dict[str, Any] = {"strategy": "ddp", "devices": world} if world > 1 else {"devices": 1}
    whole, weights_whole = fabric_run(kind, data, None, (0, 17), **many)
    first, _ = fabric_run(kind, data, f"{folder}/fabric.ckpt", (0, 9), **many)
    second, weights_second = fabric_run(kind, data, f"{folder}/fabric.ckpt", (9, 17), **many)
    equal = all(map(torch.equal, weights_whole, weights_second))
    return {"whole": whole, "first": first, "second": second, "equal weights": equal}
