"""Train a classifier of handwritten digits that will run with 4-bit weights, and compare three ways to get there.

    python examples/images_qat/train.py            # about half a minute on a CPU
    python examples/images_qat/train.py --quick    # seconds

Data: the 1797 scanned digits that scikit-learn carries (8x8 grey images). uint8 pixels go into the batch; they become
normalized floats in the device transform, cropped and blended there. See the README beside this file for a GPU.
"""

import argparse
import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from forebay import hooks as H

MEAN, STD = (0.306,), (0.377,)  # of the training half
RECIPE = H.Qat("int4_dynamic", group_size=32, skip=("head",))


class Classifier(nn.Module):
    """Two convolutions, then three Linear layers: those are quantized, save the last."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.head(self.body(self.convolutions(x)))
        return features


def read_digits() -> tuple[TensorDataset, ...]:
    """Training and test half: (row number, uint8 image (1, 8, 8), digit)."""
    digits = load_digits()
    images = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    rows = torch.arange(len(labels))
    test = rows % 2 == 0
    return tuple(TensorDataset(rows[part], images[part], labels[part]) for part in (~test, test))


def train(model: nn.Module, rows: TensorDataset, *, epochs: int, device: torch.device) -> None:
    """Train in place, with the hooks watching."""
    loader: Any = DataLoader(rows, batch_size=64, shuffle=True, pin_memory=device.type == "cuda")
    augment = H.DeviceTransform(
        H.Widen(MEAN, STD, name=1),
        H.RandomCrop((8, 8), padding=1, name=1),
        H.MixUp(classes=10, alpha=0.2, name=1, label=2),
        ids=0,
    )
    batches = H.DevicePrefetch(loader, device, transform=augment)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    step = H.TrainStep(model, optimizer, spec=H.StepSpec(precision=H.Precision("bf16"), clip_norm=1.0))
    meter = H.Meter(sinks=[H.ConsoleSink()], every=steps)
    with H.attach(batches, optimizer, hooks=[meter, H.GcControl()], model=model):
        for epoch in range(epochs):
            augment.set_epoch(epoch)
            for batch in step.over(batches):
                if step(batch, lambda model, b: F.cross_entropy(model(b[1]), b[2])).updated:
                    schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, rows: TensorDataset, *, device: torch.device) -> float:
    """Share of the rows that is classified rightly."""
    model.eval()
    widen = H.DeviceTransform(H.Widen(MEAN, STD, name=1))
    _, images, labels = widen([tensor.to(device) for tensor in rows.tensors])
    right = model(images).argmax(1) == labels
    model.train()
    return float(right.float().mean())


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run the comparison; returns the test accuracies."""
    parser = argparse.ArgumentParser(description="Digits with 4-bit weights: afterwards, or trained for it.")
    parser.add_argument("--quick", action="store_true", help="few epochs")
    epochs = 2 if parser.parse_args(arguments).quick else 40
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_rows, test_rows = read_digits()
    torch.manual_seed(0)

    floats = Classifier().to(device)
    train(floats, train_rows, epochs=epochs, device=device)
    found = {"float32": accuracy(floats, test_rows, device=device)}

    rounded = H.finalize_model(copy.deepcopy(floats), H.PostTraining("int4_dynamic", group_size=32, skip=("head",)))
    found["int4 afterwards"] = accuracy(rounded, test_rows, device=device)

    aware = H.prepare_model(copy.deepcopy(floats), RECIPE)
    train(aware, train_rows, epochs=max(1, epochs // 4), device=device)
    imitated = accuracy(aware, test_rows, device=device)
    aware = H.finalize_model(aware, RECIPE)
    found["int4, trained for it"] = accuracy(aware, test_rows, device=device)
    assert found["int4, trained for it"] == imitated, "conversion is exact"

    for name, share in found.items():
        print(f"{name:<22}{share:.1%} of {len(test_rows)} test digits right")
    return found


if __name__ == "__main__":
    main()
