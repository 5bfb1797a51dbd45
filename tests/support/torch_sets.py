"""torch data sets for tests; in a module of their own, so that spawned workers find them."""

import os
import signal
import time
from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

Point = namedtuple("Point", ["x", "y"])


class Pinnable:
    """A batch type of the user's own."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pinnable) and torch.equal(self.value, other.value)


class Numbers(Dataset[Any]):
    """Rows that draw from all three global generators, so that a difference in seeding shows."""

    def __init__(self, rows: int = 23) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        import random

        return {
            "index": index,
            "torch": torch.rand(3),
            "numpy": np.random.default_rng(np.random.randint(1 << 30)).random(2),
            "python": random.random(),
            "text": f"row {index}",
            "point": Point(torch.tensor([float(index)]), index),
            "pair": (index, [torch.tensor(index), np.float32(index)]),
        }


class Whole(Dataset[Any]):
    """Gives whole batches by `__getitems__`."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> int:
        raise AssertionError("torch prefers __getitems__")

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [torch.tensor([index, index * index]) for index in indices]


class Stream(IterableDataset[Any]):
    """Rows of a worker: its number times 100, and on."""

    def __init__(self, rows: int = 5) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        info = get_worker_info()
        base = 0 if info is None else info.id * 100
        return iter([torch.tensor([base + at]) for at in range(self.rows + base // 100)])


class Sized(Stream):
    """A stream that says how long it is, and may be wrong."""

    def __init__(self, rows: int, said: int) -> None:
        super().__init__(rows)
        self.said = said

    def __len__(self) -> int:
        return self.said


class CannotBeMade(Exception):
    """Takes more than a text, so that it cannot be made again from one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Failing(Dataset[Any]):
    """One row fails."""

    def __init__(self, kind: str, at: int = 4, rows: int = 12) -> None:
        self.kind, self.at, self.rows = kind, at, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> int:
        if index == self.at:
            if self.kind == "key":
                raise KeyError("a\nmissing key")
            if self.kind == "value":
                raise ValueError("a bad row")
            if self.kind == "unmakeable":
                raise CannotBeMade(3, "a code and a text")
            if self.kind == "stop":
                raise StopIteration
            if self.kind == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.kind == "sleep":
                time.sleep(60)
        return index


class Images(Dataset[Any]):
    """Arrays of a size of one's choice: large ones travel in slots."""

    def __init__(self, rows: int, shape: tuple[int, ...] = (3, 64, 64), *, grow: bool = False) -> None:
        self.rows, self.shape, self.grow = rows, shape, grow

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        shape = self.shape
        if self.grow:
            shape = (self.shape[0] * (1 + index // 8), *self.shape[1:])
        return np.full(shape, index, np.float32), index


def keep(batch: list[Any]) -> list[Any]:
    """A collate function that leaves rows alone."""
    return batch


def columns(batch: list[tuple[Any, Any]]) -> tuple[list[Any], tuple[Any, ...]]:
    """A collate function that gives lists, as those for detection do."""
    images, labels = zip(*batch, strict=True)
    return list(images), labels


def wrapped(batch: list[Any]) -> Pinnable:
    """A collate function that makes a type of the user's own."""
    return Pinnable(torch.stack([torch.as_tensor(row["index"]) for row in batch]))


def views(batch: list[Any]) -> dict[str, Any]:
    """Overlapping and odd tensors: views of one memory, a transposed one, an empty one, a scalar, bfloat16, a sparse one."""
    base = torch.arange(20_000, dtype=torch.float32) + float(batch[0]["index"])
    return {
        "whole": base,
        "part": base[100:8_000],
        "turned": base.view(100, 200).t(),
        "strided": base[::7],
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(4.0),
        "half": base.to(torch.bfloat16),
        "sparse": torch.eye(5).to_sparse(),
        "array": np.arange(5_000, dtype=np.int16),
        "frozen": torch.ones(3, requires_grad=True),
    }


def no_seed(worker: int) -> None:
    """A worker_init_fn that changes the worker's copy of the data set."""
    info = get_worker_info()
    assert info is not None
    info.dataset.rows = 7


def failing_start(worker: int) -> None:
    """A worker_init_fn that fails."""
    raise RuntimeError(f"worker {worker} does not start")
