"""The samples of one rank in an order that is a pure function of (seed, epoch, position), from any position on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler

from forebay.engine.order import mix_key, permute
from forebay.formats.errors import SpecError
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.progress import Progress
from forebay.loaders.sample_seeds import key_of

_AT_ONCE = 1 << 12
"""Samples whose places are worked out together."""


class PlannedIndices(DistributedSampler[Any]):
    """A sampler whose next pass begins where `at` says. It gives keys (see `sample_seeds`), not indices.

    torch's DistributedSampler is its class so that frameworks see that ranks are told apart already.
    """

    def __init__(self, dataset: Any, spec: Callable[[], FeedSpec], at: Progress) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, shuffle=False)  # the ranks are asked for when a pass begins
        self.at = at
        self.passes = 0
        """Passes of the loader itself that are under way."""
        self._spec = spec
        self._rows = len(dataset)

    def __iter__(self) -> Iterator[int]:
        if not self.passes:
            raise SpecError(
                "another loader iterates the order of a loader with deterministic=True; it can give the samples neither their "
                "random numbers nor to other ranks. Iterate forebay's loader; instead of accelerate's skip_first_batches use "
                "state_dict and load_state_dict (HF Trainer: ignore_data_skip=True and hooks.hf_callback)"
            )
        spec, epoch = self._spec(), self.at.epoch
        for positions in self._positions(spec, self.at.position):
            if spec.shuffle != "none":
                positions = permute(self._rows, mix_key(spec.seed, epoch), positions)
            for index in positions.tolist():
                yield key_of(epoch, index)

    def __len__(self) -> int:
        """Samples of a whole epoch on this rank."""
        spec = self._spec()
        whole, rest = divmod(self._rows, spec.global_batch)
        last = 0 if spec.drop_last or not rest else len(spec.last_share(self._rows - rest, self._rows))
        return whole * spec.batch_size + last

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch."""
        self.at.set_epoch(epoch)

    def after(self, position: int) -> int:
        """Where an epoch stands when one more batch is delivered behind `position`."""
        return min(position + self._spec().global_batch, self._rows)

    def is_over(self, epoch: int, position: int) -> bool:
        """Whether no batch is left behind `position`."""
        spec, left = self._spec(), self._rows - position
        return left < spec.global_batch if spec.drop_last else left <= 0

    def _positions(self, spec: FeedSpec, start: int) -> Iterator[NDArray[np.int64]]:
        whole = (self._rows - start) // spec.global_batch
        step = max(1, _AT_ONCE // spec.batch_size)
        for first in range(0, whole, step):
            numbers = np.arange(first, min(first + step, whole), dtype=np.int64)
            starts = start + spec.global_batch * numbers
            # each rank has a run of its own in a global batch, whatever the order of samples
            yield (starts[:, None] + (spec.rank * spec.batch_size + np.arange(spec.batch_size))).ravel()
        end = start + whole * spec.global_batch
        if end < self._rows and not spec.drop_last:
            yield spec.last_share(end, self._rows)
