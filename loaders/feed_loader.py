"""FeedLoader: what `forebay.DataLoader(dataset, ...)` is when the data set is forebay's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch.distributed
from torch.utils.data import IterableDataset

from forebay.engine.dataset import Dataset
from forebay.engine.fingerprint import fingerprint
from forebay.engine.order import Shuffle
from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.dataloader import DataLoader
from forebay.loaders.feed import Feed
from forebay.loaders.feed_spec import FeedSpec, FeedState
from forebay.loaders.frameworks.accelerate import active_in_accelerate

_NOT_HERE = {
    "sampler": "order comes from shuffle= and seed=, and ranks are told apart by rank= and world_size=",
    "batch_sampler": "batches are cut by batch_size=",
    "collate_fn": "batches are columns already; use .map_batches on the Dataset, or work on the batch",
    "worker_init_fn": "num_workers are threads here, and randomness belongs to the sample",
    "multiprocessing_context": "num_workers are threads here",
}
_IGNORED = (
    "pin_memory",
    "pin_memory_device",
    "persistent_workers",
    "prefetch_factor",
    "in_order",
    "generator",
    "timeout",
)
"""Arguments of torch's loader that ask for what is so here anyway: memory is pinned when there is a GPU, threads stay."""


class _Facade(IterableDataset[Any]):
    """What torch and frameworks see as `.dataset`: something iterable that yields whole batches."""

    def __init__(self, loader: "FeedLoader") -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return self._loader._run_epoch()

    def __len__(self) -> int:
        return self._loader._steps()


class FeedLoader(DataLoader):
    """Batches of a `forebay.Dataset`. A batch is a dict of tensors (text and bytes: lists), or `(x, y)` with `columns`."""

    _is_accelerate_prepared = True  # accelerate would rebuild it as a plain loader; it shards and resumes by itself
    use_stateful_dataloader = True
    remainder = -1  # and: how many of its rows are there twice? None that it must cut off

    def __init__(  # noqa: PLR0913  # torch's own constructor has more; these are its names
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool | str | None = False,
        *,
        num_workers: int = 0,
        drop_last: bool = False,
        seed: int = 0,
        columns: Sequence[str] | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        window_rows: int = 200_000,
        **torch_arguments: Any,
    ) -> None:
        _check_torch_arguments(torch_arguments)
        _refuse_batch_transforms(dataset)
        found_rank, found_world = _rank_and_world(rank, world_size)
        self._spec = FeedSpec(
            batch_size=batch_size,
            shuffle=_shuffle(shuffle, dataset),
            seed=seed,
            drop_last=drop_last,
            threads=num_workers,
            rank=found_rank,
            world_size=found_world,
            window_rows=window_rows,
        )
        self._data = dataset
        self._columns = _columns(columns, dataset)
        self._feed: Feed | None = None
        self._at = _Progress()
        super().__init__(_Facade(self), batch_size=None, num_workers=0)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own iterator class
        return self._run_epoch()

    def __len__(self) -> int:
        return self._steps()

    @property
    def end_of_dataloader(self) -> bool:
        """Whether the batch in hand is the last of its epoch: accelerate asks."""
        return self._made().batching.is_over(self._at.epoch, self._at.position)

    def set_epoch(self, epoch: int) -> None:
        """Begin this pass at the next iteration, from its start."""
        if epoch != self._at.epoch:
            self._at.epoch, self._at.position = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the last batch given ended: `{version, seed, epoch, position, fingerprint}`, plain values, the same on
        each rank. It may be loaded with another number of ranks, threads or rows a batch."""
        return FeedState(self._spec.seed, self._at.epoch, self._at.position, self._identity()).to_json()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batch that `state_dict` described.

        Raises:
            StateError: the state belongs to other data, transforms or order.
        """
        found = FeedState.from_json(state, self._identity())
        if found.seed != self._spec.seed:
            raise SpecError(
                f"the state was made with seed={found.seed}, this loader has seed={self._spec.seed}: give the same"
            )
        self._at.epoch, self._at.position = found.epoch, found.position

    def shuffle_quality(self) -> float:
        """How well this epoch's order mixes the rows: 0 not at all, about 1 like a perfect shuffle."""
        return self._made().order(self._at.epoch).mixing()

    def _made(self) -> Feed:
        if self._feed is None:
            self._feed = Feed(self._data, self._spec)
        return self._feed

    def _run_epoch(self) -> Iterator[Any]:
        feed, at, columns = self._made(), self._at, self._columns
        # Rolled over here, not behind the last batch: a framework that counts to len() never asks for the end.
        if at.position and feed.batching.is_over(at.epoch, at.position):
            at.epoch, at.position = at.epoch + 1, 0
        with active_in_accelerate(self):
            for batch, position in feed.epoch(at.epoch, at.position):
                at.position = position
                yield batch if columns is None else tuple(batch[name] for name in columns)

    def _steps(self) -> int:
        steps = self._made().batching.count(self._at.epoch)
        if steps is None:
            raise TypeError("a loader over a mixture with stop='never' has no length; count steps in the training loop")
        return steps

    def _identity(self) -> str:
        order = [self._spec.shuffle, self._spec.window_rows if self._spec.shuffle == "window" else 0]
        return fingerprint(self._data.fingerprint, order)


@dataclass(slots=True)
class _Progress:
    """Where an iteration is. An object of its own: torch's loader runs code at each assignment to its own attributes."""

    epoch: int = 0
    position: int = 0


def _shuffle(given: bool | str | None, dataset: Dataset) -> Shuffle:
    if given in (None, False):
        return "none"
    if given is True:
        return "global" if dataset.source.random_access else "window"
    if given in ("global", "window"):
        return cast(Shuffle, given)
    raise SpecError(f"shuffle is {given!r}; expected True, False, 'global' or 'window'")


def _columns(given: Sequence[str] | None, dataset: Dataset) -> tuple[str, ...] | None:
    if given is None:
        return None
    for name in given:
        if name not in dataset.schema.names:
            raise UnknownNameError.of("column", name, dataset.schema.names, where="columns")
    return tuple(given)


def _rank_and_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise SpecError("give both rank and world_size, or neither (they then come from torch.distributed)")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _refuse_batch_transforms(dataset: Dataset) -> None:
    for one in dataset.graph.transforms:
        if one.kind == "batch":
            raise SpecError(
                f"{type(one).__name__} mixes the rows of a finished batch, which this loader does not do yet; leave it out here "
                "and mix in the training loop (`from forebay import hooks`: DeviceTransform with hooks.MixUp)"
            )


def _check_torch_arguments(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name in _NOT_HERE and value is not None:
            double = " (a DistributedSampler would split the rows of each rank once more)" if "sampler" in name else ""
            raise SpecError(f"{name} is not taken with a forebay Dataset: {_NOT_HERE[name]}{double}")
        if name not in _NOT_HERE and name not in _IGNORED:
            known = [
                "batch_size",
                "shuffle",
                "num_workers",
                "drop_last",
                "seed",
                "columns",
                "rank",
                "world_size",
                "window_rows",
            ]
            raise UnknownNameError.of("argument", name, known, where="DataLoader")
