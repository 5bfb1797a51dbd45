"""The order of one pass over a data set: from positions to fragments and rows, at any position, in any thread."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forebay.engine.order import Read, Shuffle, WindowOrder, mix_key, offsets_of, permute, window_order
from forebay.engine.selection import Selection
from forebay.formats.plain_numbers import distinct

_SAMPLE, _STRETCH, _FEWEST = 65_536, 1024, 64
"""Rows that the mixing is measured by, rows of a stretch of these, and how few rows cannot be judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSpec:
    """What decides an order, beside the data."""

    shuffle: Shuffle = "none"
    seed: int = 0
    window_rows: int = 200_000
    """Rows of a shuffle window."""
    lanes: int = 8
    """Places of the data that a shuffle window is taken from, side by side; see `WindowOrder`."""


@dataclass(frozen=True, slots=True)
class EpochOrder:
    """Position p of the pass -> the row that comes there. Thread-safe: nothing changes."""

    selection: Selection
    offsets: NDArray[np.int64]
    """(F + 1,) position in the selection of the first row of each fragment."""
    key: int
    shuffle: Shuffle
    windows: WindowOrder | None
    """How fragments are read, where they are read one after another; None where any row can be taken at any time."""

    @property
    def rows(self) -> int:
        """Rows of the pass."""
        return int(self.offsets[-1])

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(fragment ordinals, rows in these fragments) at `positions`; all (N,)."""
        if self.windows is not None:
            places, rows = self.windows.rows(positions)
            fragments = self.windows.fragments[places]
        else:
            lying = permute(self.rows, self.key, positions) if self.shuffle == "global" else positions
            fragments = np.searchsorted(self.offsets, lying, side="right") - 1
            rows = lying - self.offsets[fragments]
        return fragments, self.unfiltered(fragments, rows)

    def source_positions(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the rows at `positions` stand in the selection's own order."""
        if self.windows is None:
            return permute(self.rows, self.key, positions) if self.shuffle == "global" else positions
        places, rows = self.windows.rows(positions)
        return self.offsets[self.windows.fragments[places]] + rows

    def mixing(self) -> float:
        """How near in the source those rows lie that come near one another here: 0 where neighbours stay neighbours, about
        1 where they are as far apart as in a full shuffle.

        Of stretches of B rows that follow one another, sorted by where they lie in the source, the median gap between
        neighbours, over that of B rows drawn from all n: ln 2 * n / B. A window of w rows gives about w / n, from however
        many places these are. B is about a thousand, a batch's size, and less where there are few rows.
        """
        if self.rows < _FEWEST:
            return 1.0
        length = min(_STRETCH, int(np.sqrt(self.rows)))
        stretches = self.rows // length
        chosen = permute(stretches, mix_key(self.key, 1), np.arange(min(stretches, _SAMPLE // length)))
        at = chosen[:, None] * length + np.arange(length)
        lying = np.sort(self.source_positions(at.reshape(-1)).reshape(at.shape), axis=1)
        gap = float(np.median(np.diff(lying, axis=1))) - 1  # rows between two neighbours: none where all stay together
        full = np.log(2) * (self.rows + 1) / (length + 1) - 1
        return float(gap / max(full, 1.0))

    def stored(self, read: Read) -> tuple[int, int]:
        """A window's read of a fragment in rows as they are stored, before filters: (first, one past the last)."""
        assert self.windows is not None
        kept = self.selection.kept.get(int(self.windows.fragments[read.place]))
        return (read.first, read.stop) if kept is None else (int(kept[read.first]), int(kept[read.stop - 1]) + 1)

    def unfiltered(self, fragments: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """From rows that are left in a fragment to rows of the fragment."""
        kept = self.selection.kept
        if not kept:
            return rows
        found = rows.copy()
        for one in distinct(fragments):
            left = kept.get(one)
            if left is not None:
                here = fragments == one
                found[here] = left[rows[here]]
        return found


def epoch_order(
    selection: Selection, spec: OrderSpec, epoch: int, *, mapped: bool, body: int | None = None
) -> EpochOrder:
    """The order of pass `epoch`. `mapped`: any row can be taken at any time, so that nothing is read window by window.
    `body`: rows in lanes, where these are fewer than would go there."""
    windows = None
    if not mapped or spec.shuffle == "window":
        shuffled = spec.shuffle == "window"
        windows = window_order(
            selection.counts,
            seed=spec.seed,
            epoch=epoch,
            shuffle=shuffled,
            window_rows=spec.window_rows,
            lanes=spec.lanes,
        )
        if shuffled and body is not None:
            windows = replace(windows, body=body)
    return EpochOrder(selection, offsets_of(selection.counts), mix_key(spec.seed, epoch), spec.shuffle, windows)
