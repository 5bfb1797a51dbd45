"""Which rows make a step: what every way of cutting promises, and runs of the order. (By length: `length_batching`.)"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from forebay.loaders.feed_spec import FeedSpec


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
    own: bool = True
    """Whether all of these, where rows are dealt to ranks, are of lanes of this rank."""


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
                untils = list(range(position + size, position + size * whole + 1, size))
                positions = np.arange(position, untils[-1])
                if spec.world_size > 1:
                    positions = spec.whole_shares(positions[::size]).reshape(-1)
                yield Steps(positions, [spec.batch_size] * whole, untils, position)
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
