"""What a worker tells the loader beside its batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Note:
    """The state of a worker's data set."""

    worker: int
    generation: int
    """Which epoch of the iterator it belongs to; less than 0: none, the worker says only that it is at work."""
    state: bytes | None
    """Pickled; None: as it was told last."""
    task: int | None = None
    """The task whose batch it describes; None: before the first."""
    generators: bytes | None = None
    """States of the global generators (see `generator_states`): before the data set was iterated, or after the task."""
    again: bool = False
    """Whether the worker stands in for one that died, and told the same before."""


OnAnswer = Callable[[int, Any, Any, Note | None], bool]
"""Told of a worker, one of its tasks, the batch, and what was told with it; says whether the batch is wanted."""
