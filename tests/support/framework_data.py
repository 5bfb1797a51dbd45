"""What the tests of the frameworks train on: the same few rows as a torch data set and as a forebay one.

A batch is a dict of `row` (the row's own number), `x` (4 floats) and `y` (one of 3 classes).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DistributedSampler

import forebay as fb

ROWS = 52
ONE_RANK = {"num_replicas": 1, "rank": 0}
BATCH = 4
"""Rows of a batch on one rank: 13 steps on one, 7 on two, of which the last gets 2 rows a rank."""


def columns() -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]:
    generator = np.random.default_rng(11)
    return generator.standard_normal((ROWS, 4)).astype(np.float32), generator.integers(0, 3, ROWS)


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The torch data set."""

    def __init__(self) -> None:
        self.x, self.y = columns()

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"row": index, "x": torch.from_numpy(self.x[index]), "y": int(self.y[index])}


def write_rows(folder: Path) -> str:
    """The forebay data set: two Arrow files."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = columns()
    half = ROWS // 2
    for number, part in enumerate((slice(0, half), slice(half, ROWS))):
        table = pa.table(
            {"row": np.arange(ROWS)[part], "x": pa.FixedShapeTensorArray.from_numpy_ndarray(x[part]), "y": y[part]}
        )
        feather.write_feather(table, folder / f"{number}.arrow", compression="uncompressed")
    return str(folder)


def make_loader(kind: str, folder: str, **options: Any) -> fb.DataLoader:
    """A shuffling loader: over the torch data set ("torch"), over it with two workers ("workers"), a distributed sampler
    ("sampler") or `deterministic=True` ("deterministic"), or over the forebay data set ("feed")."""
    options = {"batch_size": BATCH, "shuffle": True, **options}
    if kind == "feed":
        return fb.DataLoader(fb.scan(folder), **{"seed": 3, **options})
    rows = Rows()
    if kind == "deterministic":
        return fb.DataLoader(rows, deterministic=True, **{"seed": 3, **options})
    if kind == "sampler":
        options |= {
            "shuffle": None,
            "sampler": DistributedSampler(rows, **(options.pop("ranks", None) or ONE_RANK), seed=3),
        }
    else:
        options.setdefault("generator", torch.Generator().manual_seed(3))
    return fb.DataLoader(rows, **{"num_workers": 2 if kind == "workers" else 0, **options})


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def loss_of(net: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.cross_entropy(net(batch["x"]), batch["y"])


def rows_in(batch: dict[str, torch.Tensor]) -> list[int]:
    return batch["row"].tolist()
