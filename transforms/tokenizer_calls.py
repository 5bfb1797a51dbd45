"""Texts, as spans of a buffer, to token ids by the `tokenizers` library."""

from collections.abc import Callable, Iterable, Iterator
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
        made = ((row, self._encode(texts)) for row, texts in blocks(data, starts, stops, at_once=_AT_ONCE))
        return ids_of(made, len(starts))


def blocks(
    data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64], *, at_once: int
) -> Iterator[tuple[int, list[str]]]:
    """(row of the first, texts), some texts after others."""
    raw = data.data
    for start in range(0, len(starts), at_once):
        here = slice(start, start + at_once)
        spans = zip(starts[here].tolist(), stops[here].tolist(), strict=True)
        yield start, [str(raw[first:last], "utf-8") for first, last in spans]


def ids_of(made: Iterable[tuple[int, Any]], rows: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """What `TextEncoder.encode` gives, of what the library gives for blocks of texts."""
    lengths = np.zeros(rows, np.int64)
    parts: list[NDArray[np.int32]] = []
    for row, some in made:
        ids = [one.ids for one in some]
        lengths[row : row + len(ids)] = sizes = [len(one) for one in ids]
        parts.append(np.fromiter(chain.from_iterable(ids), np.int32, sum(sizes)))
    return np.concatenate(parts) if parts else np.zeros(0, np.int32), lengths
