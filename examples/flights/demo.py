"""The demo: flights are cleaned, written as shards, verified, loaded and trained on. `make demo` runs it.

On a GPU nothing changes but the line that moves the model: batches then lie in pinned memory, and `.to("cuda",
non_blocking=True)` on a batch overlaps with the step before.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import torch
from data import write_flights

import forebay as fb

HERE = Path(__file__).parent
NUMBERS = ("month", "day", "dep_time", "dep_delay", "distance", "air_time")
CATEGORIES = {"carrier": 24, "origin": 8, "dest": 128}
BATCH = 4096


class DelayModel(torch.nn.Module):
    """Embeddings of the categories beside the numbers, and two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = torch.nn.ModuleDict({name: torch.nn.Embedding(size, 8) for name, size in CATEGORIES.items()})
        width = len(NUMBERS) + 8 * len(CATEGORIES)
        self.layers = torch.nn.Sequential(torch.nn.Linear(width, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        numbers = torch.stack([batch[name].float() for name in NUMBERS], dim=1)
        vectors = [self.embeddings[name](batch[name]) for name in CATEGORIES]
        return self.layers(torch.cat([numbers, *vectors], dim=1)).squeeze(1)


def prepare(raw: Path, prepared: Path) -> None:
    """What a user types at a shell."""
    command = [sys.executable, "-m", "forebay"]
    recipe = str(HERE / "recipe.yaml")
    subprocess.run([*command, "prep", recipe, "--input", str(raw), "--output", str(prepared)], check=True)
    subprocess.run([*command, "verify", str(prepared)], check=True)


def train(dataset: fb.Dataset, epochs: int) -> list[float]:
    """Train; the mean loss of each epoch."""
    torch.manual_seed(0)
    model = DelayModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loader = fb.DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=2, seed=0)
    losses = []
    for epoch in range(epochs):
        total, seen = 0.0, 0
        for batch in loader:
            loss = torch.nn.functional.mse_loss(model(batch), batch["arr_delay"].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch["arr_delay"])
            seen += len(batch["arr_delay"])
        losses.append(total / seen)
        print(f"epoch {epoch}: loss {losses[-1]:.4f} over {seen:,} flights (1.0 is guessing the mean)", flush=True)
    return losses


def rows_per_second(loader: Iterable[dict[str, torch.Tensor]], rows: int) -> tuple[float, float]:
    """(rows a second of wall time, rows a second of this process's CPU time) of loading `rows` rows."""
    wall, cpu, seen = time.perf_counter(), time.process_time(), 0
    for batch in loader:
        seen += len(batch["arr_delay"])
        if seen >= rows:
            break
    return seen / (time.perf_counter() - wall), seen / (time.process_time() - cpu)


def compare(dataset: fb.Dataset, turns: int = 3) -> None:
    """Loading by forebay and by the stock torch loader over the same Dataset, by turns."""
    ours = fb.DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=2)
    # The stock loader takes rows one by one in an order of its own. Shuffled, each batch would touch every row group, so
    # it gets the order that suits it, and fewer rows, since it needs longer.
    stock = torch.utils.data.DataLoader(dataset, batch_size=BATCH)
    dataset[0]
    found: dict[str, list[tuple[float, float]]] = {"forebay": [], "stock torch": []}
    for _ in range(turns):
        found["forebay"].append(rows_per_second(ours, len(dataset)))
        found["stock torch"].append(rows_per_second(stock, 8 * BATCH))
    for name, runs in found.items():
        walls = [wall for wall, _ in runs]
        print(
            f"loading by {name:<12} {median(walls):>12,.0f} rows/s (of {turns}: {min(walls):,.0f} to {max(walls):,.0f}), "
            f"{median(cpu for _, cpu in runs):>12,.0f} rows per CPU second"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("demo"), help="where data is put")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="go on from shards that are there")
    options = parser.parse_args()
    raw = write_flights(options.directory / "raw")
    prepared = options.directory / "prepared"
    if not options.keep:
        shutil.rmtree(prepared, ignore_errors=True)
    print(f"== prepare {raw}", flush=True)
    prepare(raw, prepared)
    dataset = fb.scan(str(prepared))
    print(f"== load {len(dataset):,} rows in batches of {BATCH:,}", flush=True)
    compare(dataset)
    print("== train", flush=True)
    losses = train(dataset, options.epochs)
    if not losses[-1] < losses[0]:
        raise SystemExit("the loss did not go down")


if __name__ == "__main__":
    main()
