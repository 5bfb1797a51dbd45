"""Texts, as spans of a buffer, to token ids by the `tokenizers` library."""

from collections.abc import Callable
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 32
"""Texts encoded in one call: the library's results take about a hundred bytes a token until they are turned into ids."""

Encode = Callable[[list[str]], list[Any]]
"""The library's call for a batch of texts, each of which gives something with `ids`."""


class TextEncoder(Protocol):
    """Makes ids of texts. Thread-safe."""

    def encode(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(ids of all texts behind one another, (N,) how many each has); text i is `data[starts[i]:stops[i]]`, UTF-8."""


class LibraryCalls:
    """Each text by the library, which takes one Python text a row."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def encode(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        lengths = np.zeros(len(starts), np.int64)
        parts: list[NDArray[np.int32]] = []
        raw = data.data
        for start in range(0, len(starts), _AT_ONCE):
            here = slice(start, start + _AT_ONCE)
            spans = zip(starts[here].tolist(), stops[here].tolist(), strict=True)
            ids = [one.ids for one in self._encode([str(raw[first:last], "utf-8") for first, last in spans])]
            lengths[here] = sizes = [len(one) for one in ids]
            parts.append(np.fromiter(chain.from_iterable(ids), np.int32, sum(sizes)))
        return np.concatenate(parts) if parts else np.zeros(0, np.int32), lengths
