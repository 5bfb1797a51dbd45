"""Iterable data sets that kill, or hang, their worker at given rows; importable by workers."""

import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from support.drawing_samples import FatalSamples
from support.stateful_sets import Remembering
from torch.utils.data import IterableDataset, get_worker_info


def drawn() -> list[float]:
    """A number from each of the three generators."""
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


class Fatal(IterableDataset[Any]):
    """What all of them share: rows dealt to workers, those of the second fewer; where they die."""

    def __init__(self, rows: int, fatal: Any = (), marker: Any = None, how: str = "kill") -> None:
        self.rows, self.fatal = rows, FatalSamples(rows, fatal, marker, how)

    def mine(self) -> list[int]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return list(range(first, self.rows - 10 * first, step))

    def row(self, index: int) -> tuple[int, torch.Tensor, Any]:
        self.fatal[index]
        return index, torch.tensor(drawn(), dtype=torch.float64), np.full(3000, index, np.float32)


class PlainStream(Fatal):
    """Without a state; in an order that is drawn when it is iterated."""

    def __iter__(self) -> Iterator[Any]:
        rows = self.mine()
        for at in torch.randperm(len(rows)).tolist():
            yield self.row(rows[at])


class EarlyStream(Fatal):
    """Without a state; draws when it is iterated, and not when its first row is asked for."""

    def __iter__(self) -> Iterator[Any]:
        rows = self.mine()
        random.shuffle(rows)
        return map(self.row, rows)


class FailingStream(Fatal):
    """Raises at some rows, and goes on behind them."""

    def __iter__(self) -> Any:
        return self.Iterator(self)

    class Iterator:
        def __init__(self, of: "FailingStream") -> None:
            self.of, self.rows = of, iter(of.mine())

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            row = next(self.rows)
            if row % 31 == 30:
                raise ValueError(f"row {row} is bad")
            return self.of.row(row)


class PlacedStream(Fatal):
    """Its iterator has a state."""

    def __iter__(self) -> Any:
        return self.Iterator(self)

    class Iterator:
        def __init__(self, of: "PlacedStream") -> None:
            self.of, self.rows, self.at = of, of.mine(), 0
            self.shift = random.randrange(100)

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            if self.at >= len(self.rows):
                raise StopIteration
            self.at += 1
            return (*self.of.row(self.rows[self.at - 1]), self.shift)

        def state_dict(self) -> dict[str, Any]:
            return {"at": self.at, "shift": self.shift}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.at, self.shift = state["at"], state["shift"]


class OwnStream(Fatal):
    """It has the state itself, is its own iterator, and begins again when it has ended; passes are numbered."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.at, self.passes = 0, 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        rows = self.mine()
        if self.at >= len(rows):
            self.at, self.passes = 0, self.passes + 1
            raise StopIteration
        self.at += 1
        return (*self.row(rows[self.at - 1]), self.passes)

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at, "passes": self.passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at, self.passes = state["at"], state["passes"]


class ShorterStream(Fatal):
    """Gives fewer rows each time it is iterated in a new process: nobody can go on with it."""

    def __init__(self, rows: int, fatal: Any, marker: Any) -> None:
        super().__init__(rows, fatal, marker)
        self.marker = marker

    def __iter__(self) -> Iterator[Any]:
        import os

        return map(self.row, range(self.rows if not os.listdir(self.marker) else 10))


class CountingSamples(Remembering):
    """Map-style, and its rows depend on how many were taken before."""

    def __init__(self, rows: int, fatal: Any = (), marker: Any = None) -> None:
        super().__init__(rows)
        self.fatal = FatalSamples(rows, fatal, marker)

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.fatal[index]
        return super().__getitem__(index)


class FatalBeginning(EarlyStream):
    """Kills its worker when it is iterated for the second time."""

    def __init__(self, rows: int, fatal: Any, marker: Any) -> None:
        super().__init__(rows)
        self.begun, self.beginnings = 0, FatalSamples(2, (0, 1), marker)

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        if self.begun == 2:
            info = get_worker_info()
            self.beginnings[0 if info is None else info.id]
        return super().__iter__()


class UnevenStream(Fatal):
    """One row is a tensor, the others are numbers, which travel with their message."""

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.rows):
            if index in self.fatal.fatal:
                time.sleep(0.5)  # what came before is on its way
            self.fatal[index]
            yield torch.full((300_000,), index) if index == 4 else index
