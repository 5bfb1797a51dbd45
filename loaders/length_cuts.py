"""How the rows of a round become batches of about the same length: lane by lane, or from all lanes together."""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forebay.engine.order import permute
from forebay.loaders.by_length import ByLength
from forebay.transforms.compiled import kernels

_ragged = kernels("ragged")

Ints = NDArray[np.int64]

MOST_STEPS = 1.25
"""How many times the batches that a round needs it may have for the sake of lanes, before it is cut from all lanes together."""


class Cut(NamedTuple):
    """The batches of a round."""

    batches: list[Ints]
    """Positions of each."""
    by_lanes: bool
    """Whether batch b is of lane b % lanes, wholly."""


class Round(NamedTuple):
    """Rows that are cut at a time."""

    positions: Ints
    """(n,) the first is a multiple of the number of lanes, and they follow one another."""
    lengths: Ints
    """(n,)"""
    last: bool
    """Whether it is the last of the epoch."""


class Cutter(NamedTuple):
    """Cuts rounds."""

    by: ByLength
    batch_size: int
    lanes: int

    def cut(self, round_: Round, key: Callable[[int], int] | None) -> Cut:
        """The batches of a round, in permuted order. `key` gives keys for that, other ones for other lanes; None: not permuted.

        By lanes, each has as many batches as the one that needs the most; in the others the largest batches are halved. Rows
        are taken from all lanes together where that would make many more batches than are needed, because the lengths in
        one lane are so different, or where a lane has too few rows. Then, but for the last round, batches are halved until they
        are a multiple of the lanes, so that the next round begins with lane 0 again.
        """
        if self.lanes > 1:
            each = [
                self._batches(round_.positions[one :: self.lanes], round_.lengths[one :: self.lanes])
                for one in range(self.lanes)
            ]
            most, needed = max(map(len, each)), sum(map(len, each))
            few = most * self.lanes <= MOST_STEPS * needed or round_.last
            if few and most <= len(round_.positions) // self.lanes:
                each = [_permuted(_halved(one, most), key, lane) for lane, one in enumerate(each)]
                return Cut([each[lane][nth] for nth in range(most) for lane in range(self.lanes)], True)
        batches = self._batches(round_.positions, round_.lengths)
        if not round_.last:
            batches = _halved(batches, -(-len(batches) // self.lanes) * self.lanes)
        return Cut(_permuted(batches, key, 0), False)

    def _batches(self, positions: Ints, lengths: Ints) -> list[Ints]:
        """Rows sorted by length and cut."""
        by_length = np.argsort(lengths, kind="stable")
        if self.by.tokens is None:
            ends = np.arange(self.batch_size, len(positions), self.batch_size)
        else:
            found, made = np.zeros(len(positions), np.int64), np.zeros(1, np.int64)
            most = self.batch_size if self.batch_size > 1 else len(positions)
            _ragged.budget_into(lengths[by_length], self.by.tokens, self.by.padded, most, found, made)
            ends = found[: max(int(made[0]) - 1, 0)]
        return np.split(positions[by_length], ends) if len(positions) else []


def _halved(batches: list[Ints], count: int) -> list[Ints]:
    """`count` batches: the one with the most rows is halved, again and again."""
    if len(batches) == count:
        return batches
    heap = [(-len(one), number, one) for number, one in enumerate(batches)]
    heapq.heapify(heap)
    for number in range(len(batches), count):
        _, place, largest = heap[0]
        middle = len(largest) // 2
        heapq.heapreplace(heap, (middle - len(largest), place, largest[middle:]))
        heapq.heappush(heap, (-middle, number, largest[:middle]))
    return [one for _, _, one in sorted(heap, key=lambda entry: entry[1])]


def _permuted(batches: list[Ints], key: Callable[[int], int] | None, lane: int) -> list[Ints]:
    # rows of equal length stay in the order's own, which is random already; the batches' order is not
    if key is None:
        return batches
    return [batches[at] for at in permute(len(batches), key(lane), np.arange(len(batches))).tolist()]
