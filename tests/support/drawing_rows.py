"""Data sets whose samples are drawn, and a stream that knows where it is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


class DrawnRows(Dataset[dict[str, Any]]):
    """Rows with a number from NumPy's global generator, as augmentations draw them."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"row": index, "x": torch.zeros(4), "y": 0, "drawn": np.random.random()}


class StatefulStream(IterableDataset[int]):
    """Numbers, split among the workers; goes on where its state says."""

    def __init__(self, count: int) -> None:
        self.count, self.at = count, 0

    def __iter__(self) -> Iterator[int]:
        worker = get_worker_info()
        mine = range(self.count)[worker.id :: worker.num_workers] if worker else range(self.count)
        while self.at < len(mine):
            self.at += 1
            yield mine[self.at - 1]
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]
