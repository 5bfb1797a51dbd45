"""What `fb.DataLoader(dataset, ...)` takes over a forebay data set, by keyword, and how that becomes a FeedSpec."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
import torch.distributed

from forebay.engine.dataset import Dataset
from forebay.engine.mix import Mixture
from forebay.engine.order import Shuffle
from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.hooks.batch_contract import Field
from forebay.loaders.python_pool import packed
from forebay.loaders.ragged import Packed, Pad
from forebay.transforms.map_batches import MapBatches

_NOT_HERE = {
    "sampler": "order comes from shuffle= and seed=, and ranks are told apart by rank= and world_size=",
    "batch_sampler": "batches are cut by batch_size=, or batching=ByLength(...)",
    "collate_fn": "batches are columns already; use .map_batches on the Dataset, or work on the batch",
    "worker_init_fn": "num_workers are threads here, and randomness belongs to the sample",
    "on_worker_death": "num_workers are threads here; a Python process that dies ends the loop",
    "multiprocessing_context": "num_workers are threads here; python_processes= are spawned",
}
_IGNORED = (
    "pin_memory",
    "pin_memory_device",
    "persistent_workers",
    "prefetch_factor",
    "in_order",
    "generator",
    "timeout",
    "deterministic",
    "snapshot_every_n_steps",
    "arena_bytes",
)
"""Arguments that ask for what is so here anyway (memory is pinned when there is a GPU, threads stay, a state is of each
batch), or for what is not needed here (memory shared with workers)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedOptions:
    """Keyword arguments of `fb.DataLoader` over a forebay data set."""

    num_workers: int = 0
    """Threads that prepare batches ahead; 0 prepares them when they are asked for."""
    drop_last: bool = False
    """Leave out the last, smaller global batch."""
    seed: int = 0
    """Of the order and of random transforms."""
    window_rows: int | None = None
    """Rows of a shuffle window; None: 200,000, or fewer where these are more than 256 MB of files."""
    lanes: int = 8
    """Places of the data that a window is taken from; ranks whose number divides it decode nothing in common."""
    rank: int | None = None
    """This process among `world_size`; both come from torch.distributed when that is initialized."""
    world_size: int | None = None
    batching: ByLength | None = None
    """`ByLength(...)`: rows of about the same length in a batch, by rows or under a budget of tokens."""
    pad: int | Pad | Packed = 1
    """Columns of lists: padded to the batch's longest row, rounded up to a multiple of this; or `Pad(...)`, `Packed(...)`."""
    columns: tuple[str, ...] | None = None
    """Batches are tuples of these columns; None: dicts of all."""
    overwrite: bool = False
    """A batch's memory may be written again once the next batch is asked for."""
    python_processes: int = 0
    """Processes that run the functions of `map_batches`, instead of the threads, where they take turns at the interpreter."""
    contract: Mapping[str, Field] | None = None
    """Column -> `hooks.Field(dtype, shape)` that the trainer counts on; the first batch is held against it."""
    to: torch.device | str | None = None
    """"cuda": batches come on the GPU, copied on a stream of their own one chunk ahead."""

    def __post_init__(self) -> None:
        if (self.rank is None) != (self.world_size is None):
            raise SpecError("give both rank and world_size, or neither (they then come from torch.distributed)")
        if self.batching is not None and not isinstance(self.batching, ByLength):
            raise SpecError(f"batching is {self.batching!r}; expected fb.ByLength(...), or None for rows as they come")
        if isinstance(self.pad, bool) or not isinstance(self.pad, int | Pad | Packed):
            raise SpecError(f"pad is {self.pad!r}; expected a multiple to pad to, fb.Pad(...) or fb.Packed(...)")
        if isinstance(self.columns, str):
            raise SpecError(f"columns is {self.columns!r}; expected several names, such as ({self.columns!r},)")
        if self.contract is not None and not all(isinstance(one, Field) for one in self.contract.values()):
            raise SpecError(
                f"contract is {self.contract!r}; expected column -> hooks.Field(torch.uint8, (3, 224, 224))"
            )
        if self.to is not None:
            from forebay.loaders.device_delivery import device_of

            device_of(self.to)
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))

    @property
    def ragged(self) -> Pad | Packed:
        """What becomes of columns of lists."""
        return Pad(multiple=self.pad) if isinstance(self.pad, int) else self.pad


def read_options(given: Mapping[str, Any]) -> FeedOptions:
    """The options among keyword arguments that torch's loader may also have.

    Raises:
        SpecError: an argument that has no meaning here, or another that takes its place.
        UnknownNameError: one that does not exist.
    """
    known = [one.name for one in fields(FeedOptions)]
    for name, value in given.items():
        if name in _NOT_HERE and value is not None:
            double = " (a DistributedSampler would split the rows of each rank once more)" if "sampler" in name else ""
            raise SpecError(f"{name} is not taken with a forebay Dataset: {_NOT_HERE[name]}{double}")
        if name not in (*known, *_NOT_HERE, *_IGNORED):
            raise UnknownNameError.of("argument", name, ["batch_size", "shuffle", *known], where="DataLoader")
    return FeedOptions(**{name: value for name, value in given.items() if name in known})


def feed_spec(
    dataset: Dataset | Mixture, options: FeedOptions, *, batch_size: int, shuffle: bool | str | None
) -> FeedSpec:
    """What the feed is asked for, with what is known now: the data's kind, this process's rank."""
    if options.python_processes:
        _check_functions(dataset, options.python_processes)
    if options.batching is not None and isinstance(dataset, Mixture):
        raise SpecError("batching=ByLength(...) sorts the rows of one data set; it cannot sort those of a mixture")
    rank, world_size = rank_and_world(options)
    return FeedSpec(
        batch_size=batch_size,
        shuffle=_shuffle(shuffle, dataset),
        seed=options.seed,
        drop_last=options.drop_last,
        threads=options.num_workers,
        python_processes=options.python_processes,
        rank=rank,
        world_size=world_size,
        window_rows=options.window_rows,
        lanes=options.lanes,
        by_length=options.batching,
        ragged=options.ragged,
        overwrite=options.overwrite,
    )


def _check_functions(dataset: Dataset | Mixture, processes: int) -> None:
    datasets = dataset.datasets if isinstance(dataset, Mixture) else (dataset,)
    if not any(isinstance(one, MapBatches) for each in datasets for one in each.graph.transforms):
        raise SpecError(
            f"python_processes is {processes}, and the data set has no Python function for them (.map_batches); compiled "
            "transforms run side by side in threads: num_workers is how many"
        )
    packed(datasets)


def _shuffle(given: bool | str | None, dataset: Dataset | Mixture) -> Shuffle:
    if given in (None, False):
        return "none"
    if given is True:
        datasets = dataset.datasets if isinstance(dataset, Mixture) else (dataset,)
        return "global" if all(one.source.random_access for one in datasets) else "window"
    if given in ("global", "window"):
        return cast(Shuffle, given)
    raise SpecError(f"shuffle is {given!r}; expected True, False, 'global' or 'window'")


def rank_and_world(options: FeedOptions) -> tuple[int, int]:
    """This process's rank of how many, as things stand now: as asked for, or as torch.distributed has it."""
    if options.rank is not None and options.world_size is not None:
        return options.rank, options.world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
