"""The same hooks in Lightning, accelerate and the HF Trainer: the right counts, saved and resumed in mid-epoch."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.accelerate_state import forget_accelerate
from support.resumable_loader import ResumableLoader
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import SpecError, StateError
from forebay.loaders.hooks.attachment import WatchSpec, attach
from forebay.loaders.hooks.ema import Ema
from forebay.loaders.hooks.hf import STATE_FILE, hf_callback
from forebay.loaders.hooks.lightning import lightning_callback
from forebay.loaders.hooks.meter import Meter
from forebay.loaders.hooks.precision import Precision

# The frameworks warn of small models, few workers, and of each other's deprecations.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]


def stock_loader(mapping: bool = False) -> DataLoader[Any]:
    x, y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    rows: Any = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)] if mapping else TensorDataset(x, y)
    return DataLoader(rows, batch_size=2)


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


# Lightning


def lightning_parts() -> Any:
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make_net()
            self.losses: list[float] = []

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(float(loss))
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.05)

    def trainer(folder: Path, callback: Any, **options: Any) -> Any:
        return pl.Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            callbacks=[callback],
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"logger": False, "enable_checkpointing": False, "max_epochs": 1, **options},
        )

    return Module, trainer


def test_lightning_updates_are_counted_under_accumulation_and_figures_logged(tmp_path: Path) -> None:
    make_module, make_trainer = lightning_parts()
    callback = lightning_callback([Meter(), Ema(0.9)], log_every=3)
    trainer = make_trainer(tmp_path, callback, accumulate_grad_batches=2, precision=Precision("bf16").to_lightning())
    trainer.fit(make_module(), stock_loader())
    ctx = callback.run.ctx
    assert (ctx.microbatch, ctx.step, ctx.samples) == (6, 3, 12)
    assert trainer.callback_metrics["forebay/samples_per_second"] > 0
    assert type(trainer.train_dataloader) is DataLoader


def test_lightning_goes_on_in_mid_epoch_with_hooks_and_the_same_losses(tmp_path: Path) -> None:
    make_module, make_trainer = lightning_parts()
    whole, callback = make_module(), lightning_callback([Ema(0.9)])
    make_trainer(tmp_path, callback, max_steps=16, max_epochs=None).fit(whole, ResumableLoader())

    first, before = make_module(), lightning_callback([Ema(0.9)])
    trainer = make_trainer(tmp_path, before, max_steps=8, max_epochs=None, enable_checkpointing=True)
    trainer.fit(first, ResumableLoader())
    trainer.save_checkpoint(tmp_path / "mid.ckpt")
    second, after = make_module(), lightning_callback([Ema(0.9)])
    resumed = make_trainer(tmp_path, after, max_steps=16, max_epochs=None)
    resumed.fit(second, ResumableLoader(), ckpt_path=tmp_path / "mid.ckpt")
    assert first.losses + second.losses == whole.losses
    assert (after.run.ctx.step, after.run.ctx.samples) == (16, 64)
    expected = callback.hooks[0].state_dict()["average"]
    torch.testing.assert_close(after.hooks[0].state_dict()["average"], expected, rtol=0, atol=0)


def test_lightning_errors_reach_the_hooks_and_several_loaders_are_refused(tmp_path: Path) -> None:
    make_module, make_trainer = lightning_parts()
    seen: list[BaseException] = []

    class Sees:
        def on_exception(self, ctx: Any, error: BaseException) -> None:
            seen.append(error)

    module = make_module()
    module.training_step = lambda batch, batch_idx: 1 / 0
    loader = stock_loader()
    with pytest.raises(ZeroDivisionError):
        make_trainer(tmp_path, lightning_callback([Sees()])).fit(module, loader)
    assert [type(error) for error in seen] == [ZeroDivisionError] and type(loader) is DataLoader
    with pytest.raises(SpecError, match=r"the Trainer has 2 train loaders in a dict; call attach"):
        make_trainer(tmp_path, lightning_callback([Meter()])).fit(make_module(), {"a": loader, "b": stock_loader()})


def test_fabric_needs_no_adapter() -> None:
    fabric_package = pytest.importorskip("lightning.fabric")
    fabric = fabric_package.Fabric(accelerator="cpu", devices=1, precision=Precision("bf16").to_lightning())
    net = make_net()
    model, optimizer = fabric.setup(net, torch.optim.AdamW(net.parameters(), lr=0.05))
    loader = fabric.setup_dataloaders(stock_loader())
    with attach(loader, optimizer, hooks=[Meter()]) as run:
        for x, y in loader:
            fabric.backward(F.cross_entropy(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
    assert (run.ctx.microbatch, run.ctx.step, run.ctx.samples) == (6, 6, 12)


# accelerate


def accelerator(**options: Any) -> Any:
    accelerate = pytest.importorskip("accelerate")
    forget_accelerate()
    return accelerate.Accelerator(cpu=True, **options)


def test_accelerate_needs_no_adapter() -> None:
    made = accelerator(gradient_accumulation_steps=4, mixed_precision=Precision("bf16").to_accelerate())
    model = make_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    model, optimizer, loader = made.prepare(model, optimizer, stock_loader())
    with attach(loader, optimizer, hooks=[Meter()]) as run:
        for x, y in loader:
            with made.accumulate(model):
                made.backward(F.cross_entropy(model(x), y))
                optimizer.step()
                optimizer.zero_grad()
    assert (run.ctx.microbatch, run.ctx.step, run.ctx.samples) == (6, 2, 12)


def test_accelerate_fused_steps_that_were_skipped_are_no_updates() -> None:
    """accelerate's own step_was_skipped stays False here (accelerate#4242)."""
    made = accelerator()
    model = make_net()
    inner = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    model, optimizer, loader = made.prepare(model, inner, stock_loader())
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with attach(loader, optimizer, watch=WatchSpec(scaler=scaler)) as run:
        for number, (x, y) in enumerate(loader):
            bad = float("inf") if number == 2 else 1.0
            scaler.scale(F.cross_entropy(model(x), y) * bad).backward()
            scaler.step(inner)
            scaler.update()
            inner.zero_grad()
    assert (run.ctx.step, run.ctx.skipped) == (5, 1)


