"""The seam to the accelerator that loaders need: page-lock memory, and know when the device has read it."""

from typing import Any, Protocol

import torch


class Passed(Protocol):
    """Work of a device, and whether it is done."""

    def query(self) -> bool:
        """True when it is done."""


def pin(address: int, nbytes: int) -> bool:
    """Page-lock memory that exists already, so that CUDA copies from it without a detour.

    Returns:
        Whether it is locked now. False without CUDA: there is nothing to lock it for.
    """
    if not torch.cuda.is_available():
        return False
    return int(_runtime().cudaHostRegister(address, nbytes, 0)) == 0


def unpin(address: int) -> None:
    """Undo `pin`."""
    _runtime().cudaHostUnregister(address)


def wait() -> None:
    """Wait until the device has done all that it was given."""
    torch.cuda.synchronize()


def work_queued() -> tuple[Passed, ...] | None:
    """Marks behind the work that the device has been given so far, on the stream in use and on the default stream.

    Returns:
        Marks that have all passed when that work is done; None while a CUDA graph is being captured, when no mark may be
        set: ask again later.
    """
    if torch.cuda.is_current_stream_capturing():
        return None
    streams: set[Any] = {torch.cuda.current_stream(), torch.cuda.default_stream()}
    return tuple(stream.record_event() for stream in streams)


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch gives it no types
