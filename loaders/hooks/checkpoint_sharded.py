"""Checkpoints of sharded models, by torch.distributed.checkpoint (DCP): every rank writes its shards.

A checkpoint may be loaded on another number of ranks: DCP cuts the tensors anew, and forebay's loader state is a global
position. What is no tensor (loader, counters, loss scale) goes into one small file by rank 0.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from forebay.formats.errors import StateError
from forebay.loaders.hooks.checkpoint import check_names, check_parts, first_rank, read_whole, write_whole

PARTS = "forebay_parts.pt"
"""Written last: a folder without it is no whole checkpoint."""

_TENSOR = "forebay_tensor"
# Where a tensor was, the plain part has a dict with this one key; its value is the tensor's name.


def save_sharded(folder: str | os.PathLike[str], *, model: nn.Module, optimizer: Optimizer, **parts: Any) -> None:
    """Write a checkpoint of a model under FSDP2, DDP or neither. All ranks call it.

    Args:
        folder: a new folder on storage that all ranks see.
        model: as it is trained.
        optimizer: of this model.
        parts: further ones by name: `loader=loader, run=run, step=step`.
    """
    check_parts(parts)
    plain, tensors = _split({name: part.state_dict() for name, part in parts.items()})
    weights, moments = get_state_dict(model, optimizer)
    with _one_process_is_meant():
        save({"model": weights, "optimizer": moments, "parts": tensors}, checkpoint_id=os.fspath(folder))
    if first_rank():
        write_whole(Path(folder) / PARTS, plain)
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def load_sharded(folder: str | os.PathLike[str], *, model: nn.Module, optimizer: Optimizer, **parts: Any) -> None:
    """Put a checkpoint back, on any number of ranks. All ranks call it.

    Raises:
        StateError: it has other parts, or it was never finished.
    """
    check_parts(parts)
    path = Path(folder) / PARTS
    if not path.is_file():
        raise StateError(f"{folder} has no {PARTS}: the checkpoint was not finished; use the one before it")
    plain = read_whole(path)
    check_names(plain, parts, where=os.fspath(folder))
    _, tensors = _split({name: part.state_dict() for name, part in parts.items()})
    weights, moments = get_state_dict(model, optimizer)
    with _one_process_is_meant():
        load({"model": weights, "optimizer": moments, "parts": tensors}, checkpoint_id=os.fspath(folder))
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    for name, part in parts.items():
        part.load_state_dict(_join(plain[name], tensors))


@contextmanager
def _one_process_is_meant() -> Iterator[None]:
    """DCP warns that it assumes a single process where there is no process group: here that is so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        yield


def _split(state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Take the tensors out of a tree of dicts and lists, and name each by its path."""
    tensors: dict[str, torch.Tensor] = {}

    def walk(part: Any, path: str) -> Any:
        if isinstance(part, torch.Tensor):
            tensors[path] = part
            return {_TENSOR: path}
        if isinstance(part, Mapping):
            return {key: walk(value, f"{path}/{key}") for key, value in part.items()}
        if isinstance(part, list | tuple):
            return type(part)(walk(value, f"{path}/{place}") for place, value in enumerate(part))
        return part

    return walk(state, ""), tensors


def _join(part: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(part, Mapping):
        if set(part) == {_TENSOR}:
            return tensors[part[_TENSOR]]
        return {key: _join(value, tensors) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return type(part)(_join(value, tensors) for value in part)
    return part
