"""DataLoader: torch's, with another transport and a state; for a forebay Dataset, threads behind the same class."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from types import GenericAlias
from typing import Any, cast

import torch
import torch.utils.data

from forebay.formats.errors import SpecError, StateError
from forebay.loaders.loader_view import State
from forebay.loaders.order_torch import ResumableIndices
from forebay.loaders.single_iterator import SingleProcessIter
from forebay.loaders.stateful import FINISHED, MAIN, RANDOM, SAMPLER_EPOCH, SNAPSHOT

_LOG = logging.getLogger(__name__)


class DataLoader(torch.utils.data.DataLoader[Any]):
    """A drop-in replacement for `torch.utils.data.DataLoader`.

    With any torch data set: the same batches in the same order from the same seeds, with the same errors and attributes.
    Batches of workers travel in memory that is used again, and `state_dict` works like that of torchdata's
    `StatefulDataLoader`. With a `forebay.Dataset` it is a `FeedLoader`, which is also a subclass of torch's.

    Args:
        dataset: a torch data set, map-style or iterable, or a `forebay.Dataset`.
        arena_bytes: most shared memory for batches of all workers; None: half of what is free. 0: torch's own transport.
        snapshot_every_n_steps: batches between two snapshots of workers' data sets; what came after the last is made
            again when a state is loaded.
        deterministic: order and samples are pure functions of `seed` (default 0) for any number of workers and ranks (`rank`,
            `world_size`); the state is small and goes on at once. For map-style data sets.
        on_worker_death: "raise" as torch does, or "restart": a worker that dies, or gives nothing for `timeout` seconds, is
            replaced and its batches are made again; iterable data sets go on from their last state, or are run again.

    All others are torch's. With a `forebay.Dataset`, by keyword:

        batch_size: rows of a batch on one rank.
        shuffle: False, True (global where the data is memory-mapped Arrow, else window), "global" or "window".
        num_workers: threads that prepare batches ahead; 0 prepares them when asked for.
        seed, drop_last, columns, window_rows, lanes, rank, world_size, pad, batching, to, overwrite, python_processes,
        contract: the fields of `forebay.loaders.feed_options.FeedOptions`; docs/loading.md has an example of each.
    """

    sample_seed: int | None = None
    """What each sample's random numbers come from; None: they come as they do in torch."""

    def __class_getitem__(cls, kind: Any) -> GenericAlias:
        """`DataLoader[Batch]` in annotations, as with torch's."""
        return GenericAlias(cls, kind)

    def __new__(cls, dataset: Any = None, *args: Any, **kwargs: Any) -> "DataLoader":
        if cls is DataLoader and getattr(dataset, "__forebay_dataset__", False):
            from forebay.loaders.feed_loader import FeedLoader

            return super().__new__(FeedLoader)
        if cls is DataLoader and kwargs.get("deterministic"):
            from forebay.loaders.deterministic import DeterministicLoader

            return super().__new__(DeterministicLoader)
        return super().__new__(cls)

    def __init__(  # noqa: PLR0913  # torch's constructor, to the letter: frameworks read its signature
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | str | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        arena_bytes: int | None = None,
        snapshot_every_n_steps: int | None = 1,
        deterministic: bool = False,
        on_worker_death: str = "raise",
        **later: Any,
    ) -> None:
        if arena_bytes is not None and arena_bytes < 0:
            raise SpecError(
                f"arena_bytes is {arena_bytes}; expected a number of bytes, 0 for torch's transport, or None"
            )
        if deterministic:
            raise SpecError("with deterministic=True derive from forebay.loaders.deterministic.DeterministicLoader")
        if on_worker_death != "raise":
            from forebay.loaders.recovery import check_deaths

            check_deaths(on_worker_death, dataset, persistent=persistent_workers)
        self.on_worker_death = on_worker_death
        self.arena_bytes, self.snapshot_every_n_steps = arena_bytes, snapshot_every_n_steps
        self._pending: State | None = None
        self._early: Any = None
        self._progress: Any = None
        super().__init__(
            dataset,
            batch_size,
            cast(Any, shuffle),  # text is for a forebay.Dataset; torch refuses it in its own words
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            multiprocessing_context,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
            **later,
        )

    def __iter__(self) -> Any:
        early, self._early = self._early, None
        if early is not None:
            return early
        state, self._pending = self._pending, None
        if state is None:
            return super().__iter__()
        if not state[FINISHED]:
            ResumableIndices(self._index_sampler).set_epoch(_main(state))
        iterator = self._next_epoch(state) if state[FINISHED] else self._make(state)
        if self.persistent_workers:
            self._iterator = iterator
        return iterator

    def state_dict(self) -> State:
        """Where the loop is: after the last batch it was given. In torchdata's layout; its loader takes it, too.

        Before the first loop this starts the workers, whose data sets may have a state.
        """
        if self._pending is not None:
            return self._pending
        if self.num_workers > 0 and not self.in_order:
            _LOG.warning(
                "with in_order=False nobody knows which batches came before a state: resumed, some may be missing or come twice"
            )
        if self._progress is None:
            self._early = self._make(None)
            if self.persistent_workers:
                self._iterator = self._early
        found: State = self._progress.state_dict()
        return found

    def load_state_dict(self, state_dict: State) -> None:
        """Go on behind the batch that the state describes, with the next loop; after an epoch's end, begin the next.

        An empty state says nothing, as in torchdata: a loop that runs is left, and the state loaded last still holds.

        Raises:
            StateError: this is no such state.
        """
        if state_dict and not (isinstance(state_dict, dict) and FINISHED in state_dict):
            found = f"keys {', '.join(map(str, state_dict))}" if isinstance(state_dict, dict) else repr(state_dict)
            raise StateError(
                f"this is no state of a loader over a torch data set: found {found}; expected what its state_dict() gives, or "
                "that of torchdata's StatefulDataLoader"
            )
        self._iterator = self._early = self._progress = None
        self._pending = state_dict or self._pending

    def sampler_epoch(self) -> int | None:
        """After `load_state_dict`: the epoch that the sampler must be set to, where it is a DistributedSampler; else None."""
        saved = None if self._pending is None else _main(self._pending).get(SAMPLER_EPOCH)
        return None if saved is None or self._pending is None else int(saved) + bool(self._pending[FINISHED])

    def _get_iterator(self) -> Any:
        return self._make(None)

    def _make(self, state: State | None) -> Any:
        return self._iterator_of(self, state)

    def _iterator_of(self, seen: Any, state: State | None) -> Any:
        """An iterator of this loader, as it is `seen` by it."""
        if self.num_workers == 0:
            self._progress = single = SingleProcessIter(seen, state)
            return single
        # a megabyte that a loop without workers does without
        from forebay.loaders.worker_iterator import MultiProcessIter

        self.check_worker_number_rationality()
        multi = MultiProcessIter(seen, state)
        self._progress = multi.progress
        return multi

    def _next_epoch(self, state: State) -> Any:
        """The epoch after the one whose end is `state`."""
        main = _main(state)
        globally = main.get(RANDOM) if self.generator is None else None
        if self.persistent_workers:
            iterator = self._make(state)  # its workers go on where those of the state were
            if globally is None:
                iterator._reset(self)
            else:
                with _order_from(globally, draws=1):  # the order's seed; the workers keep theirs
                    iterator._reset(self)
            return iterator
        if self.num_workers == 0:
            self._make(state)  # the data set goes on where that of the state was
        else:
            from forebay.loaders.resume import Resume

            Resume.of(state, self.num_workers)
            ResumableIndices(self._index_sampler).restored(main)
        if globally is not None:
            with _order_from(globally, draws=2):  # the workers' seed and the order's
                iterator = self._make(None)
                iterator.begin_order()
            return iterator
        if self.generator is not None and RANDOM in main:
            self.generator.set_state(main[RANDOM])
        return self._make(None)

    def __getstate__(self) -> dict[str, Any]:
        """A loader can be pickled; where it is, is in its state."""
        return {**self.__dict__, "_early": None, "_progress": None}


@contextlib.contextmanager
def _order_from(random: torch.Tensor, *, draws: int) -> Iterator[None]:
    """An epoch begins with torch's global generator as it was at the end of the last one, so that its order is what it would
    have been. From the generator as it is now is drawn what torch would draw."""
    now = torch.get_rng_state()
    torch.set_rng_state(random)
    try:
        yield
    finally:
        torch.set_rng_state(now)
    for _ in range(draws):
        torch.empty((), dtype=torch.int64).random_()


def _main(state: State) -> State:
    """The loader's own part of a state, with or without workers."""
    found: State = state[SNAPSHOT][MAIN] if SNAPSHOT in state else state
    return found
