"""Texts to packed batches by hand: what users of loaders that only move samples write around a tokenizer."""

from itertools import chain
from typing import Any

import numpy as np
import torch

from forebay.bench.workloads.ragged_text import texts, tokenizer


class Documents:
    """Random access to texts, as a map-style data set: (number, text)."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._texts: Any = None
        self._count = len(texts(data))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[int, str]:
        if self._texts is None:  # in each worker: a memory map does not travel
            self._texts = texts(self._data)
        return int(index), self._texts[int(index)].as_py()


class Pack:
    """A list of (number, text) to the batch, as a collate function; travels to processes."""

    def __init__(self, data: Any, *, parallel: bool) -> None:
        self._data, self._parallel = data, parallel
        self._tokenizer: Any = None

    def __call__(self, rows: list[tuple[int, str]]) -> Any:
        if self._tokenizer is None:
            self._tokenizer = tokenizer(self._data, parallel=self._parallel)
        encoded = self._tokenizer.encode_batch_fast([text for _, text in rows])
        return packed([one.ids for one in encoded], [number for number, _ in rows])


def packed(tokens: list[list[int]], numbers: list[int]) -> Any:
    """The batch of documents whose tokens are given."""
    ends = np.zeros(len(tokens) + 1, np.int32)
    np.cumsum([len(one) for one in tokens], out=ends[1:])
    ids = np.fromiter(chain.from_iterable(tokens), np.int64, int(ends[-1]))
    labels, starts = ids.copy(), ends[:-1]
    labels[starts] = -100
    positions = np.arange(len(ids)) - np.repeat(starts, np.diff(ends))
    made = (ids[None], labels[None], positions[None], ends, np.array(numbers, np.int64))
    return tuple(torch.from_numpy(one) for one in made)
