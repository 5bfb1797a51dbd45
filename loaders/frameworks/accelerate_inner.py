"""A torch data set's loader through `Accelerator.prepare`, still with forebay's transport and state.

accelerate shards, seeds, places and counts in loaders of its own, and iterates a plain torch loader inside each, made of a
fixed list of the given one's attributes: whatever class that was is gone. Here the loader inside is made forebay's again.
"""

from typing import Any

from torch.utils.data import BatchSampler, DistributedSampler, IterableDataset, RandomSampler

from forebay.formats.errors import SpecError
from forebay.loaders.dataloader import DataLoader
from forebay.loaders.frameworks.redrawn import Redrawn
from forebay.loaders.hooks.extras import load_extra
from forebay.loaders.stateful import FINISHED

_KEPT = [
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
    "pin_memory_device",
    "in_order",
]
_ITERATION = "_iteration"
"""accelerate's number of the epoch, from which some of its samplers draw the order. Its own states lack it."""
_ORDER = "_order"
"""State of the sampler's generator, where the order comes from one."""


def accelerate_loader(accelerator: Any, loader: Any) -> Any:
    """What `accelerator.prepare(loader)` gives, with forebay's transport and state inside.

    `save_state` and `load_state` then also save where the loader is, in whichever epoch, without `skip_first_batches`; not
    with `dispatch_batches`, where only the first rank reads. Over a `forebay.Dataset` the loader stays as it is: it shares
    out rows and saves its state by itself; so does one with `deterministic=True`.

    Args:
        accelerator: an `accelerate.Accelerator`.
        loader: a `forebay.DataLoader`.

    Raises:
        SpecError: the rows would be shared out among the ranks twice, or not in the way that the accelerator was asked for.
    """
    if getattr(loader, "_is_accelerate_prepared", False):
        _refuse_other_shares(accelerator, loader)
        return accelerator.prepare_data_loader(loader)
    ranks = accelerator.num_processes
    if ranks > 1 and isinstance(getattr(loader.batch_sampler, "sampler", loader.sampler), DistributedSampler):
        raise SpecError(
            f"the loader has a DistributedSampler, and accelerate would share out each rank's rows among {ranks} ranks once "
            "more: most would never be read; leave the sampler out (shuffle=True)"
        )
    return carry(accelerator.prepare_data_loader(loader), like=loader)


def carry(prepared: Any, *, like: Any = None) -> Any:
    """Make the loader inside one that accelerate has prepared forebay's; returns the prepared one.

    Args:
        prepared: what `Accelerator.prepare` gave for a torch loader.
        like: the loader before, for the arguments that only forebay's has.
    """
    inner = prepared.base_dataloader
    arguments = {name: getattr(inner, name) for name in _KEPT}
    redrawn = None
    if isinstance(inner.dataset, IterableDataset):
        arguments |= {"batch_size": inner.batch_size, "drop_last": inner.drop_last}
    elif inner.batch_sampler is None:
        arguments |= {"batch_size": None, "sampler": inner.sampler}
    else:
        arguments |= {"batch_sampler": inner.batch_sampler}
        redrawn = _redraw(inner.batch_sampler)
    if isinstance(like, DataLoader):
        arguments |= {"arena_bytes": like.arena_bytes, "snapshot_every_n_steps": like.snapshot_every_n_steps}
    prepared.dl_state_dict = {}  # of an epoch that has not begun; asking the loader for it would start its workers
    # by type(): accelerate's loaders say that they are of the class that they wrap
    dispatcher = load_extra("accelerate.data_loader", extra="hf", used_for="carry").DataLoaderDispatcher
    prepared.use_stateful_dataloader = type(prepared) is not dispatcher
    if prepared.use_stateful_dataloader:
        prepared.base_dataloader = _Inner(inner.dataset, around=prepared, redrawn=redrawn, **arguments)
    else:
        prepared.base_dataloader = DataLoader(inner.dataset, **arguments)
    return prepared


class _Inner(DataLoader):
    """A loader whose state also holds what the accelerate loader around it has added to the order."""

    def __init__(self, dataset: Any, *, around: Any, redrawn: Redrawn | None, **arguments: Any) -> None:
        self._around, self._redrawn = around, redrawn
        super().__init__(dataset, **arguments)

    def state_dict(self) -> dict[str, Any]:
        order = None if self._redrawn is None else self._redrawn.state_dict()
        return {**super().state_dict(), _ITERATION: self._around.iteration, _ORDER: order}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if not state_dict:
            return
        finished = bool(state_dict[FINISHED])
        self._around.iteration = state_dict[_ITERATION] + finished
        if self._redrawn is not None and state_dict[_ORDER] is not None:
            self._redrawn.go_on(state_dict[_ORDER], begun=not finished)


def _redraw(shard: Any) -> Redrawn | None:
    """Let the random sampler below a `BatchSamplerShard` remember what it drew from; None where there is none."""
    batches = getattr(shard, "batch_sampler", None)
    if type(batches) is not BatchSampler or type(batches.sampler) is not RandomSampler:
        return None  # our own state knows the others, or their order follows from the epoch
    if batches.sampler.generator is None:
        return None
    redrawn = Redrawn(batches.sampler)
    shard.batch_sampler = BatchSampler(redrawn, batches.batch_size, batches.drop_last)
    return redrawn


def _refuse_other_shares(accelerator: Any, loader: Any) -> None:
    for name in ("split_batches", "dispatch_batches"):
        if getattr(accelerator, name):
            raise SpecError(
                f"the accelerator has {name}=True, but with this loader (over a forebay Dataset, or deterministic=True) each "
                f"rank reads its own rows, batch_size of them a batch: leave {name} out, and divide batch_size by the number of "
                "processes"
            )
    rank, world_size = loader.ranks
    if (rank, world_size) != (accelerator.process_index, accelerator.num_processes):
        raise SpecError(
            f"the loader gives the rows of rank {rank} of {world_size}, this process is rank {accelerator.process_index} of "
            f"{accelerator.num_processes}: leave rank= and world_size= out"
        )
