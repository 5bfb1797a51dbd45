"""The order of rows: a pure function of (seed, epoch, position). No list, no state, any position at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.compiled import kernels

_permute = kernels("permute")

Shuffle = Literal["none", "global", "window"]

_ROUNDS = 6
"""Four rounds of a Feistel network make a pseudorandom permutation (Luby and Rackoff, 1988); two more for the weak mixer."""
_WORD = 2**64 - 1


def permute(n: int, key: int, positions: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where a keyed permutation of range(n) sends `positions`.

    A Feistel network over the least number of bits that holds n, walked on along its cycle until it lands below n
    (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): at most twice the work on average.

    Args:
        n: size of the range, up to 2^62.
        key: 64 bits.
        positions: (N,) integers in [0, n).

    Returns:
        (N,) int64, different for different positions.
    """
    if n <= 1:
        return np.zeros(len(positions), np.int64)
    out = np.empty(len(positions), np.int64)
    _permute.permute_into(np.ascontiguousarray(positions, np.int64), n, _round_keys(key), out)
    return out


def mix_key(*parts: int) -> int:
    """One 64-bit key from several numbers (splitmix64 steps; Steele, Lea and Flood, 2014)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state


class Read(NamedTuple):
    """Rows of a fragment that a window has."""

    lane: int
    place: int
    """The fragment's place in the reading order."""
    first: int
    """The first row, counted in rows that are left after filters."""
    stop: int
    """One past the last."""


@dataclass(frozen=True, slots=True)
class WindowOrder:
    """Fragments in permuted order, cut into lanes that are read side by side, rows permuted within a window of them.

    For data that is read a fragment at a time: only one window is in memory. Row by row the lanes take turns, so a rank that
    takes each W-th position has lanes of its own, as long as W divides their number; and the order is the same for any W.
    Without shuffling there is one lane, and a window is a fragment.
    """

    fragments: NDArray[np.int64]
    """(F,) fragment ordinals in the order they are read."""
    ends: NDArray[np.int64]
    """(F + 1,) rows before each of these, and the number of rows."""
    key: int
    lanes: int
    window: int
    """Positions of a window, a multiple of `lanes`; 0: each fragment is one, and nothing is permuted."""
    body: int
    """Rows in lanes, a multiple of `lanes`. Those behind them come last, in a window of their own, which is no rank's own."""

    @property
    def size(self) -> int:
        """Rows in all."""
        return int(self.ends[-1])

    @property
    def windows(self) -> int:
        """How many there are."""
        return self._in_lanes + (self.body < self.size) if self.window else len(self.fragments)

    def start(self, number: int) -> int:
        """Position of the first row of a window; of number `windows`: of the end."""
        if not self.window:
            return int(self.ends[number])
        return self.size if number > self._in_lanes else min(number * self.window, self.body)

    def window_at(self, position: int) -> int:
        """The window that holds a position."""
        if self.window:
            return position // self.window if position < self.body else self._in_lanes
        return int(np.searchsorted(self.ends, position, side="right")) - 1

    def is_rest(self, number: int) -> bool:
        """Whether a window is the one of the rows behind all lanes."""
        return bool(self.window) and number == self._in_lanes

    def rows(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(places in `fragments`, rows of those fragments) at `positions`; all (N,)."""
        lying = self._lying(positions)
        places = np.searchsorted(self.ends, lying, side="right") - 1
        return places, lying - self.ends[places]

    def reads(self, number: int, lanes: Sequence[int]) -> "list[Read]":
        """What a window has of these lanes; of the rows behind all lanes: all of them, as lane -1."""
        if not self.window:
            return [Read(0, number, 0, int(self.ends[number + 1] - self.ends[number]))]
        per = self.body // self.lanes
        first, last = self.start(number) // self.lanes, self.start(number + 1) // self.lanes
        ranges = [(lane, lane * per + first, lane * per + last) for lane in lanes]
        if self.is_rest(number):
            ranges = [(-1, self.body, self.size)]
        found = []
        for lane, low, high in ranges:
            if low < high:
                places = np.searchsorted(self.ends, [low, high - 1], side="right") - 1
                for place in range(int(places[0]), int(places[1]) + 1):
                    begin, end = int(self.ends[place]), int(self.ends[place + 1])
                    found.append(Read(lane, place, max(low, begin) - begin, min(high, end) - begin))
        return found

    @property
    def _in_lanes(self) -> int:
        """Windows of the rows that are in lanes."""
        return -(-self.body // self.window)

    def _lying(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each position's row lies when the fragments are laid one behind another."""
        if not self.window:
            return positions
        out = np.empty(len(positions), np.int64)
        given = np.ascontiguousarray(positions, np.int64)
        keys = _round_keys(self.key)
        _permute.windows_into(given, self.size, self.body, self.lanes, self.window, self.key, keys, out)
        return out


def window_order(
    counts: NDArray[np.int64], *, seed: int, epoch: int, shuffle: bool, window_rows: int = 1, lanes: int = 1
) -> WindowOrder:
    """The order of an epoch over fragments with `counts` (F,) rows; windows hold `window_rows` rows of all lanes together,
    rounded up to a multiple of `lanes`.

    Raises:
        SpecError: a window or number of lanes below 1.
    """
    for name, value in (("window_rows", window_rows), ("lanes", lanes)):
        if value < 1:
            raise SpecError(f"{name} is {value}; expected at least 1")
    key = mix_key(seed, epoch)
    places = np.arange(len(counts), dtype=np.int64)
    order = permute(len(counts), key, places) if shuffle else places
    order = order[counts[order] > 0]
    ends = offsets_of(counts[order])
    rows = int(ends[-1])
    if not shuffle:
        return WindowOrder(order, ends, key, 1, 0, rows)
    return WindowOrder(order, ends, key, lanes, -(-window_rows // lanes) * lanes, rows - rows % lanes)


def offsets_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F + 1,) position of the first row of each fragment, and the number of rows in all."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


@lru_cache(maxsize=256)
def _round_keys(key: int) -> NDArray[np.uint64]:
    found = np.array([mix_key(key, round_) for round_ in range(_ROUNDS)], np.uint64)
    found.flags.writeable = False
    return found
