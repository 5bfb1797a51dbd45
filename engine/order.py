"""The order of rows: a pure function of (seed, epoch, position). No list, no state, any position at once."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forebay.formats.errors import SpecError

Shuffle = Literal["none", "global", "window"]

_ROUNDS = 6
"""Four rounds of a Feistel network make a pseudorandom permutation (Luby and Rackoff, 1988); two more for the weak mixer."""

_U64 = np.uint64


def permute(n: int, key: int, positions: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where a keyed permutation of range(n) sends `positions`.

    A Feistel network over the least even number of bits that holds n, walked on along its cycle until it lands below n
    (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): at most four times the work on average.

    Args:
        n: size of the range, up to 2^62.
        key: 64 bits.
        positions: (N,) integers in [0, n).

    Returns:
        (N,) int64, different for different positions.
    """
    if n <= 1:
        return np.zeros(len(positions), np.int64)
    half = _U64(((n - 1).bit_length() + 1) // 2)
    mask = _U64((1 << int(half)) - 1)
    keys = _round_keys(key)
    found = _network(positions.astype(np.uint64), half, mask, keys)
    outside = np.flatnonzero(found >= _U64(n))
    while len(outside):
        found[outside] = _network(found[outside], half, mask, keys)
        outside = outside[found[outside] >= _U64(n)]
    return found.astype(np.int64)


def mix_key(*parts: int) -> int:
    """One 64-bit key from several numbers (splitmix64 steps; Steele, Lea and Flood, 2014)."""
    state = 0
    for part in parts:
        state = int(_mix(np.array([(state + part + 0x9E3779B97F4A7C15) & (2**64 - 1)], np.uint64))[0])
    return state


@dataclass(frozen=True, slots=True)
class WindowOrder:
    """Fragments in permuted order, cut into windows of neighbours there; rows permuted within each window.

    For data that is read a fragment at a time: only one window's fragments are in memory, and every row of it is as likely
    in each of the window's places.
    """

    fragments: NDArray[np.int64]
    """(F,) fragment ordinals in the order they are read."""
    starts: NDArray[np.int64]
    """(W + 1,) position of the first row of each window, and the number of rows."""
    firsts: NDArray[np.int64]
    """(W + 1,) place in `fragments` of the first of each window, and F."""
    key: int
    shuffled: bool

    def window_at(self, position: int) -> int:
        """The window that holds a position."""
        return int(np.searchsorted(self.starts, position, side="right")) - 1

    def rows(self, window: int) -> NDArray[np.int64]:
        """(n,) the window's rows in order, counted over its fragments one after another."""
        count = int(self.starts[window + 1] - self.starts[window])
        inside = np.arange(count, dtype=np.int64)
        return permute(count, mix_key(self.key, window), inside) if self.shuffled else inside

    def all_rows(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) the whole epoch's order, as positions in the source's order."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        parts = []
        for window in range(len(self.starts) - 1):
            ordinals = self.fragments[self.firsts[window] : self.firsts[window + 1]]
            lying = np.concatenate([np.arange(offsets[one], offsets[one + 1]) for one in ordinals])
            parts.append(lying[self.rows(window)])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def window_order(counts: NDArray[np.int64], *, seed: int, epoch: int, shuffle: bool, window_rows: int) -> WindowOrder:
    """The order of an epoch over fragments with `counts` (F,) rows; windows hold at least `window_rows` rows."""
    if window_rows < 1:
        raise SpecError(f"window_rows is {window_rows}; expected at least 1")
    key = mix_key(seed, epoch)
    places = np.arange(len(counts), dtype=np.int64)
    order = permute(len(counts), key, places) if shuffle else places
    order = order[counts[order] > 0]
    starts, firsts, held = [0], [0], 0
    total = 0
    for at, count in enumerate(counts[order].tolist(), 1):
        held += count
        total += count
        if held >= window_rows or at == len(order):
            starts.append(total)
            firsts.append(at)
            held = 0
    return WindowOrder(order, np.array(starts, np.int64), np.array(firsts, np.int64), key, shuffle)


def mixing(order: NDArray[np.int64]) -> float:
    """How well an order mixes: mean distance between where a row was and where it is, over that of a perfect shuffle (n / 3).

    0 for the source's own order, about 1 for a full shuffle.
    """
    n = len(order)
    if n < 2:
        return 1.0
    return float(np.abs(order - np.arange(n)).mean() / (n / 3))


def _round_keys(key: int) -> list[np.uint64]:
    return [_U64(mix_key(key, round_)) for round_ in range(_ROUNDS)]


def _network(value: NDArray[np.uint64], half: np.uint64, mask: np.uint64, keys: list[np.uint64]) -> NDArray[np.uint64]:
    left, right = value >> half, value & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << half) | right


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> _U64(27))) * _U64(0x94D049BB133111EB)
    return value ^ (value >> _U64(31))
