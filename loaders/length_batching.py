"""Steps of rows of about the same length: the batches of one round after another, dealt to ranks by the lanes they come from."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forebay.engine.epoch_order import EpochOrder
from forebay.engine.order import mix_key
from forebay.loaders.batching import Steps
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.length_cuts import Cut, Cutter, Round

_HELD = 4
"""Rounds whose batches are kept: a chunk may need two."""


class _Batch(NamedTuple):
    positions: NDArray[np.int64]
    number: int
    """Which of its round it is."""
    round: int
    own: bool
    """Whether it is of one lane, that of its number."""


class _Step(NamedTuple):
    positions: NDArray[np.int64]
    until: int
    floor: int
    own: bool


class LengthBatching:
    """Steps of `ByLength`. A step is one batch for each rank, taken from one sequence of batches that is the same for any
    number of ranks.

    Rows are sorted a round at a time. Where rows come in lanes (see `WindowOrder`), a round is cut lane by lane, into as many
    batches of each, which take turns: batch b of a round is of lane b % lanes, so ranks whose number W divides that of the lanes
    take the batches with b % W == rank, and read lanes of their own. Each round but the last has a multiple of `lanes` batches,
    so that this holds behind any position. `length_cuts` says when a round is cut from all lanes together instead.
    """

    def __init__(
        self,
        spec: FeedSpec,
        by: ByLength,
        lengths: NDArray[np.int32],
        *,
        order_of: Callable[[int], EpochOrder],
        window_rows: int,
    ) -> None:
        """`window_rows`: rows of a shuffle window, which are in memory at the same time anyway."""
        self._spec, self._by, self._lengths, self._order_of = spec, by, lengths, order_of
        self._lanes = spec.dealt_lanes
        most = self._lanes * by.window_rows
        self._round = max(by.window_rows, min(window_rows, most)) // self._lanes * self._lanes
        self._round = self._round or self._lanes  # fewer rows than lanes: one of each
        self._cutter = Cutter(by, spec.batch_size, self._lanes)
        self._batches = lru_cache(maxsize=_HELD)(self._cut)
        self._count = lru_cache(maxsize=8)(self._counted)

    def steps(self, epoch: int, position: int, most: int) -> Iterator[Steps]:
        for own, alike in groupby(self._steps(epoch, position), key=lambda one: one.own):
            while some := list(islice(alike, most)):
                positions = np.concatenate([one.positions for one in some])
                sizes = [len(one.positions) for one in some]
                yield Steps(positions, sizes, [one.until for one in some], some[0].floor, own)

    def count(self, epoch: int) -> int | None:
        batches, world = self._count(epoch), self._spec.world_size
        return batches // world if self._spec.drop_last else -(-batches // world)

    def is_over(self, epoch: int, position: int) -> bool:
        return next(self._steps(epoch, position), None) is None

    def position_after(self, epoch: int, position: int, steps: int) -> int:
        untils = [one.until for one in islice(self._steps(epoch, position), steps)]
        return untils[-1] if untils else position

    def rows_of_a_batch(self) -> int:
        if self._by.tokens is None or not len(self._lengths):
            return self._spec.batch_size
        return max(1, int(self._by.tokens / max(float(self._lengths.mean()), 1.0)))

    def _steps(self, epoch: int, position: int) -> Iterator[_Step]:
        """All steps behind `position`, one by one."""
        world, until = self._spec.world_size, position
        group: list[_Batch] = []
        for batch in self._from(epoch, position):
            group.append(batch)
            until += len(batch.positions)
            if len(group) == world:
                yield self._step(epoch, group, until)
                group = []
        if group and not self._spec.drop_last:
            # the last step has fewer batches than ranks: a rank without one repeats a row, so that all make as many steps
            yield self._step(epoch, group, until)

    def _step(self, epoch: int, group: list[_Batch], until: int) -> _Step:
        alone = self._spec.world_size == 1
        mine = self._mine(group) or self._again(epoch, group)
        return _Step(mine.positions, until, min(one.round for one in group) * self._round, mine.own or alone)

    def _mine(self, group: list[_Batch]) -> _Batch | None:
        """This rank's batch of a step."""
        rank, world = self._spec.rank, self._spec.world_size
        if not self._spec.dealt:
            return group[rank] if rank < len(group) else None
        return next((one for one in group if one.number % world == rank), None)

    def _again(self, epoch: int, group: list[_Batch]) -> _Batch:
        """One row for a rank that has no batch left: of its own lanes, where it has some."""
        last, world = group[-1], self._spec.world_size
        if not (self._spec.dealt and last.own):
            return last._replace(positions=last.positions[:1])
        before = last.number - (last.number - self._spec.rank) % world
        return last._replace(positions=self._batches(epoch, last.round).batches[before][:1], number=before)

    def _counted(self, epoch: int) -> int:
        """Batches of an epoch on all ranks."""
        if self._by.tokens is not None:  # they are as many as the lengths that come together make them
            return sum(len(self._batches(epoch, round_).batches) for round_ in range(self._rounds()))
        last = self._rounds() - 1
        return sum(
            len(self._batches(epoch, round_).batches) * times for round_, times in ((0, last), (last, 1)) if times > 0
        )

    def _rounds(self) -> int:
        return -(-len(self._lengths) // self._round)

    def _from(self, epoch: int, position: int) -> Iterator[_Batch]:
        """The batches behind `position`."""
        given = position // self._round * self._round
        for round_ in range(position // self._round, self._rounds()):
            cut = self._batches(epoch, round_)
            for number, positions in enumerate(cut.batches):
                if given >= position:
                    yield _Batch(positions, number, round_, cut.by_lanes)
                given += len(positions)

    def _cut(self, epoch: int, round_: int) -> Cut:
        """The batches of one round."""
        order, rows, lanes = self._order_of(epoch), len(self._lengths), self._lanes
        start, stop = round_ * self._round, min((round_ + 1) * self._round, rows)
        positions = np.arange(start, stop)
        lengths = self._lengths[order.source_positions(positions)].astype(np.int64)
        key = None if order.shuffle == "none" else lambda lane: mix_key(order.key, 2, round_ * lanes + lane)
        return self._cutter.cut(Round(positions, lengths, stop == rows), key)
