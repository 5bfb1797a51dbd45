"""The seam to the accelerator that loaders need: page-lock memory, and know when the device has read it."""

import logging
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch

_LOG = logging.getLogger(__name__)


class Passed(Protocol):
    """Work of a device, and whether it is done."""

    def query(self) -> bool:
        """True when it is done."""


Marks = tuple[Passed, ...]

_kept: deque[tuple[Any, Marks | None, int | None]] = deque()
"""Memory whose owner is gone, with marks behind the work that may still read it."""


def number() -> int | None:
    """The CUDA device in use; None where there is none that this process may use: one forked from a process that uses CUDA
    cannot."""
    if not torch.cuda.is_available() or torch.cuda._is_in_bad_fork():
        return None
    return torch.cuda.current_device()


def on(gpu: int | None) -> AbstractContextManager[Any]:
    """Work with this device, in whatever thread: a thread would else work with the first, and take memory there."""
    return nullcontext() if gpu is None else torch.cuda.device(gpu)


def pin(address: int, nbytes: int) -> bool:
    """Page-lock memory that exists already, so that CUDA copies from it without a detour.

    Returns:
        Whether it is locked now. False without CUDA: there is nothing to lock it for; and where the system refuses.
    """
    if number() is None:
        return False
    status = int(_runtime().cudaHostRegister(address, nbytes, 0))
    if status:
        _forget_error()
        _LOG.warning(
            "CUDA cannot page-lock %s bytes of a loader's shared memory (cudaHostRegister says %s): batches are pinned by "
            "copies, as torch does it. Where the system limits locked memory, `ulimit -l` shows how much",
            nbytes,
            status,
        )
    return status == 0


def unpin(address: int) -> None:
    """Undo `pin`."""
    if int(_runtime().cudaHostUnregister(address)):
        _forget_error()


def wait() -> None:
    """Wait until the device has done all that it was given."""
    torch.cuda.synchronize()


def work_queued() -> Marks | None:
    """Marks behind the work that the device has been given so far, on the stream in use and on the default stream.

    Returns:
        Marks that have all passed when that work is done; None while a CUDA graph is being captured, when no mark may be
        set: ask again later.
    """
    if torch.cuda.is_current_stream_capturing():
        return None
    streams: set[Any] = {torch.cuda.current_stream(), torch.cuda.default_stream()}
    return tuple(stream.record_event() for stream in streams)


def keep_until_read(memory: Any, marks: Marks | None, gpu: int | None) -> None:
    """Keep memory whose owner goes, until the device has read it: torch gives pinned memory to the next who asks, and knows
    only of copies that begin where it begins."""
    _kept.append((memory, marks, gpu))
    let_go_of_read()


def let_go_of_read() -> None:
    """Drop what the device has read meanwhile of what `keep_until_read` keeps."""
    for _ in range(len(_kept)):
        try:
            memory, marks, gpu = _kept.popleft()
        except IndexError:  # another thread is at it
            return
        if marks is None:
            with on(gpu):
                marks = work_queued()
        if marks is None or not all(mark.query() for mark in marks):
            _kept.append((memory, marks, gpu))


def _forget_error() -> None:
    """CUDA keeps the error of a call that failed, and torch would raise it behind its next kernel, in somebody else's code.
    So have it raise here."""
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        _LOG.debug("left behind by a call of the loader's: %s", error)


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch gives it no types
