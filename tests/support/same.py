"""Whether two batches are the same in values, types and structure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, of the same types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if one.layout != other.layout or one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.is_sparse:
            return torch.equal(one.to_dense(), other.to_dense())
        return one.stride() == other.stride() and one.requires_grad == other.requires_grad and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(x, y) for x, y in zip(one, other, strict=True))
    return bool(one == other)
