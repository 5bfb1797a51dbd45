"""DeterministicLoader: what `forebay.DataLoader(dataset, ..., deterministic=True)` is over a map-style torch data set."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset

from forebay.engine.fingerprint import fingerprint
from forebay.formats.errors import SpecError
from forebay.loaders.dataloader import DataLoader
from forebay.loaders.feed_options import FeedOptions, rank_and_world
from forebay.loaders.feed_spec import FeedSpec, FeedState
from forebay.loaders.frameworks.accelerate import active_in_accelerate
from forebay.loaders.loader_view import LoaderView
from forebay.loaders.planned_indices import PlannedIndices
from forebay.loaders.progress import Progress

_IN_ORDER = (
    "batch_size",
    "shuffle",
    "sampler",
    "batch_sampler",
    "num_workers",
    "collate_fn",
    "pin_memory",
    "drop_last",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
)
"""torch's arguments behind the data set, which may be given without their names."""
_INSTEAD = {
    "sampler": "the order comes from shuffle= and seed=, and ranks are told apart by rank= and world_size=",
    "batch_sampler": "batches are cut by batch_size=",
    "generator": "all random numbers come from seed=",
}


class DeterministicLoader(DataLoader):
    """Batches of a map-style data set whose order and samples are pure functions of the seed.

    The same for any number of workers, any prefetching, and (put together) any number of ranks; gone on with at any step
    at once, without reading what came before.
    """

    _is_accelerate_prepared = True  # accelerate would rebuild it as a plain loader; it shards and resumes by itself
    use_stateful_dataloader = True
    remainder = -1

    def __init__(
        self,
        dataset: Any,
        *positional: Any,
        deterministic: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            dataset: a map-style torch data set with a length.
            positional: torch's arguments, in torch's order.
            deterministic: True, whatever is given here.
            seed: of the order and of each sample's random numbers.
            rank: this process among `world_size`; both come from torch.distributed when that is initialized.
            world_size: processes that share out the samples.
            options: torch's arguments and those of `forebay.DataLoader`.
        """
        asked = {**dict(zip(_IN_ORDER, positional, strict=False)), **options}
        _check(dataset, asked)
        self.sample_seed = seed
        self._ranks = FeedOptions(seed=seed, rank=rank, world_size=world_size)
        self._rows_of_batch, self._leave_last = asked.get("batch_size", 1), bool(asked.get("drop_last"))
        self._mixed = bool(asked.pop("shuffle", False))
        self._at = Progress()
        self._plan = PlannedIndices(dataset, self._spec, self._at)
        for name in _INSTEAD:
            asked.pop(name, None)
        self._spec()  # refuses what it must before torch sees it
        super().__init__(dataset, sampler=self._plan, **asked)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own iterator class
        # A generator: where a pass begins is settled when its first batch is asked for, as over a forebay Dataset.
        plan, at = self._plan, self._at
        at.begin(plan.is_over, endless=False)
        plan.passes += 1
        try:
            with active_in_accelerate(self):
                for batch in super().__iter__():
                    at.position = plan.after(at.position)
                    yield batch
        finally:
            plan.passes -= 1

    @property
    def ranks(self) -> tuple[int, int]:
        """Whose samples these are: rank and world size."""
        spec = self._spec()
        return spec.rank, spec.world_size

    @property
    def end_of_dataloader(self) -> bool:
        """Whether the batch in hand is the last of its epoch: accelerate asks."""
        return self._plan.is_over(self._at.epoch, self._at.position)

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch at the next iteration, from its start or from where a state of it was loaded."""
        self._at.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the last batch given ended: `{version, seed, epoch, position, fingerprint}`, plain values, the same on
        each rank. It may be loaded with another number of ranks, workers or samples a batch."""
        return FeedState(self._ranks.seed, self._at.epoch, self._at.position, self._identity()).to_json()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the batch that `state_dict` described.

        Raises:
            StateError: the state belongs to another data set or order.
            SpecError: it was made with another seed.
        """
        found = FeedState.from_json(state_dict, self._identity(), seed=self._ranks.seed)
        self._at.load(found.epoch, found.position)

    def _make(self, state: Any) -> Any:
        # torch's iterators draw seeds: from a generator of their own, so that the trainer's is left as it is
        return self._iterator_of(LoaderView(self, generator=torch.Generator(), snapshot_every_n_steps=0), state)

    def _spec(self) -> FeedSpec:
        # Not once for all: most frameworks make the group of ranks after the loader.
        rank, world_size = rank_and_world(self._ranks)
        return FeedSpec(
            batch_size=self._rows_of_batch,
            shuffle="global" if self._mixed else "none",
            seed=self._ranks.seed,
            drop_last=self._leave_last,
            rank=rank,
            world_size=world_size,
        )

    def _identity(self) -> str:
        dataset: Any = self.dataset
        kind = type(dataset)
        return self._spec().identity(fingerprint(f"{kind.__module__}.{kind.__qualname__}", len(dataset)))


def _check(dataset: Any, asked: Mapping[str, Any]) -> None:
    """Refuse what cannot be a pure function of the seed, by name."""
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise SpecError(
            f"deterministic=True takes map-style data sets, which give any sample by its number; {kind} can only be iterated. "
            "Leave deterministic= out, and give the data set state_dict and load_state_dict to resume it"
        )
    if not hasattr(dataset, "__len__"):
        raise SpecError(f"deterministic=True takes data sets with a length; {kind} has no __len__")
    for name, instead in _INSTEAD.items():
        if asked.get(name) is not None:
            raise SpecError(f"{name} is not taken with deterministic=True: {instead}")
    if asked.get("batch_size", 1) is None:
        raise SpecError("batch_size is None; deterministic=True cuts the batches itself: give their number of samples")
    if asked.get("shuffle") not in (None, True, False):
        raise SpecError(f"shuffle is {asked['shuffle']!r}; expected True (any sample anywhere) or False")
    if asked.get("in_order") is False:
        raise SpecError(
            "in_order=False gives batches as workers happen to finish; deterministic=True keeps their order"
        )
