"""Save and load everything that a run needs to go on: model, optimizer, loader, hooks, random state.

A part is any object with `state_dict` and `load_state_dict`. forebay's loader state is a global position, the same on
all ranks, so one file by rank 0 is enough and the run may go on with another number of ranks.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from forebay.formats.errors import CorruptError, SpecError, StateError
from forebay.loaders.hooks.hook import Stateful
from forebay.loaders.hooks.tensor_tree import each_tensor


class RngState:
    """torch's random state, as a part: without it dropout goes on with other draws. Each rank needs its own, so with
    several ranks rank 0's is restored on all of them; seed by rank where that matters."""

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torch.set_rng_state(state_dict["cpu"])
        if "cuda" in state_dict and torch.cuda.is_available():
            torch.cuda.set_rng_state(state_dict["cuda"])


def first_rank() -> bool:
    """True on rank 0, and where there are no ranks."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse what cannot be saved.

    Raises:
        SpecError: a part has no state.
    """
    for name, part in parts.items():
        if not isinstance(part, Stateful):
            raise SpecError(
                f"part {name!r} is a {type(part).__name__} without state_dict and load_state_dict; for a stock "
                "DataLoader use forebay.DataLoader or torchdata's StatefulDataLoader"
            )


def unwrapped(part: Any) -> Any:
    """The module inside DDP and `torch.compile`, whose names do not depend on how it is run; others as they are."""
    while isinstance(part, DistributedDataParallel) or hasattr(part, "_orig_mod"):
        part = part.module if isinstance(part, DistributedDataParallel) else part._orig_mod
    return part


def save_checkpoint(path: str | os.PathLike[str], **parts: Any) -> None:
    """Write the state of all parts into one file, by rank 0; the others return when it is there.

    The file is either absent, the one before, or whole: it is written beside its place, synced, and renamed.

    Args:
        path: the file; its folder is made.
        parts: by name: `model=model, optimizer=optimizer, loader=loader, run=run, step=step`. A model in DDP is saved
            as the model inside, so that it loads anywhere.

    Raises:
        SpecError: a part has no state, or is cut into shards (FSDP2), which needs `save_sharded`.
    """
    check_parts(parts)
    states = {name: unwrapped(part).state_dict() for name, part in parts.items()}
    sharded = [name for name, state in states.items() if any(isinstance(t, DTensor) for t in each_tensor(state))]
    if sharded:
        raise SpecError(
            f"part {sharded[0]!r} holds shards (DTensor), of which rank 0 has its own only; use "
            "save_sharded(folder, ...)"
        )
    if first_rank():
        write_whole(Path(path), states)
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def write_whole(path: Path, state: Mapping[str, Any]) -> None:
    """`torch.save` under a name beside `path`, sync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str], **parts: Any) -> None:
    """Put the state of all parts back, on every rank.

    Args:
        path: the file.
        parts: the same names as when it was saved.

    Raises:
        StateError: the file has other parts.
        CorruptError: it is no whole checkpoint.
    """
    check_parts(parts)
    saved = read_whole(Path(path))
    check_names(saved, parts, where=os.fspath(path))
    for name, part in parts.items():
        unwrapped(part).load_state_dict(saved[name])


def read_whole(path: Path) -> dict[str, Any]:
    """`torch.load` of plain values and tensors only, on the CPU.

    Raises:
        CorruptError: it cannot be read as one.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError) as error:
        raise CorruptError(f"{path} is no whole checkpoint ({error}); use the one before it") from error
    return state


def check_names(saved: Mapping[str, Any], parts: Mapping[str, Any], *, where: str) -> None:
    """Refuse a checkpoint of other parts, by name.

    Raises:
        StateError: a part is missing on one side.
    """
    if set(saved) != set(parts):
        raise StateError(f"{where} holds the parts {sorted(saved)}, asked for are {sorted(parts)}; give the same names")
