"""What a loader that shards by itself tells accelerate while it is iterated, and asks it about who iterates."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forebay.formats.errors import SpecError


@contextmanager
def active_in_accelerate(loader: Any) -> Iterator[None]:
    """Register `loader` with accelerate's GradientState while an epoch runs; nothing where accelerate is not imported.

    accelerate then reads `end_of_dataloader` and `remainder` from it, so that it ends the last, shorter accumulation
    window of an epoch. Its own loaders do the same in `DataLoaderStateMixin.begin` and `end`.
    """
    if "accelerate.state" not in sys.modules:
        yield
        return
    from accelerate.state import GradientState

    state = GradientState()
    state._add_dataloader(loader)
    try:
        yield
    finally:
        state._remove_dataloader(loader)


def steps_to_skip(facade: Any, *, ranks: int) -> int:
    """Steps that accelerate will drop at the beginning, where a loader that it made over `facade` is iterated now.

    `skip_first_batches` makes such a loader, also in the HF Trainer; over an iterable data set it can only read and drop.

    Raises:
        SpecError: that loader shares out rows among the ranks which the loader of `facade` has shared out already.
    """
    if "accelerate.data_loader" not in sys.modules:
        return 0
    from accelerate.data_loader import DataLoaderDispatcher, IterableDatasetShard
    from accelerate.state import GradientState

    consumer = GradientState().active_dataloader
    found: Any = getattr(consumer, "dataset", None)
    sharded = isinstance(found, IterableDatasetShard)
    if (found.dataset if sharded else found) is not facade:
        return 0
    # by type(): accelerate's loaders say that they are of the class that they wrap
    if ranks > 1 and (sharded or type(consumer) is DataLoaderDispatcher):
        splits = "IterableDatasetShard" if sharded else "DataLoaderDispatcher (dispatch_batches)"
        raise SpecError(
            f"accelerate's {splits} would share out among {ranks} ranks the rows that this loader has shared out already, and "
            "lose most of them; give forebay's loader itself to Accelerator.prepare(), or make it with rank=0, world_size=1"
        )
    return int(getattr(consumer, "skip_batches", 0))
