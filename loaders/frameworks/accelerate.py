"""Tell accelerate which loader is being iterated, so that it ends the last, shorter accumulation window of an epoch."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def active_in_accelerate(loader: Any) -> Iterator[None]:
    """Register `loader` with accelerate's GradientState while an epoch runs; nothing where accelerate is not imported.

    accelerate then reads `end_of_dataloader` and `remainder` from it. Its own loaders do the same in
    `DataLoaderStateMixin.begin` and `end`.
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
