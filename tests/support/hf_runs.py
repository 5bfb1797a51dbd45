"""Training with the HF Trainer, on one rank or several."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from support.accelerate_state import forget_accelerate
from support.framework_data import BATCH, Rows, make_net
from torch import nn

import forebay as fb
from forebay import frameworks, hooks


class Net(nn.Module):
    """Keeps the rows of each batch it sees in training."""

    def __init__(self) -> None:
        super().__init__()
        self.net = make_net()
        self.seen: list[list[int]] = []
        self.drawn: list[float] = []

    def forward(self, row: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            self.seen.append(row.tolist())
            self.drawn.append(torch.rand(()).item())  # like a dropout: the Trainer restores the generator
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, y), "logits": logits}


class Trainer(frameworks.HFLoaders, transformers.Trainer):  # type: ignore[misc]  # the library is not typed here
    """The real Trainer, with forebay's loaders."""


class OwnLoaderTrainer(Trainer):
    """With a loader of the user's own making."""

    def get_train_dataloader(self) -> Any:
        return fb.DataLoader(self.train_dataset, batch_size=BATCH, shuffle=True, seed=9, num_workers=1)


class DeterministicTrainer(Trainer):
    """With a deterministic loader over the torch data set."""

    def get_train_dataloader(self) -> Any:
        return fb.DataLoader(Rows(), batch_size=BATCH, shuffle=True, seed=9, deterministic=True)


CLASSES = {"own": OwnLoaderTrainer, "deterministic": DeterministicTrainer}


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([torch.as_tensor(one[name]) for one in rows]) for name in rows[0]}


def make_trainer(kind: str, data: str, folder: str | Path, steps: int, **options: Any) -> Any:
    forget_accelerate()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        label_names=["y"],
        max_steps=steps,
        dataloader_num_workers=2 if kind == "workers" else 0,
        **{"save_strategy": "no", "seed": 5, "logging_strategy": "no", **options},
    )
    dataset: Any = fb.scan(data) if kind in ("feed", "own") else Rows()
    sets = {"train_dataset": dataset, "eval_dataset": dataset, "data_collator": collate}
    callbacks = [hooks.hf_callback([])] if arguments.ignore_data_skip else []
    return CLASSES.get(kind, Trainer)(model=Net(), args=arguments, callbacks=callbacks, **sets)


def train(kind: str, data: str, folder: str | Path, steps: int, **options: Any) -> Any:
    """The trainer after `steps` updates in all."""
    checkpoint = options.pop("resume_from", None)
    trainer = make_trainer(kind, data, folder, steps, **options)
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


def stopped_and_resumed(
    rank: int, world: int, kind: str, data: str, folder: str, stop: int, end: int, **options: Any
) -> dict[str, Any]:
    """All updates at once; then `stop` of them and the rest with new objects."""
    whole = train(kind, data, f"{folder}/whole", end, **options)
    first = train(kind, data, f"{folder}/{stop}", stop, save_strategy="steps", save_steps=stop, **options)
    second = train(kind, data, f"{folder}/{stop}", end, resume_from=f"{folder}/{stop}/checkpoint-{stop}", **options)
    weights = [list(one.model.parameters()) for one in (whole, second)]
    return {
        "whole": whole.model.seen,
        "rows": first.model.seen + second.model.seen,
        "draws": first.model.drawn + second.model.drawn == whole.model.drawn,
        "weights": all(map(torch.equal, *weights)),
    }


def evaluated(rank: int, world: int, kind: str, data: str, folder: str) -> float:
    """The evaluation's loss, of all rows."""
    return float(make_trainer(kind, data, folder, 1).evaluate()["eval_loss"])
