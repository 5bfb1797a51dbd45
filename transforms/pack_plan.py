"""Which piece of a document stands where. A plan is an array of P pieces: first token, how many, row, place in it, segment."""

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels

_pack = kernels("pack")


def concat(lengths: NDArray[np.int64], size: int, *, stop: int) -> NDArray[np.int64]:
    """(P, 5) pieces of documents that follow one another, cut where rows of `size` end; those before token `stop`."""
    starts = np.cumsum(lengths) - lengths
    bounds = np.union1d(starts[starts < stop], np.arange(0, stop, size))
    pieces = np.diff(np.append(bounds, stop))
    rows = bounds // size
    return np.stack([bounds, pieces, rows, bounds % size, _rank_in(rows)], 1)


def best_fit(lengths: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """(P, 5) pieces of whole documents, those longer than a row cut into full rows and a rest.

    Best-fit decreasing; rows come in the order of their first pieces, pieces of a row in that of the documents.
    """
    starts, pieces = _cut(lengths, size)
    order = np.argsort(-pieces, kind="stable")
    row_of = np.empty(len(pieces), np.int64)
    placed = np.empty(len(pieces), np.int64)
    head, bits = np.full(size + 1, -1, np.int64), np.zeros((size >> 6) + 1, np.uint64)
    _pack.best_fit_into(np.ascontiguousarray(pieces[order]), head, np.empty(len(pieces), np.int64), bits, placed)
    row_of[order] = placed
    _, first = np.unique(row_of, return_index=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    rows = rank[row_of]
    at = np.argsort(rows, kind="stable")
    starts, pieces, rows = starts[at], pieces[at], rows[at]
    before = np.cumsum(pieces) - pieces
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    places = before - np.repeat(before[begins], np.diff(np.append(begins, len(rows))))
    return np.stack([starts, pieces, rows, places, _rank_in(rows)], 1)


def _cut(lengths: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first tokens, lengths) of pieces of at most `size`."""
    counts = -(-lengths // size)
    number = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(np.cumsum(lengths) - lengths, counts) + number * size
    return starts, np.minimum(np.repeat(lengths, counts) - number * size, size)


def _rank_in(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """From 1: which of its row's pieces each is; `rows` ascends."""
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.arange(len(rows)) - np.repeat(begins, np.diff(np.append(begins, len(rows)))) + 1
