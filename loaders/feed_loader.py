"""FeedLoader: what `forebay.DataLoader(dataset, ...)` is when the data set is forebay's own."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

from torch.utils.data import IterableDataset, SequentialSampler

from forebay.engine.dataset import Dataset
from forebay.engine.mix import Mixture
from forebay.formats.errors import UnknownNameError
from forebay.loaders.columns_out import list_of_numbers
from forebay.loaders.dataloader import DataLoader
from forebay.loaders.double_sharding import refuse_torch_workers
from forebay.loaders.feed import Feed
from forebay.loaders.feed_options import FeedOptions, feed_spec, rank_and_world, read_options
from forebay.loaders.feed_spec import FeedState
from forebay.loaders.first_batch import check_first_batch
from forebay.loaders.frameworks.accelerate import active_in_accelerate, steps_to_skip
from forebay.loaders.progress import Progress


class _Facade(IterableDataset[Any]):
    """What torch and frameworks see as `.dataset`: something iterable that yields whole batches."""

    def __init__(self, loader: "FeedLoader") -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        """The batches, when a framework asks for them behind the loader's back: in a loader that it made of this one."""
        loader = self._loader
        return loader._run_epoch(skip=steps_to_skip(self, ranks=loader.ranks[1]))

    def __len__(self) -> int:
        return self._loader._steps()


class FeedLoader(DataLoader):
    """Batches of a `forebay.Dataset`. A batch is a dict of tensors (text and bytes: lists), or `(x, y)` with `columns`."""

    _is_accelerate_prepared = True  # accelerate would rebuild it as a plain loader; it shards and resumes by itself
    use_stateful_dataloader = True
    remainder = -1  # and: how many of its rows are there twice? None that it must cut off

    def __init__(
        self, dataset: Dataset | Mixture, batch_size: int = 1, shuffle: bool | str | None = False, **options: Any
    ) -> None:
        """
        Args:
            dataset: a forebay data set, or a mixture of some.
            batch_size: rows of a batch on one rank.
            shuffle: False, True (global where the data is memory-mapped Arrow, else window), "global" or "window".
            options: the fields of `FeedOptions`, and those of torch's arguments that have a meaning here.
        """
        self._feed: Feed | None = None
        self._at = Progress()
        if isinstance(options.get("sampler"), SequentialSampler):  # Lightning's word for "do not shuffle"
            options, shuffle = {**options, "sampler": None}, False
        if isinstance(dataset, _Facade):  # a framework makes the loader again: `type(loader)(**its attributes)`
            self._be_like(dataset._loader)
        else:
            self._asked = read_options(options)
            self._spec = feed_spec(dataset, self._asked, batch_size=batch_size, shuffle=shuffle)
            self._data = dataset
            self._columns = _columns(self._asked, dataset)
        super().__init__(_Facade(self), batch_size=None, num_workers=0)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own iterator class
        return self._run_epoch()

    def __len__(self) -> int:
        return self._steps()

    @property
    def rows(self) -> int | None:
        """Rows of an epoch on all ranks together; None when it has no end."""
        return self._data.rows(self._spec.dealt_lanes) if isinstance(self._data, Mixture) else len(self._data)

    @property
    def ranks(self) -> tuple[int, int]:
        """Whose rows these are: rank and world size."""
        spec = self._made().spec
        return spec.rank, spec.world_size

    @property
    def end_of_dataloader(self) -> bool:
        """Whether the batch in hand is the last of its epoch: accelerate asks."""
        return self._made().batching.is_over(self._at.epoch, self._at.position)

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch at the next iteration, from its start or from where a state of it was loaded."""
        self._at.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the last batch given ended: `{version, seed, epoch, position, fingerprint}`, plain values, the same on
        each rank. It may be loaded with another number of ranks, threads or rows a batch."""
        return FeedState(self._spec.seed, self._at.epoch, self._at.position, self._identity()).to_json()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batch that `state_dict` described.

        Raises:
            StateError: the state belongs to other data, transforms or order.
            SpecError: it was made with another seed.
        """
        found = FeedState.from_json(state, self._identity(), seed=self._spec.seed)
        self._at.load(found.epoch, found.position)

    def shuffle_quality(self) -> float:
        """How far this epoch's order parts rows that lie near one another in the files: 0 not at all, 0.1 a tenth as far as
        a full shuffle does, about 1 like that. A window of w of n rows gives about w / n. Of a mixture: its first member's."""
        return self._made().order(self._at.epoch).mixing()

    def _be_like(self, other: "FeedLoader") -> None:
        self._asked, self._spec, self._data, self._columns = other._asked, other._spec, other._data, other._columns
        self._at.load(other._at.epoch, other._at.position)

    def _made(self) -> Feed:
        # Not before it is needed: most frameworks make the group of ranks after the loader.
        rank, world_size = rank_and_world(self._asked)
        if (rank, world_size) != (self._spec.rank, self._spec.world_size):
            self._spec, self._feed = replace(self._spec, rank=rank, world_size=world_size), None
        if self._feed is None:
            self._feed = Feed(self._data, self._spec, deliver=_delivery_to(self._asked.to))
        return self._feed

    def _run_epoch(self, skip: int = 0) -> Iterator[Any]:
        feed, at, columns = self._made(), self._at, self._columns
        at.begin(feed.batching.is_over, endless=self.rows is None)
        if skip:
            yield from repeat(None, skip)  # accelerate counts them and drops them without a look
            at.position = feed.batching.position_after(at.epoch, at.position, skip)
        with active_in_accelerate(self):
            for batch, position in self._checked(feed.epoch(at.epoch, at.position)):
                at.position = position
                yield batch if columns is None else tuple(batch[name] for name in columns)

    def _checked(self, batches: Iterator[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
        """The batches, of which the first is looked at."""
        refuse_torch_workers()
        first = next(batches, None)
        if first is None:
            return
        check_first_batch(first[0], self._data.schema, self._asked.contract)
        yield first
        del first  # a batch that nobody holds gives its memory back
        yield from batches

    def _steps(self) -> int:
        steps = self._made().batching.count(self._at.epoch)
        if steps is None:
            raise TypeError("a loader over a mixture with stop='never' has no length; count steps in the training loop")
        return steps

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process opens its own files and threads, and is where this loader is."""
        return {**super().__getstate__(), "_feed": None}

    def _identity(self) -> str:
        return self._spec.identity(self._data.fingerprint, mixed=isinstance(self._data, Mixture))


def _delivery_to(device: Any) -> Any:
    if device is None:
        return None
    from forebay.loaders.device_delivery import delivery_to

    return delivery_to(device)


def _columns(asked: FeedOptions, dataset: Dataset | Mixture) -> tuple[str, ...] | None:
    if asked.columns is None:
        return None
    lists = [one.name for one in dataset.schema if list_of_numbers(one.type) is not None]
    plain = [name for name in dataset.schema.names if name not in lists]
    known = [*plain, *asked.ragged.names(lists)] if lists else plain
    for name in asked.columns:
        if name not in known:
            raise UnknownNameError.of("column", name, known, where="columns")
    return asked.columns