def test_accelerate_saves_loader_and_hooks_and_goes_on_in_mid_epoch(tmp_path: Path) -> None:
    def train(load: bool, until: int) -> tuple[list[float], Any]:
        made = accelerator()
        model = make_net()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        model, optimizer, loader = made.prepare(model, optimizer, ResumableLoader())
        ema = Ema(0.9)
        losses = []
        with attach(loader, optimizer, hooks=[ema], model=model) as run:
            made.register_for_checkpointing(run)
            if load:
                made.load_state(str(tmp_path / "state"))
            while run.ctx.step < until:
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    made.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    losses.append(float(loss))
                    if run.ctx.step == until:
                        break
            if not load:
                made.save_state(str(tmp_path / "state"))
        return losses, ema.state_dict()["average"]

    whole, average = train(False, 16)
    first, _ = train(False, 8)
    second, average_after = train(True, 16)
    assert first + second == whole
    torch.testing.assert_close(average_after, average, rtol=0, atol=0)


# HF Trainer


def hf_trainer(folder: Path, loader: Any, callback: Any, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    forget_accelerate()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = make_net()
            self.losses: list[float] = []

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
            loss = F.cross_entropy(self.net(x), y)
            self.losses.append(float(loss))
            return {"loss": loss}

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return loader

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        **{"logging_steps": 4, "save_strategy": "no", **options},
    )
    return Trainer(model=Net(), args=arguments, callbacks=[callback], train_dataset=[{"x": 0}])


def test_the_hf_trainer_is_counted_under_accumulation_and_logs_the_figures(tmp_path: Path) -> None:
    callback = hf_callback([Meter()])
    options = {"gradient_accumulation_steps": 2, "num_train_epochs": 1, "logging_steps": 1, **Precision("bf16").to_hf()}
    trainer = hf_trainer(tmp_path, stock_loader(mapping=True), callback, **options)
    trainer.train()
    ctx = callback.run.ctx
    assert (ctx.microbatch, ctx.step, ctx.samples) == (6, 3, 12)
    assert any("forebay_samples_per_second" in line for line in trainer.state.log_history)


def test_the_hf_trainer_goes_on_in_mid_epoch_without_reading_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_steps": 16, "ignore_data_skip": True}
    whole = hf_trainer(tmp_path / "whole", ResumableLoader(mapping=True), hf_callback([Ema(0.9)]), **options)
    whole.train()
    saving = {**options, "max_steps": 8, "save_strategy": "steps", "save_steps": 8}
    first = hf_trainer(tmp_path / "run", ResumableLoader(mapping=True), hf_callback([Ema(0.9)]), **saving)
    first.train()
    loader, callback = ResumableLoader(mapping=True), hf_callback([Ema(0.9)])
    second = hf_trainer(tmp_path / "run", loader, callback, **options)
    second.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert first.model.losses + second.model.losses == whole.model.losses
    assert (callback.run.ctx.step, callback.run.ctx.microbatch) == (16, 16)

    (tmp_path / "run" / "checkpoint-8" / STATE_FILE).unlink()
    lost = hf_trainer(tmp_path / "run", ResumableLoader(mapping=True), hf_callback([Ema(0.9)]), **options)
    with pytest.raises(StateError, match=r"resumes at step 8, but .*checkpoint-8 has no forebay_state.pt"):
        lost.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))


def test_adapters_refuse_what_is_no_hook() -> None:
    for make in (lightning_callback, hf_callback):
        with pytest.raises(SpecError, match="hook object has no event method"):
            make([object()])
