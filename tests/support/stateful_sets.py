"""torch data sets, iterators and samplers that have a state of their own; importable by workers."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info


class Counting(Dataset[Any]):
    """A map-style data set without a state."""

    def __init__(self, rows: int = 40) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> int:
        return index


class Remembering(Counting):
    """A map-style data set whose rows depend on how many were taken before."""

    def __init__(self, rows: int = 40) -> None:
        super().__init__(rows)
        self.taken = 0

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.taken += 1
        return index, self.taken

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.taken = state["taken"]


class Plain(IterableDataset[Any]):
    """A stream without a state, dealt to workers; workers have unequal parts."""

    def __init__(self, rows: int = 40) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.rows - 10 * first, step))


class Place:
    """An iterator that knows where it is."""

    def __init__(self, rows: list[int]) -> None:
        self.rows, self.at = rows, 0

    def __iter__(self) -> "Place":
        return self

    def __next__(self) -> tuple[int, float]:
        if self.at >= len(self.rows):
            raise StopIteration
        self.at += 1
        return self.rows[self.at - 1], float(torch.rand(()))

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at, "random": torch.get_rng_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]
        torch.set_rng_state(state["random"])


class WithPlaces(Plain):
    """A stream whose iterator has a state."""

    def __iter__(self) -> Any:
        return Place(list(super().__iter__()))


class Own(Plain):
    """A stream that has the state itself, and is its own iterator."""

    def __init__(self, rows: int = 40) -> None:
        super().__init__(rows)
        self.at = 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> int:
        if self.at >= self.rows:
            self.at = 0
            raise StopIteration
        info = get_worker_info()
        self.at += 1
        return self.at - 1 + (0 if info is None else 1000 * info.id)

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class Backwards(Sampler[int]):
    """A sampler whose iterator has a state."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Any:
        return BackwardsIterator(self.rows)


class BackwardsIterator:
    def __init__(self, rows: int) -> None:
        self.left = rows

    def __iter__(self) -> "BackwardsIterator":
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left

    def state_dict(self) -> dict[str, Any]:
        return {"left": self.left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.left = state["left"]
