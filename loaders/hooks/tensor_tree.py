"""A batch as a tree: mappings, tuples and lists whose leaves are tensors or anything else."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch


def map_tensors(part: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same tree with each tensor changed. Mappings become dicts; named tuples keep their class."""
    if isinstance(part, torch.Tensor):
        return change(part)
    if isinstance(part, Mapping):
        return {name: map_tensors(value, change) for name, value in part.items()}
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return type(part)(*(map_tensors(value, change) for value in part))
    if isinstance(part, list | tuple):
        return type(part)(map_tensors(value, change) for value in part)
    return part


def each_tensor(part: Any) -> Iterator[torch.Tensor]:
    """All tensors of the tree, in order."""
    if isinstance(part, torch.Tensor):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from each_tensor(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from each_tensor(value)
