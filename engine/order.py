"""The order of rows: a pure function of (seed, epoch, position). No list, no state, any position at once."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.kernels.permute import permute_into, windows_into

Shuffle = Literal["none", "global", "window"]

_ROUNDS = 6
"""Four rounds of a Feistel network make a pseudorandom permutation (Luby and Rackoff, 1988); two more for the weak mixer."""
_WORD = 2**64 - 1


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
    out = np.empty(len(positions), np.int64)
    half = ((n - 1).bit_length() + 1) // 2
    permute_into(np.ascontiguousarray(positions, np.int64), n, half, _round_keys(key), out)
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


@dataclass(frozen=True, slots=True)
class WindowOrder:
    """Fragments in permuted order, cut into windows of neighbours there; rows permuted within each window.

    For data that is read a fragment at a time: only one window's fragments are in memory, and every row of it is as likely
    in each of the window's places.
    """

    fragments: NDArray[np.int64]
    """(F,) fragment ordinals in the order they are read."""
    ends: NDArray[np.int64]
    """(F + 1,) position of the first row of each of these, and the number of rows."""
    firsts: NDArray[np.int64]
    """(W + 1,) place in `fragments` of the first of each window, and F."""
    key: int
    shuffled: bool

    @property
    def starts(self) -> NDArray[np.int64]:
        """(W + 1,) position of the first row of each window, and the number of rows."""
        return self.ends[self.firsts]

    def window_at(self, position: int) -> int:
        """The window that holds a position."""
        place = int(np.searchsorted(self.ends, position, side="right")) - 1
        return int(np.searchsorted(self.firsts, place, side="right")) - 1

    def rows(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(places in `fragments`, rows of those fragments) at `positions`; all (N,)."""
        lying = self._permuted(positions) if self.shuffled else positions
        places = np.searchsorted(self.ends, lying, side="right") - 1
        return places, lying - self.ends[places]

    def _permuted(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each position's row lies when the fragments are laid one behind another."""
        if not len(positions):
            return positions
        first, last = self.window_at(int(positions.min())), self.window_at(int(positions.max()))
        lying = np.empty(len(positions), np.int64)
        for window in range(first, last + 1):
            start, end = self.ends[self.firsts[window]], self.ends[self.firsts[window + 1]]
            here = slice(None) if first == last else np.flatnonzero((positions >= start) & (positions < end))
            lying[here] = start + permute(int(end - start), mix_key(self.key, window), positions[here] - start)
        return lying


def window_order(counts: NDArray[np.int64], *, seed: int, epoch: int, shuffle: bool, window_rows: int) -> WindowOrder:
    """The order of an epoch over fragments with `counts` (F,) rows; windows hold at least `window_rows` rows."""
    if window_rows < 1:
        raise SpecError(f"window_rows is {window_rows}; expected at least 1")
    key = mix_key(seed, epoch)
    places = np.arange(len(counts), dtype=np.int64)
    order = permute(len(counts), key, places) if shuffle else places
    order = order[counts[order] > 0]
    firsts, made = np.zeros(len(order) + 1, np.int64), np.zeros(1, np.int64)
    if len(order):
        windows_into(np.ascontiguousarray(counts[order]), window_rows, firsts, made)
    return WindowOrder(order, offsets_of(counts[order]), firsts[: int(made[0]) + 1], key, shuffle)


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
