"""Which rows make a step: runs of the order, or rows of about the same length under a budget of tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from forebay.engine.epoch_order import EpochOrder
from forebay.engine.order import mix_key, permute
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec
from forebay.transforms.compiled import kernels

_ragged = kernels("ragged")


class Steps(NamedTuple):
    """One rank's part of some consecutive steps."""

    positions: NDArray[np.int64]
    """(n,) positions of the epoch's order, one step's behind another's."""
    sizes: list[int]
    """Rows of each step's batch."""
    untils: list[int]
    """Rows that all ranks have been given of the epoch after each."""
    floor: int
    """No later step needs a position before this one."""


class Batching(Protocol):
    """Cuts an epoch into steps: as many on each rank, known beforehand, from any position on."""

    def steps(self, epoch: int, position: int, most: int) -> Iterator[Steps]:
        """The steps behind `position`, at most `most` of them at a time. `position` is 0 or stands behind a step, also one
        of another number of ranks."""

    def count(self, epoch: int) -> int | None:
        """Steps of a whole epoch; None when it has no end."""

    def is_over(self, epoch: int, position: int) -> bool:
        """Whether no step follows behind `position`."""

    def position_after(self, epoch: int, position: int, steps: int) -> int:
        """The position behind the next `steps` steps, or behind the last of the epoch."""

    def rows_of_a_batch(self) -> int:
        """Rows of a batch, about: chunks of work are sized by it."""


@dataclass(frozen=True, slots=True)
class PlainBatching:
    """`batch_size` rows of the order after one another."""

    spec: FeedSpec
    rows: int | None
    """Rows of an epoch; None when it has no end."""

    def steps(self, epoch: int, position: int, most: int) -> Iterator[Steps]:
        spec, size = self.spec, self.spec.global_batch
        while not self.is_over(epoch, position):
            whole = most if self.rows is None else min(most, (self.rows - position) // size)
            if whole:
                starts = position + size * np.arange(whole)
                positions = spec.whole_shares(starts).reshape(-1)
                yield Steps(positions, [spec.batch_size] * whole, (starts + size).tolist(), position)
                position += whole * size
            elif self.rows is not None:  # the short one at the end
                last = spec.last_share(position, self.rows)
                yield Steps(last, [len(last)], [self.rows], position)
                position = self.rows

    def count(self, epoch: int) -> int | None:
        return None if self.rows is None else self.spec.steps(self.rows)

    def is_over(self, epoch: int, position: int) -> bool:
        if self.rows is None:
            return False
        least = self.spec.global_batch if self.spec.drop_last else 1
        return position + least > self.rows

    def position_after(self, epoch: int, position: int, steps: int) -> int:
        after = position + steps * self.spec.global_batch
        return after if self.rows is None else min(after, self.rows)

    def rows_of_a_batch(self) -> int:
        return self.spec.batch_size


class LengthBatching:
    """Steps of `ByLength`. A step is one batch for each rank, taken from one sequence of batches that is the same for any
    number of ranks."""

    def __init__(
        self,
        spec: FeedSpec,
        by: ByLength,
        lengths: NDArray[np.int32],
        *,
        order_of: Callable[[int], EpochOrder],
    ) -> None:
        self._spec, self._by, self._lengths, self._order_of = spec, by, lengths, order_of
        self._batches = lru_cache(maxsize=4)(self._cut)
        self._count = lru_cache(maxsize=8)(self._counted)

    def steps(self, epoch: int, position: int, most: int) -> Iterator[Steps]:
        one_by_one = self._steps(epoch, position)
        while some := list(islice(one_by_one, most)):
            positions = np.concatenate([mine for mine, _, _ in some])
            yield Steps(positions, [len(mine) for mine, _, _ in some], [until for _, until, _ in some], some[0][2])

    def count(self, epoch: int) -> int | None:
        batches, world = self._count(epoch), self._spec.world_size
        return batches // world if self._spec.drop_last else -(-batches // world)

    def is_over(self, epoch: int, position: int) -> bool:
        return next(self._steps(epoch, position), None) is None

    def position_after(self, epoch: int, position: int, steps: int) -> int:
        untils = [until for _, until, _ in islice(self._steps(epoch, position), steps)]
        return untils[-1] if untils else position

    def rows_of_a_batch(self) -> int:
        if self._by.tokens is None or not len(self._lengths):
            return self._spec.batch_size
        return max(1, int(self._by.tokens / max(float(self._lengths.mean()), 1.0)))

    def _steps(self, epoch: int, position: int) -> Iterator[tuple[NDArray[np.int64], int, int]]:
        """(this rank's positions, rows given on all ranks after it, first position of its window) of each step."""
        rank, world, until = self._spec.rank, self._spec.world_size, position
        group: list[tuple[NDArray[np.int64], int]] = []
        for positions, floor in self._from(epoch, position):
            group.append((positions, floor))
            until += len(positions)
            if len(group) == world:
                yield group[rank][0], until, group[0][1]
                group = []
        if group and not self._spec.drop_last:
            # the last step has fewer batches than ranks: a rank without one repeats a row, so that all make as many steps
            yield group[rank][0] if rank < len(group) else group[-1][0][:1], until, group[0][1]

    def _counted(self, epoch: int) -> int:
        """Batches of an epoch on all ranks."""
        if self._by.tokens is not None:  # they are as many as the lengths that come together make them
            return sum(len(self._batches(epoch, window)) for window in range(self._windows()))
        whole, rest = divmod(len(self._lengths), self._by.window_rows)
        size = self._spec.batch_size
        return whole * -(-self._by.window_rows // size) + -(-rest // size)

    def _windows(self) -> int:
        return -(-len(self._lengths) // self._by.window_rows)

    def _from(self, epoch: int, position: int) -> Iterator[tuple[NDArray[np.int64], int]]:
        """(positions, first position of their window) of each batch behind `position`."""
        size = self._by.window_rows
        given = position // size * size
        for window in range(position // size, self._windows()):
            for positions in self._batches(epoch, window):
                if given >= position:
                    yield positions, window * size
                given += len(positions)

    def _cut(self, epoch: int, window: int) -> list[NDArray[np.int64]]:
        """The batches of one window."""
        order, by = self._order_of(epoch), self._by
        positions = np.arange(window * by.window_rows, min((window + 1) * by.window_rows, len(self._lengths)))
        lengths = self._lengths[order.source_positions(positions)].astype(np.int64)
        by_length = np.argsort(lengths, kind="stable")
        if by.tokens is None:
            ends = np.arange(self._spec.batch_size, len(positions), self._spec.batch_size)
        else:
            found, made = np.zeros(len(positions), np.int64), np.zeros(1, np.int64)
            most = self._spec.batch_size if self._spec.batch_size > 1 else len(positions)
            _ragged.budget_into(lengths[by_length], by.tokens, by.padded, most, found, made)
            ends = found[: int(made[0]) - 1]
        batches = np.split(positions[by_length], ends)
        if order.shuffle == "none":
            return batches
        key = mix_key(order.key, 2, window)
        # rows of equal length stay in the order's own, which is random already; the batches' order is not
        return [batches[at] for at in permute(len(batches), key, np.arange(len(batches))).tolist()]
