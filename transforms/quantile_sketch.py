"""Quantiles of a column of any length in bounded memory: exact up to `CAPACITY` values, with a stated error beyond."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.column_values import values

CAPACITY = 1 << 16
"""Values a level holds before it is halved: 512 KiB."""


@dataclass(slots=True)
class QuantileSketch:
    """A deterministic sketch of compactors (Manku, Rajagopalan, Lindsay, SIGMOD 1998; the buffers of KLL, Karnin, Lang,
    Liberty, FOCS 2016, without their coin).

    Level h holds values that stand for 2^h each. A full level is sorted and every second value goes a level up;
    whether the odd or the even ones alternates from one halving to the next, so the errors tend to cancel. Each
    halving of level h moves any rank by at most 2^h; `rank_error` adds that up, so the bound is what this very data
    made, not an expectation: with n values about log2(n / CAPACITY) / CAPACITY of them. Null, NaN and infinities do not count.
    """

    count: int = 0
    rank_error: int = 0
    """Most ranks by which an answer may be off; 0: exact."""
    _levels: list[list[NDArray[np.float64]]] = field(default_factory=list)
    _odd: list[bool] = field(default_factory=list)

    def update(self, column: pa.Array) -> None:
        self.add(values(column))

    def add(self, x: NDArray[np.float64]) -> None:
        """Take in finite values."""
        if len(x):
            self.count += len(x)
            self._put(0, np.array(x, np.float64))
            self._compact()

    def merge(self, later: "QuantileSketch") -> None:
        self.count += later.count
        self.rank_error += later.rank_error
        for level, parts in enumerate(later._levels):
            for part in parts:
                self._put(level, part)
        self._compact()

    def quantiles(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantiles by linear interpolation, as numpy's default; NaN without values."""
        if self.count == 0:
            return np.full(len(q), np.nan)
        value, weight = self.weighted()
        if self.rank_error == 0:
            return np.asarray(np.quantile(value, q))
        middle = np.cumsum(weight) - (weight + 1) / 2  # rank, from 0, at the middle of the run that a value stands for
        return np.asarray(np.interp(q * (self.count - 1), middle, value))

    def weighted(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(values that are held, ascending; how many values each stands for)."""
        held = [np.concatenate(parts) if parts else np.zeros(0) for parts in self._levels] or [np.zeros(0)]
        value = np.concatenate(held)
        weight = np.concatenate([np.full(len(one), 1 << level, np.int64) for level, one in enumerate(held)])
        order = np.argsort(value, kind="stable")
        return value[order], weight[order]

    def _put(self, level: int, x: NDArray[np.float64]) -> None:
        while len(self._levels) <= level:
            self._levels.append([])
            self._odd.append(False)
        self._levels[level].append(x)

    def _compact(self) -> None:
        level = 0
        while level < len(self._levels):
            if sum(map(len, self._levels[level])) > CAPACITY:
                ordered = np.sort(np.concatenate(self._levels[level]))
                even = len(ordered) & ~1
                kept, up = ordered[even:], ordered[int(self._odd[level]) : even : 2]
                self._odd[level] = not self._odd[level]
                self._levels[level] = [kept] if len(kept) else []
                self.rank_error += 1 << level
                self._put(level + 1, up)
            level += 1
